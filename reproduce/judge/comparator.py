"""Is this the curve of one more run of that recipe? A run compared with known runs, and a `Verdict` with its reason.

First what needs no statistics: another batch, recipe, data set or device is `not comparable`, a curve with holes is
`missing`. Then these tests, each at `LEVEL`; a run is `reproduced` if it passes all that its reference allows:

same seed    the first epoch's loss is that of the known run with the same seed, within `TWIN` of the spread between
             seeds. All that differs is rounding, and one epoch has not yet blown it up: up to 0.04 of the spread was
             measured between one process and two, fp32 and bf16, DALI and torchvision
band         no epoch lies outside the simultaneous prediction band; accuracy, and training loss where it is logged
misfit       the mean squared distance from the runs' mean is that of a single run; accuracy and loss
final        the last evaluation lies in its own prediction interval
shape        the accuracy stalls and falls back while the rate is near its peak, and climbs as it decays: `features`
time         the epochs to `TARGET` of the final accuracy; seconds too, but only on the very same hardware

A known run with the seed of the run is left out of everything else, since no band holds for what is not independent.
`bands` states the model and the formulas. At most ten of the tests go by chance, so a run of the same recipe fails with
a probability of at most 10 x LEVEL = 5 % (union bound). The other way round there is no guarantee: with five runs that
spread by points, what differs by less than that spread passes.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

from reproduce.judge import bands
from reproduce.judge.bands import FEWEST, Band, Curve, Interval
from reproduce.judge.features import reached, shape
from reproduce.judge.verdict import Verdict

LEVEL = 0.005
TARGET = 0.98
TWIN = 0.2
COPY = 1e-6  # of a loss: two seeds differ by 1e-3 and more
FEW_EVALUATIONS = 5
UNITS = {"top-1": " %", "train loss": ""}


@dataclass(frozen=True)
class Facts:
    """What must agree before curves are compared. None: not known, or of no influence; then it is not asked for.

    `recipe` is a config hash. `device` (cpu, cuda) belongs to references whose rounding shows in the values.
    """

    dataset: str | None = None
    global_batch: int | None = None
    recipe: str | None = None
    device: str | None = None

    def differences(self, other: "Facts") -> list[str]:
        words = {"dataset": "data set", "global_batch": "global batch", "recipe": "recipe", "device": "device type"}
        pairs = [(words[field.name], getattr(self, field.name), getattr(other, field.name)) for field in fields(self)]
        return [f"{word} {ours}, not {theirs}" for word, ours, theirs in pairs if None not in (ours, theirs)
                and ours != theirs]  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run's curves by one-based epoch: top-1 in percent, mean training loss, seconds since run_start; {}: unknown."""

    accuracy: Curve
    loss: Curve
    facts: Facts = Facts()
    seconds: Curve | None = None
    hardware: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Reference:
    """Known runs of one recipe. `peak_epoch` is where the warm-up ends; None leaves the test of the shape out."""

    name: str
    runs: tuple[Run, ...]
    facts: Facts = Facts()
    peak_epoch: float | None = None

    def curves(self, quantity: str) -> list[Curve]:
        return [curve_of(run, quantity) for run in self.runs]


@dataclass(frozen=True)
class Finding:
    """A test that a run failed.

    `epoch`: the first one outside, the farthest from the mean, or, for tests of the whole curve, the last. `lies`:
    where the curve is, "below", "above" or, nearer to the mean than any run, "smooth".
    """

    test: str
    quantity: str
    epoch: int
    value: float
    expected: Interval
    more: str = ""
    lies: str | None = None  # None: as `value` to `expected`

    @property
    def side(self) -> str:
        return self.lies or ("below" if self.value < self.expected.low else "above")

    def __str__(self) -> str:
        unit = UNITS.get(self.quantity, "")
        place = f" at epoch {self.epoch}" if self.test in ("same seed", "band", "final") else ""
        value, expected = f"{self.value:.5g}{unit}", f"{self.expected}{unit}"
        return f"{self.quantity}{place}: {value}, expected {expected}{self.more} ({self.test})"


@dataclass(frozen=True)
class Comparison:
    verdict: Verdict
    findings: tuple[Finding, ...] = ()


def curve_of(run: Run, quantity: str) -> Curve:
    return run.accuracy if quantity == "top-1" else run.loss


def compare(run: Run | None, reference: Reference, level: float = LEVEL) -> Comparison:
    """Hold `run`, None if there is no curve at all, against `reference`."""
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
    return Comparison(Verdict("reproduced", f"as one more run beside the {n} of {reference.name}"))


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


