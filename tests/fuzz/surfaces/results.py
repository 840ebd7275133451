"""Logs of ours and files beside them in a results folder, damaged: check, ``--list``, table, figures, page."""

import json

from hypothesis import strategies as st

from reproduce.paths import PUBLISHED
from tests.fuzz.scene import Entry, Scene
from tests.fuzz.values import JSON, damaged, damaged_lines, sampled, words

NAME = "logs/headline_b800_w20/result_1.txt"
SOURCE = PUBLISHED / "quick" / NAME
SIDE_CARS = ("curve.json", "table1.json", "groups.json", "figure3.json", "bench/comm.json", "bench/pingpong.json")
QUICK = {  # what reads logs, with what it may write
    "check": ("reproduce.report.check", ("results", "--published", "{published}"), ()),
    "list": ("reproduce.run_all", ("--list", "--tier", "quick", "--out", "results"), ()),
    "table": ("reproduce.table1", ("--draw", "--results", "results", "--out", "out"), ("out",)),
}
SLOW = {
    "curve": ("reproduce.curve", ("--draw", "--results", "results", "--out", "out"), ("out",)),
    "groups": ("reproduce.groups", ("--draw", "--results", "results", "--out", "out"), ("out",)),
    "page": ("reproduce.report.page", ("--results", "results", "--out", "out"), ("out",)),
    "publish": ("reproduce.report.publish", ("--tier", "quick", "--results", "results", "--dry-run"), ()),
    "log": ("reproduce.report.log", (f"results/{NAME}", "--draw", "out/drawn.png"), ("out",)),
}
RUN = "logs/headline_b800_w20"
PLACES = (
    NAME, "logs", RUN, f"{RUN}/result_\udce9.txt", f"{RUN}/result_².txt", f"{RUN}/result_1\n2.txt", "checkpoints",
    f"{RUN}/result_\x1b[2J.txt", "checkpoints/headline_b800_w20/seed_1/update_x.ckpt", "logs/x/result_1.txt",
    "checkpoints/headline_b800_w20/seed_1/update_².ckpt", "jobs/submitted.json",
)  # fmt: skip
DRAWN = {"curve.json": "page", "groups.json": "page", "figure3.json": "page", "table1.json": "page",
         "bench/comm.json": "groups", "bench/pingpong.json": "groups"}  # fmt: skip


def scenes() -> st.SearchStrategy[Scene]:
    return values() | values() | lines() | places() | side_cars()


def asked(command: str, fault: str, *entries: Entry) -> Scene:
    module, given, writes = (QUICK | SLOW)[command]
    given = tuple(word.replace("{published}", "results") for word in given)
    return Scene("results", f"{fault}: {command}", module, given, entries, writes=writes, codes=(1, 2, 3), chatty=True)


commands = sampled([*list(QUICK) * 8, *SLOW])


@st.composite
def values(draw) -> Scene:
    """A value in one or two events replaced, at any depth."""
    lines = SOURCE.read_text().splitlines()
    place = st.integers(0, 12) | st.integers(0, len(lines) - 1)
    for at in draw(st.lists(place, min_size=1, max_size=2, unique=True)):
        head, brace, rest = lines[at].partition("{")
        entry = json.loads(brace + rest)
        spot, path = entry, []
        while isinstance(spot, dict) and spot and (not path or draw(st.integers(0, 3))):
            path.append(draw(sampled(list(spot))))
            spot = spot[path[-1]]
        _set(entry, path, "@@")
        new = draw(sampled(JSON) | words.map(json.dumps))
        lines[at] = head + json.dumps(entry).replace('"@@"', new, 1)
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    return asked(draw(commands), "value", Entry(f"results/{NAME}", content=content))


def _set(entry: dict, path: list[str], value: str) -> None:
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = value


@st.composite
def lines(draw) -> Scene:
    content = draw(damaged_lines(SOURCE.read_text()))
    return asked(draw(commands), "lines", Entry(f"results/{NAME}", content=content))


@st.composite
def places(draw) -> Scene:
    """Something that is no log where one is looked for."""
    path = draw(sampled(PLACES))
    kinds = [Entry(path, "fifo"), Entry(path, "folder"), Entry(path, "zeros", size=30 << 30), Entry(path, mode=0)]
    kinds += [Entry(path, content=content) for content in (b"", b"\xff" * 99, SOURCE.read_bytes())]
    kinds += [Entry(path, "link", target=target) for target in ("loop", "/dev/zero", path.rsplit("/", 1)[-1])]
    entry = draw(sampled([*kinds, Entry(path, "folder", mode=0)]))
    return asked(draw(commands), "place", entry, Entry("results", "folder"))


@st.composite
def side_cars(draw) -> Scene:
    """The files beside the logs: figures' numbers, benchmarks."""
    name = draw(sampled(SIDE_CARS))
    content = (PUBLISHED / "quick" / name).read_bytes()
    how = draw(st.integers(0, 3))
    if how == 0:
        found = json.loads(content)
        spot, path = found, []
        while isinstance(spot, dict | list) and spot and (not path or draw(st.integers(0, 5))):
            path.append(draw(sampled(list(spot) if isinstance(spot, dict) else range(min(3, len(spot))))))
            spot = spot[path[-1]]
        _set(found, path, "@@")
        content = json.dumps(found).replace('"@@"', draw(sampled(JSON)), 1).encode("utf-8", "replace")
    elif how == 1:
        content = draw(sampled(JSON)).encode()
    elif how == 2:
        content = draw(damaged(content))
    else:
        return asked(DRAWN[name], "side-car", Entry(f"results/{name}", draw(sampled(["fifo", "folder"]))))
    return asked(DRAWN[name], "side-car", Entry(f"results/{name}", content=content))
