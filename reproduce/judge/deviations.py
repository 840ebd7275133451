"""The tests that a run may fail, each at its level; `comparator` says what they are and how many."""

import math
import statistics
from collections.abc import Iterator, Sequence

from reproduce.judge import bands
from reproduce.judge.bands import Band, Curve, Interval
from reproduce.judge.features import reached, shape
from reproduce.judge.runs import UNITS, Finding, Reference, Run, curve_of, quantities

TARGET = 0.98
TWIN = 0.1  # of the spread between seeds
SCALES = {"top-1": bands.ERROR, "train loss": bands.AS_IT_IS}


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


def failures(run: Run, reference: Reference, level: float) -> Iterator[Finding]:
    """The tests that `run` fails, the most telling first."""
    known = {one: bands.band(reference.curves(one), SCALES[one]) for one in quantities(reference)}
    for quantity, band in known.items():
        curve = curve_of(run, quantity)
        yield from outside_band(quantity, band, curve, level)
        yield from off_everywhere(quantity, band, curve, level)
    if "top-1" in known:
        last = max(reference.runs[0].accuracy)
        expected = known["top-1"].interval(last, level, simultaneous=False)
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
    loss = quantity == "train loss"
    score, expected = bands.misfit(known, curve), bands.misfit_range(known, level, cautious=loss)
    if loss:  # a run's losses move together, and near the mean one of five may stay to the end
        expected = Interval(0.0, expected.high)
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
