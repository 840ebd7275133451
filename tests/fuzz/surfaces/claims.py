"""Documents with generated blocks, and the list of published files, damaged: ``claims --check`` and ``--write``."""

from hypothesis import strategies as st

from reproduce.paths import BENCH, DOCUMENT, JUDGE, PUBLISHED, README
from tests.fuzz.scene import Entry, Scene
from tests.fuzz.values import damaged_lines, sampled

MODULE = "reproduce.report.claims"
OWN = ((MODULE, "DOCUMENT", "REPRODUCE.md"), (MODULE, "README", "README.md"), (MODULE, "JUDGE", "judge/README.md"),
       (MODULE, "BENCH", "bench/README.md"), (MODULE, "PUBLISHED", "measured"))  # fmt: skip
LOG = "quick/logs/headline_b800_w20/result_1.txt"


def scenes() -> st.SearchStrategy[Scene]:
    return documents() | published()


def asked(fault: str, entries: dict[str, Entry], action: str, **more) -> Scene:
    whole = {"REPRODUCE.md": Entry("REPRODUCE.md", content=DOCUMENT.read_bytes()),
             "README.md": Entry("README.md", content=README.read_bytes()),
             "judge": Entry("judge/README.md", content=JUDGE.read_bytes()),
             "bench": Entry("bench/README.md", content=BENCH.read_bytes()),
             "SHA256SUMS": Entry("measured/SHA256SUMS", content=b""),
             "log": Entry(f"measured/{LOG}", content=(PUBLISHED / LOG).read_bytes())}  # fmt: skip
    documents = ("REPRODUCE.md", "README.md", "judge/README.md", "bench/README.md")
    writes = (*documents, "measured/SHA256SUMS") if action == "--write" else ()
    return Scene("claims", fault, MODULE, (action,), tuple((whole | entries).values()), patches=OWN, writes=writes,
                 codes=(1, 2), chatty=True, **more)  # fmt: skip


@st.composite
def documents(draw) -> Scene:
    name, path = draw(sampled([("REPRODUCE.md", DOCUMENT), ("README.md", README)]))
    kind = draw(sampled(["file", "file", "file", "fifo", "link", "folder"]))
    content = draw(damaged_lines(path.read_text())) if kind == "file" else b""
    one = Entry(name, kind, content=content, target=draw(sampled(["/dev/zero", name, "gone"])))
    return asked("document", {name: one}, draw(sampled(["--check", "--write"])), names=("README", "REPRODUCE",
                                                                                        "SHA256SUMS"))


@st.composite
def published(draw) -> Scene:
    """The list and the logs it is of; also a disk that is full."""
    entries = {}
    if draw(st.booleans()):
        lines = "".join(f"{'0' * 64}  {name}\n" for name in (LOG, "gone.txt", "../../x", "a\\nb"))
        entries["SHA256SUMS"] = Entry("measured/SHA256SUMS", content=draw(damaged_lines(lines)))
    if draw(st.booleans()):
        entries["log"] = Entry(f"measured/{LOG}", content=draw(damaged_lines((PUBLISHED / LOG).read_text())))
    elif draw(st.booleans()):
        entries["log"] = Entry(f"measured/{LOG}", draw(sampled(["fifo", "folder"])))
    limit = draw(sampled([0, 0, 100, 3000]))
    action = draw(sampled(["--check", "--write"]))
    return asked("full disk" if limit else "published", entries, action, file_limit=limit, keeps=("REPRODUCE.md",))
