"""The panels of Figure 3 and of the training curve, each drawn on axes it is given.

One colour per meaning: black is the paper, blue our runs with LARS, vermilion momentum SGD, grey the public runs.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from reproduce.figures import plot
from reproduce.figures.series import Point, Series
from reproduce.results.measured import Measurement
from reproduce.results.public import PublicRun

TOP1 = "top-1 accuracy, %"
STALL_EPOCHS = (20, 46)  # where the public curves flatten and fall back, read off figures/public
PEAK = "peak rate (end of warm-up)"
LAST_EPOCH = 94  # a little beyond the 90 of every curve
EQUAL_UPDATES = 102.4  # quick batch x 102.4 = the paper-tier batch with as many updates per epoch


# ---- Figure 3 -------------------------------------------------------------------------------------------------------


def imagenet_sweep(ax: Axes, paper: Series, measured: Series) -> None:
    """The paper's figure as far as it is known, with our runs of its recipes at its mini-batches."""
    plot.draw_batches(ax, paper, plot.BLACK, "o")
    plot.draw_batches(ax, measured, plot.BLUE, "s")
    plot.fit_accuracy(ax, [measured, paper])
    ax.set_xticks([point.x for point in measured.points], [f"{point.x:,}" for point in measured.points])
    _spread(ax, [point.x for point in measured.points])
    ax.set(xlabel="mini-batch, images", ylabel=TOP1, title="the paper's known point on ImageNet, and our runs")
    ax.text(0.98, 0.95, "other points of the paper's figure\nare not known here", transform=ax.transAxes,
            ha="right", va="top", fontsize=8.5, color=plot.GREY)  # fmt: skip
    ax.legend(loc="upper left")


def scaled_sweep(ax: Axes, series: Series, dataset: str) -> None:
    """The quick counterparts of those mini-batches, at equal updates per epoch."""
    plot.draw_batches(ax, series, plot.BLUE, "D")
    plot.fit_accuracy(ax, [series])
    ax.set_xticks([p.x for p in series.points], [f"{p.x:,}\n({p.x * EQUAL_UPDATES:,.0f})" for p in series.points])
    _spread(ax, [point.x for point in series.points])
    ax.set(xlabel="mini-batch, images (ImageNet mini-batch with as many updates per epoch)", ylabel=TOP1,
           title=f"{dataset}, scaled down: the same updates per epoch")  # fmt: skip
    ax.legend(loc="upper left")


def optimizer_panel(ax: Axes, series: list[Series], measurements: list[Measurement], dataset: str) -> None:
    """Accuracy against mini-batch at a fixed number of epochs, LARS beside momentum SGD."""
    for row, (one, colour) in enumerate(zip(series, (plot.BLUE, plot.RED))):
        plot.draw_batches(ax, one, colour, plot.MARKERS[row], row, shift=8 * row - 4)
    plot.fit_accuracy(ax, series)
    updates: dict[int, set[int]] = {}
    for m in measurements:
        updates.setdefault(m.config.global_batch(), set()).add(m.config.total_updates)
    ax.set_xscale("log")
    ax.set_xticks(sorted(updates), [f"{x:,}\n{_join(updates[x])} updates" for x in sorted(updates)])
    ax.minorticks_off()
    _spread(ax, sorted(updates), log=True)
    epochs = _join({m.config.schedule.epochs for m in measurements})
    ax.set(xlabel=f"mini-batch, images; updates in {epochs} epochs", ylabel=TOP1,
           title=f"{dataset}, scaled down: {epochs} epochs at every mini-batch")  # fmt: skip
    ax.legend(loc="upper right")


def _spread(ax: Axes, ticks: list[float], log: bool = False) -> None:
    """Limits a little beyond the outer ticks, the same whether their points are measured or missing."""
    low, high = min(ticks), max(ticks)
    ax.set_xlim((low / 1.3, high * 1.3) if log else (low - 0.09 * (high - low), high + 0.09 * (high - low)))


def _join(numbers: set[int]) -> str:
    return " or ".join(f"{number:,}" for number in sorted(numbers))


# ---- curve ----------------------------------------------------------------------------------------------------------


