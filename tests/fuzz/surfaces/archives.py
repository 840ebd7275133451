"""Archives and folders to be staged: members that lead out, sizes that are none, bombs, targets of others."""

import functools
import tarfile

from hypothesis import strategies as st

from tests.fuzz import stock
from tests.fuzz.scene import VICTIM, Entry, Scene
from tests.fuzz.values import argument, damaged, paths, sampled

STAGE = "reproduce.engine.data.stage"
NAMES = ("../out.JPEG", "/abs.JPEG", ".", "", "./", "..", "n01/../../out.JPEG", "a" * 200 + ".JPEG", "n01/x\n.JPEG",
         "n01", "train/n01/x.JPEG",
         "val/n01/x.JPEG", "n01/caf\udce9.JPEG", "\x1b[2J.JPEG", ".staged.json", ".staging.lock", "complete.json",
         "n01/.hidden", "n01/x.tar",
         "../../" + VICTIM, "b/" * 3000 + "x", "n01/x.JPEG/below", "link/x.JPEG")  # fmt: skip
TYPES = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE,
         tarfile.BLKTYPE,
         tarfile.GNUTYPE_SPARSE, b"Z", tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)  # fmt: skip


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"x" * 100, target: str = "", **more) -> bytes:
    """A header block and what follows it."""
    one = tarfile.TarInfo(name)
    one.type, one.linkname, one.size = kind, target, len(content)
    format_ = more.get("format", tarfile.GNU_FORMAT)
    one.pax_headers = more.get("pax", {})
    try:
        header = one.tobuf(format_, errors="surrogateescape")
    except (ValueError, UnicodeError):
        header = tarfile.TarInfo("x.JPEG").tobuf()
    return header + content + b"\0" * (-len(content) % 512)


@functools.cache
def good(part: str) -> bytes:
    members = [member("n01/" + one.path.rsplit("/", 1)[1],
                      content=one.content) for one in stock.images() if f"/{part}/" in one.path]
    return b"".join(members)


END = b"\0" * 1024


def sized(size: int) -> bytes:
    """A member whose header says another size than it has."""
    header = bytearray(member("n01/x.JPEG")[:512])
    if 0 <= size < 8**11:
        header[124:136] = b"%011o\0" % size
    else:
        header[124:136] = (size % 2**96 | 1 << 95 if size >= 0 else size % 2**96).to_bytes(12, "big")
    total = sum(header[:148]) + 32 * 8 + sum(header[156:512])
    header[148:156] = b"%06o\0 " % total
    return bytes(header) + b"x" * 512


def scenes() -> st.SearchStrategy[Scene]:
    return members() | members() | sizes() | broken() | targets() | places()


def staged(fault: str, train: bytes | None, *entries: Entry, **more) -> Scene:
    both = [Entry("from/val.tar", content=good("val") + END)]
    both += [Entry("from/train.tar", content=train)] if train is not None else []
    return Scene("archives", fault, STAGE, ("--from", "from", "--to", "to"), (*both, *entries), chatty=True,
                 **({"writes": ("to",)} | more))


@st.composite
def members(draw) -> Scene:
    """One to three odd members among good ones."""
    parts = [good("train")]
    for _ in range(draw(st.integers(1, 3))):
        pax = draw(sampled([{}, {}, {"path": "a\0b"}, {"size": "-1"}, {"size": "x"}, {"path": "../x"},
                            {"GNU.sparse.map": "x,y"}, {"x": "y" * 9000},
                            {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x"},
                            {"linkpath": "/etc"}]))  # fmt: skip
        one = member(draw(sampled(NAMES)), draw(sampled(TYPES) | st.just(tarfile.REGTYPE)), draw(sampled([b"x" * 100,
            b"", b"\0" * 600])),
                     draw(sampled(["/etc/passwd", "../../" + VICTIM, "..", "x", ""])),
                     pax=pax, format=tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT)  # fmt: skip
        parts.insert(draw(st.integers(0, len(parts))), one * draw(sampled([1, 1, 2, 800])))
    return staged("member", b"".join(parts) + END, names=("from/train.tar", "to/"))


@st.composite
def sizes(draw) -> Scene:
    size = draw(sampled([-1, -512, -(2**40), 2**50, 2**63, 2**80, 10**6, 8**11 - 1, 0, 511]))
    parts = [good("train"), sized(size)]
    if draw(st.booleans()):
        parts.reverse()
    return staged("size", b"".join(parts) + END, names=("from/train.tar", "to"))


@st.composite
def broken(draw) -> Scene:
    end = draw(sampled([END, END, b""]))
    return staged("bytes", draw(damaged(good("train"))) + end, names=("from/train.tar", "to"))


@st.composite
def targets(draw) -> Scene:
    """A target that is not ours, or not writable, or on a full disk; planted links in it."""
    path = draw(sampled(["to/train/n01/x.JPEG", "to/.staging.lock", "to/.staged.json", "to/.staging", "to/train",
                         "to", "to/holiday.txt",
                         "to/train/n01/train_001.JPEG", "to/.staging/x"]))  # fmt: skip
    entry = draw(sampled([Entry(path, content=b"mine"), Entry(path, "link", target="{here}/" + VICTIM), Entry(path,
        "link", target="{here}/victims"),
                          Entry(path, "fifo"), Entry(path, "folder", mode=0), Entry(path, content=b"[" * 3000),
                          Entry(path, content=b'{"source": 3}'),
                          Entry(path, "folder"), Entry(path, content=b"null")]))  # fmt: skip
    limit = draw(sampled([0, 0, 0, 600]))
    foreign = entry.path == "to/holiday.txt" or (entry.path.startswith("to/train/") and entry.kind != "folder")
    writes = ("to/.staging.lock",) if foreign else ("to",)
    return staged("full disk" if limit else "target", good("train") + END, entry, file_limit=limit, writes=writes)


@st.composite
def places(draw) -> Scene:
    path = argument(draw(paths))
    source, target = (path, "to") if draw(st.booleans()) else ("from", path)
    scene = staged("place", good("train") + END, *stock.ODD)
    return Scene(**{**vars(scene), "words": (f"--from={source}", f"--to={target}"), "writes": ("",)})