def unlike_twin(run: Run, twins: Sequence[Run], others: Reference) -> Iterator[Finding]:
    if "train loss" not in quantities(others):
        return
    curves = others.curves("train loss")
    first = min(curves[0])
    half = TWIN * statistics.stdev(curve[first] for curve in curves)  # not pooled: this epoch may be much the calmest
    for twin in twins:
        expected = Interval(twin.loss[first] - half, twin.loss[first] + half)
        if run.loss[first] not in expected:
            yield Finding("same seed", "train loss", first, run.loss[first], expected)


def quantities(reference: Reference) -> list[str]:
    """Those that every known run has."""
    return [quantity for quantity in UNITS if all(reference.curves(quantity))]


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


def failures(run: Run, reference: Reference, level: float) -> Iterator[Finding]:
    """The tests that `run` fails, the most telling first."""
    for quantity in quantities(reference):
        known, curve = bands.band(reference.curves(quantity)), curve_of(run, quantity)
        yield from outside_band(quantity, known, curve, level)
        yield from off_everywhere(quantity, known, curve, level)
    if "top-1" in quantities(reference):
        last = max(reference.runs[0].accuracy)
        expected = bands.band(reference.curves("top-1")).interval(last, level, simultaneous=False)
        if run.accuracy[last] not in expected:
            yield Finding("final", "top-1", last, run.accuracy[last], expected)
        yield from unlike_shape(run.accuracy, reference, level)
        yield from off_time(run, reference, level)


def outside_band(quantity: str, known: Band, curve: Curve, level: float) -> Iterator[Finding]:
    out = [epoch for epoch in known.epochs if curve[epoch] not in known.interval(epoch, level)]
    if out:
        more = f"; outside at {len(out)} of {len(known.epochs)} epochs"
        yield Finding("band", quantity, out[0], curve[out[0]], known.interval(out[0], level), more)


def off_everywhere(quantity: str, known: Band, curve: Curve, level: float) -> Iterator[Finding]:
    score, expected = bands.misfit(known, curve), bands.misfit_range(known, level)
    if score in expected:
        return
    name = f"mean squared deviation of the {quantity}"
    if score < expected.low:
        more = "; no single run lies so near the mean"
        yield Finding("misfit", name, known.epochs[-1], score, expected, more, "smooth")
        return
    farthest, epoch = max(zip(known.scores(curve), known.epochs), key=lambda pair: abs(pair[0]))
    unit, lies = UNITS[quantity], "below" if farthest < 0 else "above"
    more = f"; farthest at epoch {epoch}: {curve[epoch]:.4g}{unit}, band {known.interval(epoch, level)}{unit}"
    yield Finding("misfit", name, epoch, score, expected, more, lies)


def unlike_shape(curve: Curve, reference: Reference, level: float) -> Iterator[Finding]:
    curves = reference.curves("top-1")
    epochs = sorted(set.intersection(*map(set, curves)))
    for feature in shape(epochs, reference.peak_epoch) if reference.peak_epoch else ():
        expected = bands.predicted([feature.of(known) for known in curves], level, feature.floor)
        if feature.of(curve) not in expected:
            yield Finding("shape", f"{feature.name} of the top-1", epochs[-1], feature.of(curve), expected)


def off_time(run: Run, reference: Reference, level: float) -> Iterator[Finding]:
    finals = [known.accuracy[max(known.accuracy)] for known in reference.runs]
    target, last = TARGET * statistics.fmean(finals), max(run.accuracy)
    if bands.predicted(finals, level).low < target:  # a good run need not reach it
        return
    yield from _late(run, reference, level, target, last, "epochs", {})
    same = {known.hardware for known in (run, *reference.runs)}
    if len(same) == 1 and None not in same and run.seconds and all(known.seconds for known in reference.runs):
        yield from _late(run, reference, level, target, last, "seconds", run.seconds)


def _late(run: Run, reference: Reference, level: float, target: float, last: int, unit: str, clock: Curve):
    times = [reached(one.accuracy, target, one.seconds if clock else None) for one in reference.runs]
    known = [when for when in times if when is not None]
    if len(known) < len(times):
        return
    epochs = sorted(run.accuracy)
    step = epochs[-1] - epochs[-2] if epochs[1:] else 1
    floor = 0.1 * step if not clock else 0.0  # what a straight line between two evaluations can be off by
    expected, found = bands.predicted(known, level, floor), reached(run.accuracy, target, clock or None)
    value = math.inf if found is None else found
    if value not in expected:
        yield Finding("time", f"{unit} to {target:.2f} % top-1", last, value, expected)
