"""What public runs say about the paper's claims. Kind `public`: neither the paper's runs nor ours, and no verdict.

Two sources, both in ``figures/public``: the five MLPerf v0.6 runs of the paper's team on the same machine, and the
epochs every public run needed to 75.9 %. All numbers are computed from those files.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from reproduce.mlperf import epochs, table
from reproduce.mlperf.epochs import Needed
from reproduce.mlperf.summary import TARGET
from reproduce.results import public
from reproduce.results.paper import Claim, Paper, Value
from reproduce.results.public import PublicRun

WORDS = ("supports", "contradicts", "says nothing")
TEAM, RATES, ALL = (f"figures/public/{name}" for name in (public.FILES[2], public.FILES[1], table.CURVES))
NEAR = 1.25  # mini-batches down to the limit / 1.25 count as near it


@dataclass(frozen=True)
class Finding:
    """`word` is one of `WORDS`; `sentence` says why; `n` runs stand behind it, from the file `source`."""

    word: str
    sentence: str
    n: int = 0
    source: str = ""

    def __post_init__(self):
        if self.word not in WORDS or not self.sentence:
            raise ValueError(f"no such finding: {self.word!r}, {self.sentence!r}")

    def __str__(self) -> str:
        return f"{self.word}: {self.sentence}" + (f" (n = {self.n}, {self.source})" if self.n else "")


def findings(claim: Claim, known: Paper) -> tuple[Finding, ...]:
    """What public runs say about a claim, never empty. Raises `DataError` if a table is missing or malformed."""
    if claim.evidence == "sweep":
        return sweep(known, epochs.needed(), public.runs())
    if claim.evidence in MEASURED:
        return (of_the_team(claim, known.values[claim.value], public.runs()),)
    return (Finding("says nothing", "no public run tests it"),)


# ---- the team's five runs -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quantity:
    """What of the team's runs compares with a claim. `better`: +1 where more is better, -1 where less is."""

    name: str
    better: int
    decimals: int
    source: str


MEASURED = {
    "seconds": Quantity("a mean time of", -1, 2, TEAM),
    "images_per_second": Quantity("a mean steady rate of", 1, 0, RATES),
    "top1": Quantity("a mean final top-1 of", 1, 2, TEAM),
}


def of_the_team(claim: Claim, value: Value, runs: Sequence[PublicRun]) -> Finding:
    """Support if their mean is no worse than the paper's number by more than the tolerance, else contradiction."""
    what = MEASURED[claim.evidence]
    values = quantity(claim.evidence, runs)
    mean, low, high = (f"{x:,.{what.decimals}f}" for x in (statistics.fmean(values), min(values), max(values)))
    good = what.better * (statistics.fmean(values) - value.value) >= -(value.tolerance or 0.0)
    batches = " and ".join(sorted({f"{run.global_batch:,}" for run in runs}))
    sentence = (
        f"the paper's team on its machine, with another recipe and mini-batch {batches}: "
        f"{what.name} {mean} {value.unit} ({low} to {high})"
    )
    return Finding("supports" if good else "contradicts", sentence, len(values), what.source)


def quantity(name: str, runs: Sequence[PublicRun]) -> tuple[float, ...]:
    """Seconds, images/s or percent of each run."""
    if name == "images_per_second":
        return public.steady_rates()
    return tuple(run.run_seconds if name == "seconds" else run.top1[-1] for run in runs)


# ---- every public run -----------------------------------------------------------------------------------------------


def sweep(known: Paper, needed: Sequence[Needed], team: Sequence[PublicRun]) -> tuple[Finding, ...]:
    """Whether accuracy holds up to the paper's mini-batch, falls beyond it, and how far public runs go."""
    limit, length = known.values["mini_batch"].value, known.values["epochs"].value
    near = [run for run in needed if limit / NEAR <= run.batch <= limit]
    beyond = [run for run in team if run.global_batch > limit]
    status = known.values["epochs"].status
    within, after = holds(near, needed, limit, length, status), falls(beyond, limit, known.values["top1"].value)
    return within, after, furthest(needed)


def holds(
    near: Sequence[Needed], needed: Sequence[Needed], limit: float, length: float, status: str
) -> Finding:
    """Up to the limit: did most runs near it reach the target in the paper's number of epochs?"""
    if not near:
        return Finding("says nothing", f"no public run has a mini-batch of {limit / NEAR:,.0f} to {limit:,.0f}")
    good = [run for run in near if run.epochs is not None and run.epochs <= length]
    small, large = ([r.epochs for r in needed if r.epochs and r.batch <= 4096], [r.epochs for r in near if r.epochs])
    sentence = (
        f"up to {limit:,.0f}, {len(good)} of {len(near)} runs with {min(r.batch for r in near):,} to "
        f"{max(r.batch for r in near):,} reached {100 * TARGET:.1f} % within the paper's {length:.0f} epochs "
        f"({status}); the median need grows from {_median(small)} epochs (up to 4,096) to {_median(large)}"
    )
    return Finding("supports" if 2 * len(good) > len(near) else "contradicts", sentence, len(near), ALL)


def falls(beyond: Sequence[PublicRun], limit: float, top1: float) -> Finding:
    """Beyond the limit: is the team's accuracy there below the paper's at it?"""
    if not beyond:
        return Finding("says nothing", f"no run of the team is beyond {limit:,.0f}")
    mean, batches = statistics.fmean(run.top1[-1] for run in beyond), {run.global_batch for run in beyond}
    where = " and ".join(f"{batch:,}" for batch in sorted(batches))
    sentence = f"that it falls right beyond: the team's runs with {where} end at {mean:.2f} %, the paper's at {top1} %"
    return Finding("supports" if mean < top1 else "contradicts", sentence, len(beyond), TEAM)


def furthest(needed: Sequence[Needed]) -> Finding:
    return Finding("says nothing", f"no public run is beyond {max(run.batch for run in needed):,}")


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):g}" if values else "unknown"
