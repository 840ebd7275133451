"""The findings as a table for people, and as a report for programs."""

from collections.abc import Mapping
from pathlib import Path

from reproduce import files
from reproduce.engine.preflight.findings import Finding
from reproduce.errors import ConfigError, shown

HEAD = ("host", "ranks", "what", "found", "rule", "remedy")
MAX_LINES = 100


def table(findings: list[Finding], names: Mapping[int, str], nodes: int) -> str:
    """One line per finding; `names` of the hosts by rank. What every node has is one line for them all."""
    alike: dict[tuple, list[Finding]] = {}
    for one in findings:
        alike.setdefault((one.what, one.found, one.rule, one.remedy), []).append(one)
    rows = []
    for text, ones in alike.items():
        if len(ones) == nodes > 1:
            rows.append((f"all {nodes} nodes", spans([rank for one in ones for rank in one.ranks]), *text))
        else:
            rows += [(names.get(one.ranks[0], "unknown"), spans(one.ranks), *text) for one in ones]
    listed = [tuple(map(shown, row)) for row in (HEAD, *rows[:MAX_LINES])]
    widths = [max(len(row[column]) for row in listed) for column in range(len(HEAD) - 1)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]) for row in listed]
    if len(rows) > MAX_LINES:
        lines.append(f"and {len(rows) - MAX_LINES} more: see --report")
    return "\n".join(lines)


def spans(ranks) -> str:
    """"0-3,6" for 0, 1, 2, 3, 6."""
    found: list[list[int]] = []
    for rank in sorted(set(ranks)):
        if found and rank == found[-1][1] + 1:
            found[-1][1] = rank
        else:
            found.append([rank, rank])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def write_report(path: Path, content: dict) -> None:
    """At once or not at all. Raises `ConfigError`."""
    try:
        files.write_whole(path, files.to_json(content, indent=1))
    except OSError as error:
        raise ConfigError(f"--report {path}: cannot write: {error.strerror}: choose another file") from None
