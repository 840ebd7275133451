"""Draws scenes of a surface, runs them, counts what became of them, and shrinks each kind of finding."""

import functools
import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, settings, strategies

from tests.fuzz import child
from tests.fuzz.oracle import Finding, findings
from tests.fuzz.scene import Scene

SHRINKING_SECONDS = 20.0  # for one kind of finding
Run = Callable[[Scene], child.Outcome]


class StopShrinkingError(BaseException):
    """Passes through hypothesis: what is smallest so far is good enough."""


@dataclass
class Counted:
    """What a surface has shown: inputs by (fault, how it ended), and the smallest scene of each kind of finding."""

    surface: str
    inputs: int = 0
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: dict[tuple[str, str], tuple[Scene, Finding]] = field(default_factory=dict)
    times: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: float = 0.0

    def total(self, end: str) -> int:
        return sum(count for (_, how), count in self.ends.items() if how == end)


def explore(
    surface: str, scenes: strategies.SearchStrategy[Scene], inputs: int, seed: int,
    shrinking: float = SHRINKING_SECONDS,
    run: Run = child.run, first: bool = False,
) -> Counted:  # fmt: skip
    """Run so many scenes of a surface, the same ones for the same seed. A finding is shrunk, and the search goes on.

    `first`: until something is found.
    """
    counted, began, batch = Counted(surface), time.monotonic(), 0
    while counted.inputs < inputs and not (first and counted.found):
        before = counted.inputs
        _batch(counted, scenes, inputs - counted.inputs, seed + 1000 * batch, shrinking, run)
        batch += 1
        if counted.inputs == before:
            break  # there are no more scenes of this surface
    counted.seconds = time.monotonic() - began
    return counted


def _batch(counted: Counted, scenes, inputs: int, seed: int, shrinking: float, run: Run) -> None:
    """Until the first new kind of finding has been shrunk."""
    search = _Search(counted, inputs, shrinking, run)

    @hypothesis.seed(seed)
    @settings(max_examples=inputs, database=None, deadline=None, derandomize=False, print_blob=False,
              suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink),
              report_multiple_bugs=False)  # fmt: skip
    @hypothesis.given(scenes)
    def explored(scene: Scene) -> None:
        search.take(scene)

    try:
        explored()
    except (FoundError, StopShrinkingError, hypothesis.errors.HypothesisException):
        pass


class FoundError(Exception):
    """A scene with a finding; of a class of its own for each kind, by which hypothesis tells them apart."""


class _Search:
    def __init__(self, counted: Counted, inputs: int, shrinking: float, run: Run):
        self._counted, self._left, self._run = counted, inputs, run
        self._known, self._shrinking = set(counted.found), shrinking
        self._target: tuple[str, str] | None = None
        self._until = float("inf")

    def take(self, scene: Scene) -> None:
        if time.monotonic() > self._until:
            raise StopShrinkingError
        outcome = self._run(scene)
        found = findings(scene, outcome)
        if self._target is None:
            self._count(scene, outcome, found)
        for one in found:
            self._note(scene, one)
        mine = [one for one in found if _key(one) == self._target]
        if mine:
            raise FoundError(f"{self._target}")

    def _count(self, scene: Scene, outcome: child.Outcome, found: list[Finding]) -> None:
        counted = self._counted
        counted.inputs += 1
        how = found[0].kind if found else "accepted" if outcome.code == 0 else "refused"
        counted.ends[scene.fault, how] += 1
        for one in found:
            counted.times[_key(one)] += 1
        new = [_key(one) for one in found if _key(one) not in self._known]
        if new and new[0][0] != "hang":  # each try would take as long
            self._target = new[0]
            self._until = time.monotonic() + self._shrinking

    def _note(self, scene: Scene, one: Finding) -> None:
        before = self._counted.found.get(_key(one))
        if before is None or len(scene.to_json()) < len(before[0].to_json()):
            self._counted.found[_key(one)] = scene, one


def _key(one: Finding) -> tuple[str, str]:
    return one.kind, one.mark


# ---- what is shown --------------------------------------------------------------------------------------------------


def table(found: list[Counted]) -> str:
    """A line for each surface, and one for each of its faults."""
    lines = [f"{'surface':<14}{'inputs':>8}{'accepted':>10}{'refused':>9}{'found':>7}{'seconds':>9}"]
    for one in found:
        wrong = one.inputs - one.total("accepted") - one.total("refused")
        lines.append(f"{one.surface:<14}{one.inputs:>8,}{one.total('accepted'):>10,}{one.total('refused'):>9,}"
                     f"{wrong:>7,}{one.seconds:>9.1f}")  # fmt: skip
        lines += _faults(one)
    inputs, accepted, refused = (sum(values) for values in zip(
        *[(one.inputs, one.total("accepted"), one.total("refused")) for one in found]))  # fmt: skip
    lines.append(f"{'all':<14}{inputs:>8,}{accepted:>10,}{refused:>9,}{inputs - accepted - refused:>7,}")
    return "\n".join(lines)


def _faults(one: Counted) -> list[str]:
    ends = ("accepted", "refused")
    rows = {}
    for fault in sorted({fault for fault, _ in one.ends}):
        counts = {how: count for (name, how), count in one.ends.items() if name == fault}
        other = sum(count for how, count in counts.items() if how not in ends)
        rows[fault] = sum(counts.values()), *(counts.get(how, 0) for how in ends), other
    return [f"  {name[:30]:<30}{n:>6,} = {yes:,} accepted + {no:,} refused" + (f" + {other:,} FOUND" if other else "")
            for name, (n, yes, no, other) in rows.items()]  # fmt: skip


def reproducer(scene: Scene, finding: Finding) -> str:
    """A finding with the smallest scene that shows it, for a reader."""
    lines = [f"{finding.kind}: {finding.mark}",
             f"  command: python -m {scene.module} {' '.join(map(repr, scene.words))}"]
    lines += [f"  variable: {name}={value!r}" for name, value in scene.environ]
    lines += [f"  file limit: {scene.file_limit} bytes"] if scene.file_limit else []
    for one in scene.entries:
        what = {"file": f"{_brief(one.content)}", "link": f"-> {one.target!r}"}.get(one.kind, f"{one.kind} {one.size}")
        lines.append(f"  {one.path!r}: {what}")
    return "\n".join([*lines, *(f"    {line}" for line in finding.text.splitlines())])


def _brief(content: bytes) -> str:
    return repr(content) if len(content) < 160 else f"{content[:60]!r} ... {content[-60:]!r}, {len(content):,} bytes"


def save(scene: Scene, finding: Finding, folder: Path) -> Path:
    """Keep a scene as a file for ``--again``; the name is of the kind of finding."""
    folder.mkdir(parents=True, exist_ok=True)
    text = scene.to_json()
    name = re.sub(r"[^a-z0-9]+", "-", f"{scene.surface}-{finding.kind}-{finding.mark}".lower())[:80]
    path = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}.json"
    path.write_text(text)
    return path


@functools.cache
def surfaces() -> dict[str, strategies.SearchStrategy[Scene]]:
    """Every surface by name: a module of `tests.fuzz.surfaces` with a function `scenes`."""
    import importlib
    import pkgutil

    from tests.fuzz import surfaces as package

    names = [one.name for one in pkgutil.iter_modules(package.__path__)]
    modules = {name: importlib.import_module(f"{package.__name__}.{name}") for name in names}
    return {name: module.scenes() for name, module in modules.items() if hasattr(module, "scenes")}
