"""Which runs a tier is about: those its artefacts need, and the others they show if they are there."""

from collections.abc import Iterable
from pathlib import Path

from reproduce.artefact import Artefact
from reproduce.results import measured
from reproduce.results.measured import Measurement


def needed(tier: str, artefacts: Iterable[Artefact]) -> list[str]:
    return list(dict.fromkeys(run for one in artefacts for run in one.runs.get(tier, ())))


def collect(results: Path, tier: str, artefacts: Iterable[Artefact]) -> list[Measurement]:
    """The measurements of all runs the tier needs, and of those it only shows where there are logs; each once."""
    must = needed(tier, artefacts)
    may = [run for one in artefacts for some in (one.optional, one.speed) for run in some.get(tier, ())]
    found = [measured.collect(results, run) for run in dict.fromkeys([*must, *may])]
    return [m for m in found if m.run in must or m.n or m.left_out]
