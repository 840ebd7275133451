"""Slurm's short forms: lists of hosts such as "rack[1-2]n[01-04,09],login" and of tasks per node such as "2,1(x3)".

Imports nothing outside the standard library.
"""

import re

MOST = 1_000_000  # hosts or nodes in a list; more is a slip of the pen
DIMENSIONS = 16  # brackets in a name


class HostListError(ValueError):
    """A list that is not of Slurm's form; the message says what is wrong with it."""


def expand(text: str) -> list[str]:
    """The hosts of a list, in its order; leading zeros stay. Raises `HostListError`."""
    hosts = [host for part in _parts(text) for host in _expand(part)]
    if not hosts:
        raise HostListError("an empty list of hosts")
    return hosts


def tasks_per_node(text: str) -> list[int]:
    """The number of tasks on each node, in their order. Raises `HostListError`."""
    counts: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,9})(?:\(x(\d{1,9})\))?", part, re.ASCII)
        if not found:
            raise HostListError(f"{part!r} is not of the form 4 or 4(x512)")
        if len(counts) + int(found[2] or 1) > MOST:
            raise HostListError(f"more than {MOST:,} nodes")
        counts += [int(found[1])] * int(found[2] or 1)
    return counts


def _parts(text: str) -> list[str]:
    """The text between the commas that are not in brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if depth not in (0, 1):
            break
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    if depth:
        raise HostListError("its brackets do not match")
    return [part for part in parts if part]


def _expand(part: str) -> list[str]:
    if part.count("[") > DIMENSIONS:
        raise HostListError(f"more than {DIMENSIONS} brackets in a name")
    head, bracket, rest = part.partition("[")
    if not bracket:
        return [part]
    ranges, _, tail = rest.partition("]")
    numbers: list[str] = []
    tails = _expand(tail)
    for each in ranges.split(","):
        found = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", each, re.ASCII)
        if not found or int(found[2] or found[1]) < int(found[1]):
            raise HostListError(f"{each!r} is not of the form 7 or 7-12")
        first, last = int(found[1]), int(found[2] or found[1])
        if (len(numbers) + last - first + 1) * len(tails) > MOST:
            raise HostListError(f"more than {MOST:,} hosts")
        numbers += [str(number).zfill(len(found[1])) for number in range(first, last + 1)]
    return [f"{head}{number}{tail}" for number in numbers for tail in tails]
