"""Published benchmarks in one table: each contest, how many times as fast ours is as every peer, and the floor."""

from pathlib import Path

from reproduce import table
from reproduce.bench import contest
from reproduce.bench.contest import Row, Table

HEADER = ["contest", "equal work", "ours", "against each peer", "of the floor's speed", "hardware"]
ORDER = ("step", "lars", "data", "startup")


def speed_block(folder: Path) -> str:
    """Markdown of what lies in `folder`/NAME.json; a benchmark nobody has published is a row of holes."""
    rows = []
    for name in ORDER:
        result = contest.read(folder / f"{name}.json")
        if result is None:
            rows.append([f"`python -m reproduce.bench {name}`", "missing", *[""] * 4])
            continue
        where = f"{result.about['hardware']}, torch {result.about['torch']}"
        rows.extend([*cells(t), where] for t in result.tables if t.first is not None)
    return table.markdown(HEADER, rows)


def cells(t: Table) -> list[str]:
    peers, floors = ([row for row in t.rows if row.role == role] for role in ("peer", "floor"))
    shares = [share for row in floors if (share := t.speed(row.name))]
    return [
        t.title, t.work, text(t, t.row(t.first)), "; ".join(against(t, row) for row in peers) or "no peer does this",
        f"{100 * min(shares):.0f} %" if shares else "no floor",
    ]  # fmt: skip


def against(t: Table, peer: Row) -> str:
    speed = t.speed(peer.name)
    name = f"{peer.name} ({peer.note})" if peer.note and len(peer.note) < 60 else peer.name
    return f"{name} {speed:.2f}x" if speed else f"{peer.name} missing"


def text(t: Table, row: Row | None) -> str:
    if row is None or row.median is None:
        return "missing"
    return f"{row.name}: {contest.number(row.median)} {t.unit}"
