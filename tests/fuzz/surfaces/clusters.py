"""Cluster files: the model that reads their constants, and the job scripts made of their ``[launch]``."""

import functools

from hypothesis import strategies as st

from reproduce.paths import CLUSTERS
from tests.fuzz.scene import Entry, Scene
from tests.fuzz.stock import ODD
from tests.fuzz.values import COMMAND, TOML, argument, damaged, paths, sampled

ASK = "reproduce.cluster.__main__"
RUN = "reproduce.run_all"
FILE = "own.toml"
LAUNCH = ("scheduler", "ranks_per_node", "gpus_per_node", "gpu", "options", "report_options", "account", "ranks",
          "hostfile",
          "scratch", "numa", "hca", "modules", "environment", "node_gbit", "network_gbit", "max_hours",
          "nonsense")  # fmt: skip
PLANTED = (f'"$({COMMAND})"', f'["--x=$({COMMAND})"]', f'{{ data = "$({COMMAND})" }}', f'{{ root = "`{COMMAND}`" }}',
           '{ PATH = "x" }',
           f'{{ LD_PRELOAD = "\'; {COMMAND}; \'" }}', '["--nodes={{nodes}}"]', '["}{"]', '["{nodes"]',
           '["{time:1000000000}"]',
           '["{nodes!r}"]', '{ ended = "1" }', '{ out = "/x" }', '"{account}"')  # fmt: skip


@functools.cache
def parts() -> tuple[str, ...]:
    """The lines of abci.toml, as a file of one's own."""
    text = (CLUSTERS / "abci.toml").read_text().replace('name = "abci"', 'name = "own"')
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


def scenes() -> st.SearchStrategy[Scene]:
    return constants() | launches() | launches() | broken_files() | places()


def asked(fault: str, content: bytes, *words: str, **more) -> Scene:
    return Scene("clusters", fault, ASK, ("--cluster", FILE, "--gpus", "8", *words),
                 (Entry(FILE, content=content), Entry("fifo", "fifo")), names=("own", "abci", "fifo", "_assumed"),
                 **more)  # fmt: skip


def planned(fault: str, content: bytes, launcher: str, **more) -> Scene:
    """Everything up to the job scripts, which are printed."""
    words = ("--launcher", launcher, "--cluster", FILE, "--out", "out", "--data", "data", "--only", "table1")
    return Scene("clusters", fault, "tests.fuzz.scripts", words, (Entry(FILE, content=content), Entry("data",
        "folder")), writes=("out",), **more)


@st.composite
def constants(draw) -> Scene:
    """A constant, or a field of one, replaced."""
    lines = list(parts())
    at = draw(sampled([number for number,
                       line in enumerate(lines) if " = " in line and number < lines.index("[launch]")]))
    key, _, value = lines[at].partition(" = ")
    new = draw(sampled(TOML))
    how = draw(st.integers(0, 5))
    if value.startswith("{") and how < 4:
        field = ("value", "unit", "status", "range")[how]
        kept = ", ".join(part for part in value.strip("{} ").split(", ") if not part.startswith(f"{field} ="))
        lines[at] = f"{key} = {{ {field} = {new}, {kept} }}"
    elif how == 5:
        lines[at] = ""
    else:
        lines[at] = f"{key} = {new}"
    return asked("constant", "\n".join(lines).encode())


@st.composite
def launches(draw) -> Scene:
    lines = list(parts())
    key, value = draw(sampled(LAUNCH)), draw(sampled(PLANTED) | sampled(TOML))
    kept = [line for line in lines if not line.startswith(f"{key} = ")]
    if draw(st.booleans()):
        kept = [line for line in kept if not line.startswith(("numa", "hca"))]
    text = "\n".join([*kept, f"{key} = {value}"])
    return planned("[launch]", text.encode(), draw(sampled(["uge", "slurm", "pbs"])), names=("own", "error: "))


@st.composite
def broken_files(draw) -> Scene:
    head = draw(sampled(["", 'extends = 3\n', 'extends = "own.toml"\n', 'extends = "fifo"\n', "launch = 3\n",
                         "gpu = 3\n",
                         "cluster = 3\n", "measured = 3\n", "measured = { images_per_second = nan }\n",
                         "range = 3\n"]))  # fmt: skip
    text = "\n".join(parts()).encode()
    if head:
        return asked("section", head.encode() + b"\n".join(text.split(b"\n")[draw(st.integers(0, 1)) :]))
    return asked("bytes", draw(damaged(text)))


@st.composite
def places(draw) -> Scene:
    return Scene("clusters", "place", ASK, (f"--cluster={argument(draw(paths))}", "--gpus", "8"), ODD, must="refuse")
