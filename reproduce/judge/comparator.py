"""Is this the curve of one more run of that recipe? A run compared with known runs, and a `Verdict` with its reason.

First what needs no statistics: another batch, recipe, data set or device is `not comparable`, a curve with holes is
`missing`. Then these tests, each at `LEVEL`; a run is `reproduced` if it passes all that its reference allows:

same seed    the first epoch's loss is that of the known run with the same seed, within `TWIN` of the spread between
             seeds. All that differs is rounding, and one epoch has not yet blown it up: up to 0.04 of the spread was
             measured between one process and two, fp32 and bf16, DALI and torchvision. The only test that sees small
             mistakes: a learning rate 5 % too high moves the first epoch by 0.2 of the spread
band         no epoch lies outside the simultaneous prediction band; accuracy, and training loss where it is logged
misfit       the mean squared distance from the runs' mean is that of a single run; accuracy and loss. Too near to the
             mean fails only for accuracy, whose evaluations vary by themselves
final        the last evaluation lies in its own prediction interval
shape        the accuracy stalls and falls back while the rate is near its peak, and climbs as it decays: `features`
time         the epochs to `TARGET` of the final accuracy; seconds too, but only on the very same hardware

A known run with the seed of the run is left out of everything else, since no band holds for what is not independent.
`bands` states the model and the formulas. At most ten of the tests go by chance, so a run of the same recipe fails with
a probability of at most 10 x LEVEL = 5 % (union bound); `check` divides the level by the number of runs that it judges
together, so that this holds for all of them. The other way round there is no guarantee: with five runs that spread by
points, what differs by less than that spread passes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reproduce.judge.bands import FEWEST, Curve
from reproduce.judge.deviations import failures, unlike_twin
from reproduce.judge.runs import Finding, Reference, Run, curve_of, quantities
from reproduce.judge.verdict import Verdict

LEVEL = 0.005
COPY = 1e-6  # of a loss: two seeds differ by 1e-3 and more
FEW_EVALUATIONS = 5


@dataclass(frozen=True)
class Comparison:
    verdict: Verdict
    findings: tuple[Finding, ...] = ()


def compare(run: Run | None, reference: Reference, level: float = LEVEL) -> Comparison:
    """Compare `run`, None if there is no curve at all, with `reference`."""
    if run is None:
        return Comparison(Verdict("missing", "there is no curve"))
    differences = run.facts.differences(reference.facts)
    if differences:
        return Comparison(Verdict("not comparable", "; ".join(differences)))
    copied = copy_of(run, reference.runs)
    if copied:
        reason = f"its curves are those of the stored run of seed {copied.seed}: that run under seed {run.seed}"
        return Comparison(Verdict("outside", reason))
    twins, others = apart(run, reference)
    if len(others.runs) < FEWEST:
        reason = f"{reference.name} has {len(others.runs)} other stored curves, and a band needs {FEWEST}"
        return Comparison(Verdict("missing", reason))
    gap = hole(run, others)
    if gap:
        return Comparison(gap)
    findings = (*unlike_twin(run, twins, others), *failures(run, others, level))
    n = len(others.runs)
    if findings:
        more = f"; and {len(findings) - 1} more" if findings[1:] else ""
        return Comparison(Verdict("outside", f"{findings[0]}, by {n} runs{more}"), findings)
    reason = f"as one more run beside the {n} of {reference.name}{_unpaired(run, others, twins)}"
    return Comparison(Verdict("reproduced", reason))


def _unpaired(run: Run, others: Reference, twins: Sequence[Run]) -> str:
    """What a run of a new seed is told: that it was not compared by the test which sees small mistakes."""
    stored = sorted(known.seed for known in others.runs if known.seed is not None)
    if twins or run.seed is None or not stored or "train loss" not in quantities(others):
        return ""
    return f"; seed {run.seed} is not stored: train seed {stored[0]} too, whose first epoch shows smaller mistakes"


def copy_of(run: Run, known: Sequence[Run]) -> Run | None:
    """The known run of another seed with these curves: half of the losses, or all of many accuracies, are its own."""
    others = [one for one in known if None not in (run.seed, one.seed) and run.seed != one.seed]
    return next((one for one in others if _alike(run.loss, one.loss) > 0.5 or _same(run.accuracy, one.accuracy)), None)


def _same(a: Curve, b: Curve) -> bool:
    return len(a) >= FEW_EVALUATIONS and _alike(a, b) == 1


def _alike(a: Curve, b: Curve) -> float:
    """The share of the epochs of both at which they agree beyond what two seeds ever do."""
    epochs = a.keys() & b.keys()
    return sum(math.isclose(a[e], b[e], rel_tol=COPY) for e in epochs) / len(epochs) if epochs else 0.0


def apart(run: Run, reference: Reference) -> tuple[list[Run], Reference]:
    """The known runs that are not independent of `run`, by their seed or as the very same curves, and the others."""

    def related(known: Run) -> bool:
        same_seed = run.seed is not None and run.seed == known.seed
        return same_seed or (run.accuracy, run.loss) == (known.accuracy, known.loss)

    twins = [known for known in reference.runs if related(known)]
    return twins, replace(reference, runs=tuple(known for known in reference.runs if not related(known)))


def hole(run: Run, reference: Reference) -> Verdict | None:
    """Why the curve cannot be compared with all of the band, if it cannot."""
    for quantity in quantities(reference):
        curve, due = curve_of(run, quantity), sorted(set.intersection(*map(set, reference.curves(quantity))))
        absent = [epoch for epoch in due if epoch not in curve]
        if not curve:
            return Verdict("missing", f"there is no {quantity}")
        if max(curve) < due[-1]:
            return Verdict("missing", f"the {quantity} ends at epoch {max(curve)} of {due[-1]}")
        if absent:
            return Verdict("missing", f"there is no {quantity} for epoch {absent[0]}")
        if max(curve) > due[-1]:
            return Verdict("not comparable", f"the {quantity} goes on to epoch {max(curve)}, the runs end at {due[-1]}")
    return None
