"""Published benchmarks in one table: ours against peers at equal work, then the rest, and a reference rate."""

from collections.abc import Iterator
from pathlib import Path

from reproduce import table
from reproduce.bench import contest
from reproduce.bench.contest import Result, Row, Table

HEADER = ["contest", "the work", "ours", "against each peer, equal work", "not equal work", "of the reference rate",
          "hardware"]  # fmt: skip
ORDER = ("step", "lars", "data", "startup")
DEVICES = ("cpu", "cuda")


def speed_block(folder: Path) -> str:
    """Markdown of what lies in `folder`, CPU and GPU apart; a benchmark nobody has published is a row of holes."""
    rows = []
    for name in ORDER:
        for device in DEVICES:
            results = list(filter(None, map(contest.read, found_on(device, folder, name))))
            for result in results:
                rows.extend(lines(result))
            if not results and (name, device) != ("data", "cuda"):  # it counts what a core decodes
                where = " --device cuda`" if device == "cuda" else "`"
                rows.append([f"`python -m reproduce.bench {name}{where}", "not measured", *[""] * (len(HEADER) - 2)])
    return table.markdown(HEADER, rows)


def found_on(device: str, folder: Path, name: str) -> list[Path]:
    """Where a benchmark's results on a device are: by itself, or as the steps of campaigns on GPUs."""
    by_itself = [folder / contest.file_name(name, device)]
    return by_itself if device == "cpu" else [*by_itself, *sorted(folder.glob(f"cuda_*/{name}*.json"))]


def lines(result: Result) -> list[list[str]]:
    where = f"{result.about['hardware']}, torch {result.about['torch']}"
    return [[*cells(t), where] for t in result.tables if t.first is not None]


def cells(t: Table) -> list[str]:
    peers, references = ([row for row in t.rows if row.role == role] for role in ("peer", "floor"))
    shares = [share for row in references if (share := t.speed(row.name))]
    equal = [against(t, row, of) for row in peers if (of := t.equal(row.name))]
    return [
        t.title, t.work, "; ".join(text(t.row(name), t.unit) for name in shown(t, peers)),
        "; ".join(equal) or "no peer does this", "; ".join(unequal(t, peers)) or "none",
        f"{100 * min(shares):.0f} %" if shares else "none",
    ]  # fmt: skip


def shown(t: Table, peers: list[Row]) -> list[str]:
    """Our rows that a peer is compared with at equal work, then `first`."""
    names = [*(t.equal(row.name) for row in peers), t.first]
    return list(dict.fromkeys(name for name in names if name))


def unequal(t: Table, peers: list[Row]) -> Iterator[str]:
    """`first` against peers that do less, or whose work another row of ours does."""
    for row in peers:
        if t.first and t.equal(row.name) != t.first and t.speed(row.name):
            yield against(t, row, t.first)


def against(t: Table, peer: Row, of: str) -> str:
    speed = t.speed(peer.name, of)
    name = f"{peer.name} ({peer.note})" if peer.note and len(peer.note) < 60 else peer.name
    several = any(t.equal(row.name) != t.first for row in t.rows if row.role == "peer")
    ours = f"{of} against " if several else ""
    return f"{ours}{name} {speed:.2f}x" if speed else f"{ours}{peer.name} missing"


def text(row: Row, unit: str) -> str:
    return f"{row.name}: " + ("missing" if row.median is None else f"{contest.number(row.median)} {unit}")
