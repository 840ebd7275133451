"""Public MLPerf logs, damaged: `reproduce.report.log`, and `reproduce.report.atlas --near`."""

import bz2
import functools
import gzip
import json
import lzma

from hypothesis import strategies as st

from tests.fuzz import stock
from tests.fuzz.scene import Entry, Scene
from tests.fuzz.values import JSON, argument, damaged, damaged_lines, paths, sampled, words
from tests.helpers import LOGS

LOG, ATLAS = "reproduce.report.log", "reproduce.report.atlas"
KEYS = ("eval_accuracy", "run_start", "run_stop", "global_batch_size", "opt_name", "submission_org",
        "submission_platform",
        "submission_benchmark", "submission_division", "epoch_num", "train_samples", "opt_base_learning_rate",
        "eval_stop", "seed",
        "epoch_stop", "submission_poc_name", "d_batch_norm_span", "target", "eval_size")  # fmt: skip


@functools.cache
def texts() -> tuple[str, ...]:
    return tuple(path.read_text() for path in sorted(LOGS.glob("*.txt")))


def scenes() -> st.SearchStrategy[Scene]:
    return changed() | changed() | added() | broken() | packed() | places()


@st.composite
def asked(draw, fault: str, content: bytes, **more) -> Scene:
    """The same file for one of the commands."""
    module, given = draw(sampled([(LOG, ("x.txt",)), (LOG, ("x.txt", "--json")), (ATLAS, ("--near", "x.txt")),
                                  (ATLAS, ("--near", "x.txt", "--csv")), (LOG, ("x.txt", "x.txt", "--draw",
                                                                                "drawn.png"))]))  # fmt: skip
    return Scene("logs", fault, module, given, (Entry("x.txt", content=content),), names=("x.txt",
                                                                                          "no public run fits"),
                                                                                          writes=("drawn.png",),
                 chatty=True, encoding=draw(sampled(["utf-8", "utf-8", "ascii"])), **more)  # fmt: skip


@st.composite
def changed(draw) -> Scene:
    """One value of one line replaced."""
    lines = draw(sampled(texts())).splitlines()
    at = draw(sampled([number for number, line in enumerate(lines) if "{" in line]))
    head, brace, rest = lines[at].partition("{")
    try:
        entry = json.loads(brace + rest)
    except ValueError:
        entry = {"value": 1}
    key = draw(sampled(["value", "time_ms", "key", "metadata", "event_type", "namespace", *entry]))
    lines[at] = head + "{" + ", ".join([f'"{key}": {draw(sampled(JSON))}', *(
        f"{json.dumps(name)}: {json.dumps(value)}" for name, value in entry.items() if name != key)]) + "}"  # fmt: skip
    return draw(asked("value", "\n".join(lines).encode("utf-8", "surrogatepass")))


@st.composite
def added(draw) -> Scene:
    """Lines more, in any of the formats."""
    lines = draw(sampled(texts())).splitlines()
    for _ in range(draw(st.integers(1, 3))):
        key, value = draw(sampled(KEYS)), draw(sampled(JSON) | words.map(json.dumps))
        time = draw(sampled(["1560722675379", "0", "-1", "1e30", "NaN", "1" * 400, '"x"', "null"]))
        line = draw(sampled([
            f':::MLLOG {{"namespace": "", "time_ms": {time}, "event_type": "POINT_IN_TIME", "key": "{key}", '
            f'"value": {value}, "metadata": {{"epoch_num": {value}}}}}',
            f':::MLL {time} {key}: {{"value": {value}, "metadata": {{"epoch_num": {value}}}}}',
            f":::MLPv0.5.0 resnet {time} (x.py:1) {key}: {value}", ":::MLLOG " + value, ":::MLL " + "{" * 2000,
            ":::MLLOG {" * 3000,
        ]))  # fmt: skip
        lines.insert(draw(st.integers(0, len(lines))), line)
    return draw(asked("line", "\n".join(lines).encode("utf-8", "replace")))


@st.composite
def broken(draw) -> Scene:
    return draw(asked("bytes", draw(damaged_lines(draw(sampled(texts()))))))


@st.composite
def packed(draw) -> Scene:
    pack = draw(sampled([gzip.compress, bz2.compress, lzma.compress]))
    content = pack(draw(sampled([texts()[0].encode(), b"", b"\x00" * (64 << 20)])))
    return draw(asked("packed", draw(st.just(content) | damaged(content[:5000]))))


@st.composite
def places(draw) -> Scene:
    module, given = draw(sampled([(LOG, ()), (ATLAS, ("--near",))]))
    path = argument(draw(paths))
    if path.startswith("-"):
        path = f"./{path}"
    return Scene("logs", "place", module, (*given, path), stock.ODD, must="refuse", chatty=True)
