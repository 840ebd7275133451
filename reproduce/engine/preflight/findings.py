"""What a finding is, the rules facts are judged by, and comparing nodes with one another."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GIB = 1 << 30
EXCLUDE = "take the node out of the job"
FILES_PER_RANK = 4  # training has two connections to rank 0 per rank; as many again for everything else


@dataclass(frozen=True)
class Rules:
    """What the job needs, as its script says; None: only that all nodes are alike. Rates are of one direction."""

    gpus_per_node: int | None = None
    gpu: str | None = None  # part of its name
    min_node_gbit: float = 0.0  # Gbit/s (10^9) of each rank inside its node
    min_network_gbit: float = 0.0  # Gbit/s of a whole node
    slow_link: float = 0.5  # share of the others' median below which a node is called slow; 0: no such rule
    slow_clock: float = 0.9
    min_memory_gib: float = 0.0
    min_disk_gib: float = 0.0
    max_skew_ms: float = 500.0
    min_open_files: int = 4096


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, with the ranks it was found at, all of one node."""

    ranks: tuple[int, ...]
    what: str
    found: str
    rule: str
    remedy: str


def joined(findings: list[Finding], node_of: Mapping[int, int]) -> list[Finding]:
    """One finding for what the ranks of a node have in common, in the order of ranks."""
    ranks: dict[tuple, list[int]] = {}
    for one in findings:
        for rank in one.ranks:
            key = (node_of.get(rank, rank), one.what, one.found, one.rule, one.remedy)
            ranks.setdefault(key, []).append(rank)
    found = [Finding(tuple(sorted(set(at))), *key[1:]) for key, at in ranks.items()]
    return sorted(found, key=lambda one: one.ranks)


@dataclass(frozen=True)
class Usual:
    """The value that most have; of equally common ones that of the lowest rank."""

    value: Any
    have: int
    of: int
    others: dict[int, object]  # by rank

    def rule(self, text: str | None = None) -> str:
        unit = "rank" if self.of == 1 else "ranks"
        return f"{self.value if text is None else text}, as on {self.have} of {self.of} {unit}"


def usual(values: Mapping[int, object]) -> Usual:
    """`values` by rank, not empty, of anything hashable."""
    counts = Counter(values[rank] for rank in sorted(values))
    value, have = counts.most_common(1)[0]
    return Usual(value, have, len(values), {rank: v for rank, v in values.items() if v != value})


def unlike(values: Mapping[int, object], what: str, remedy: str, show=str) -> list[Finding]:
    """A finding for each rank whose value is not the usual one."""
    if not values:
        return []
    most = usual(values)
    rule = most.rule(show(most.value))
    return [Finding((rank,), what, show(value), rule, remedy) for rank, value in most.others.items()]


def number(value: float) -> str:
    """For people: three digits, no exponents."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{float(f'{value:.3g}'):g}"


def as_rules(options, world_size: int) -> Rules:
    """Those of the command line."""
    rules = Rules(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Rules)})
    if rules.min_open_files is None:
        files = max(Rules.min_open_files, FILES_PER_RANK * world_size)
        return dataclasses.replace(rules, min_open_files=files)
    return rules