def public_curves(ax: Axes, series: list[Series], runs: list[PublicRun], paper: Series) -> None:
    """The five public runs and the paper's final accuracy; the seconds of the public runs stand above."""
    for index, one in enumerate(series):
        label = f"{one.label}, n = {len(series)}" if index == 0 else None
        ax.plot([p.x for p in one.points], _heights(one.points), label=label, **plot.look("public", plot.GREY))
    (end,) = paper.points
    ax.plot([end.x], _heights([end]), label=paper.label, **plot.look("paper", plot.BLACK))
    _stall(ax)
    ax.axvline(_peak(series[0]), color=plot.GREY, linestyle=":", linewidth=1, label=PEAK)
    stops = np.mean([run.epoch_stops for run in runs], axis=0)
    _seconds(ax, range(1, len(stops) + 1), stops, f"seconds since run_start, {len(runs)} public runs, 2,048 V100")
    _against_epoch(ax, "ImageNet, public runs of the paper's team: not the paper's run, not ours")
    ax.legend(loc="lower right")


def measured_curves(ax: Axes, series: list[Series], dataset: str) -> None:
    """Our runs: mean over the seeds, with a band from the lowest to the highest."""
    for row, (one, colour) in enumerate(zip(series, (plot.BLUE, plot.SKY))):
        if not one.drawn:
            ax.text(0.02, 0.95 - 0.07 * row, f"{one.name}: missing", transform=ax.transAxes, color=colour)
            continue
        _curve(ax, one, one.drawn, colour)
        ax.axvline(_peak(one), color=colour, linestyle=":", linewidth=1.2, label=PEAK)
    _stall(ax)
    timed = next((one for one in series if one.drawn and all(p.seconds is not None for p in one.drawn)), None)
    if timed is not None:
        machine = ", ".join(timed.sources[0]["hardware"])
        _seconds(ax, [p.x for p in timed.drawn], [p.seconds for p in timed.drawn if p.seconds is not None],
                 f"seconds since run_start, {timed.name}, {machine}")  # fmt: skip
    _against_epoch(ax, f"{dataset}: measured here")
    ax.legend(loc="lower right")


def _heights(points: Sequence[Point]) -> list[float]:
    return [math.nan if p.y is None else p.y for p in points]


def _peak(series: Series) -> float:
    assert series.peak_rate_epoch is not None, "a curve knows where its warm-up ends"
    return series.peak_rate_epoch


def _against_epoch(ax: Axes, title: str) -> None:
    ax.set(xlabel="epoch", ylabel=TOP1, xlim=(0, LAST_EPOCH), ylim=(0, 100), title=title)


def _stall(ax: Axes) -> None:
    """Shade where the public runs stall, in every panel, and say that it is theirs."""
    label = f"epochs {STALL_EPOCHS[0]} to {STALL_EPOCHS[1]}: the public runs stall near the peak rate"
    ax.axvspan(*STALL_EPOCHS, color=plot.ORANGE, alpha=0.18, linewidth=0, label=label)


def _seconds(ax: Axes, epochs: Sequence[float], seconds: Sequence[float], label: str) -> None:
    """A second scale above the axes: the time at which an epoch ends."""
    x, y = np.array([0, *epochs], float), np.array([0, *seconds], float)
    slope = y[-1] / x[-1]  # beyond the last epoch, so that the scale can be inverted over the whole axis
    x, y = np.append(x, 2 * x[-1]), np.append(y, y[-1] + slope * x[-1])
    scales = (lambda e: np.interp(np.asarray(e), x, y), lambda s: np.interp(np.asarray(s), y, x))
    above = ax.secondary_xaxis("top", functions=scales)
    above.set_xlabel(label, fontsize=8.5)
    above.tick_params(labelsize=8.5)


def _curve(ax: Axes, series: Series, points: Sequence[Point], colour: str) -> None:
    x = [p.x for p in points]
    ax.plot(x, _heights(points), label=series.label, **plot.look(series.kind, colour) | {"markersize": 3.5})
    if any(len(p.values) > 1 for p in points):
        ax.fill_between(x, [min(p.values) for p in points], [max(p.values) for p in points], color=colour, alpha=0.2,
                        linewidth=0)  # fmt: skip
