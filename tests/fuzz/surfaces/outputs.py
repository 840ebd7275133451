"""Folders to write to: planted links, pipes, files where folders should be, modes, and a disk that is full."""

from hypothesis import strategies as st

from tests.fuzz import stock
from tests.fuzz.scene import HERE, VICTIM, Entry, Scene
from tests.fuzz.surfaces import results
from tests.fuzz.values import argument, paths, sampled

LOG = Entry(f"results/{results.NAME}", content=results.SOURCE.read_bytes())
COMMANDS = {  # module, words, files that it writes, bytes of the smallest of them
    "table1": ("reproduce.table1", ("--draw", "--results", "results", "--out"), ("table1.md", "table1.csv",
                                                                                 "table1.tex", "table1.json")),
    "page": ("reproduce.report.page", ("--results", "results", "--out"), ("index.html",)),
    "curve": ("reproduce.curve", ("--draw", "--results", "results", "--out"), ("curve.png", "curve.json", "curve.svg")),
    "log": ("reproduce.report.log", (LOG.path, "--draw"), ("drawn.png",)),
    "cluster": ("reproduce.cluster.__main__", ("--cluster", "abci", "--gpus", "8", "--out"), ("answer.txt",)),
    "calibrate": ("reproduce.cluster.__main__", ("calibrate", "--measured", "900", "--local-batch", "32", "--out"),
                  ("own.toml",)),
    "jobs": ("tests.fuzz.scripts", ("--launcher", "uge", "--only", "table1", "--out"), ("jobs/table1.sh",
                                                                                        "jobs/submitted.json",
                                                                                        "jobs/report.sh", ".probe")),
    "train": (stock.TRAIN, ("small.toml", "--data", "none", *stock.ON_CPU, "--out"),
              ("logs/small/result_1.txt", "checkpoints/small/seed_1/update_00000002.ckpt",
               "checkpoints/small/seed_1.lock")),
}  # fmt: skip
FILES = ("log", "cluster", "calibrate")  # --out, or --draw, names a file
WEIGHTS = {"table1": 4, "jobs": 3, "train": 4, "cluster": 2}


def scenes() -> st.SearchStrategy[Scene]:
    return planted() | planted() | full() | places()


names = sampled([name for name in COMMANDS for _ in range(WEIGHTS.get(name, 1))])


def written(fault: str, name: str, out: str, *entries: Entry, **more) -> Scene:
    module, words, _ = COMMANDS[name]
    base = (LOG, stock.recipe(stock.SYNTHETIC), Entry("data", "folder"))
    return Scene("outputs", f"{fault}: {name}", module, (*words, out), (*base, *entries), chatty=True, codes=(1, 2),
                 **({"writes": ("out",)} | more))


def target(name: str) -> str:
    return f"out/{COMMANDS[name][2][0]}" if name in FILES else "out"


@st.composite
def planted(draw) -> Scene:
    """Something in the place of a file that is to be written, or of a folder above it."""
    name = draw(names)
    path = f"out/{draw(sampled(COMMANDS[name][2]))}"
    path = draw(sampled([path, path, path, path.rsplit("/", 1)[0]]))
    entry = draw(sampled([
        Entry(path, "link", target=f"{HERE}/{VICTIM}"), Entry(path, "link", target=f"{HERE}/victims/new.txt"),
        Entry(path, "fifo"), Entry(path, "folder"),
        Entry(path, "link", target="/dev/full"), Entry(path, "link", target=path.rsplit("/", 1)[-1]), Entry(path,
            content=b"old", mode=0o400),
        Entry(path, "folder", mode=0o500), Entry(path, content=b"old"),
    ]))  # fmt: skip
    return written("planted", name, target(name), entry)


@st.composite
def full(draw) -> Scene:
    """No file may be larger than so: what was there stays."""
    name = draw(names)
    there = [path for path in COMMANDS[name][2] if path != ".probe" and not path.endswith((".lock", ".ckpt"))]
    old = tuple(Entry(f"out/{path}", content=b"old" * 100) for path in there)
    limit = draw(sampled([1, 100, 299]))
    keeps = tuple(one.path for one in old) if name not in ("train", "jobs") else ()
    return written("full disk", name, target(name), *old, file_limit=limit, keeps=keeps)


@st.composite
def places(draw) -> Scene:
    name = draw(names)
    out = argument(draw(paths.filter(lambda path: not path.startswith(("/dev/full", "-")))))
    return written("place", name, out, *stock.ODD, writes=("",))
