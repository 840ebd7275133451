"""The panels of Figure 3 and of the training curve, each drawn on axes it is given."""

import numpy as np
from matplotlib.axes import Axes

from reproduce.figures import plot
from reproduce.figures.series import Point, Series
from reproduce.results.measured import Measurement
from reproduce.results.public import PublicRun

TOP1 = "top-1 accuracy, %"
STALL_EPOCHS = (20, 46)  # where the public curves flatten and fall back, read off figures/public
EQUAL_UPDATES = 102.4  # quick batch x 102.4 = the paper-tier batch with as many updates per epoch


# ---- Figure 3 -------------------------------------------------------------------------------------------------------


def imagenet_sweep(ax: Axes, paper: Series, measured: Series) -> None:
    """The paper's figure as far as it is known, with our ImageNet runs at its mini-batches."""
    plot.draw_batches(ax, paper, plot.BLACK, "o")
    plot.draw_batches(ax, measured, plot.BLUE, "s")
    plot.fit_accuracy(ax, [measured, paper])
    ax.set_xticks([point.x for point in measured.points], [f"{point.x:,}" for point in measured.points])
    _spread(ax, [point.x for point in measured.points])
    ax.set(xlabel="mini-batch, images", ylabel=TOP1, title="ImageNet: the paper's known point and our runs")
    ax.text(0.98, 0.95, "other points of the paper's figure\nare not known here", transform=ax.transAxes,
            ha="right", va="top", fontsize=8.5, color=plot.GREY)  # fmt: skip
    ax.legend(loc="upper left")


def scaled_sweep(ax: Axes, series: Series, dataset: str) -> None:
    """The quick counterparts of those mini-batches, at equal updates per epoch."""
    plot.draw_batches(ax, series, plot.GREEN, "D")
    plot.fit_accuracy(ax, [series])
    ax.set_xticks([p.x for p in series.points], [f"{p.x:,}\n({p.x * EQUAL_UPDATES:,.0f})" for p in series.points])
    _spread(ax, [point.x for point in series.points])
    ax.set(xlabel="mini-batch, images (ImageNet mini-batch with as many updates per epoch)", ylabel=TOP1,
           title=f"{dataset}, scaled down: the same updates per epoch")  # fmt: skip
    ax.legend(loc="upper left")


def optimizer_panel(ax: Axes, series: list[Series], measurements: list[Measurement], dataset: str) -> None:
    """Accuracy against mini-batch at a fixed number of epochs, LARS beside momentum SGD."""
    for row, (one, colour) in enumerate(zip(series, (plot.BLUE, plot.RED))):
        plot.draw_batches(ax, one, colour, plot.MARKERS[row], row)
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


def public_curves(by_epoch: Axes, by_time: Axes, series: list[Series], runs: list[PublicRun]) -> None:
    """The five public runs; the stretch near the peak rate in which they stall is shaded on both axes."""
    for index, one in enumerate(series):
        label = f"{one.label}, n = {len(series)}" if index == 0 else None
        style, top1 = plot.look("public", plot.BLACK), [point.y for point in one.points]
        by_epoch.plot([point.x for point in one.points], top1, label=label, **style)
        by_time.plot([point.seconds for point in one.points], top1, **style)
    peak = int(series[0].peak_rate_epoch)
    begin, end, peak_at = (np.mean([run.epoch_stops[epoch - 1] for run in runs]) for epoch in (*STALL_EPOCHS, peak))
    by_epoch.axvspan(*STALL_EPOCHS, color=plot.ORANGE, alpha=0.18, linewidth=0,
                     label=f"stall near the peak rate, epochs {STALL_EPOCHS[0]} to {STALL_EPOCHS[1]}")  # fmt: skip
    by_time.axvspan(begin, end, color=plot.ORANGE, alpha=0.18, linewidth=0)
    by_epoch.axvline(peak, color=plot.BLACK, linestyle=":", linewidth=1, label="peak rate (end of warm-up)")
    by_time.axvline(peak_at, color=plot.BLACK, linestyle=":", linewidth=1)
    for ax, unit in ((by_epoch, "epoch"), (by_time, "seconds since run_start, 2,048 V100")):
        ax.set(xlabel=unit, ylabel=TOP1, ylim=(0, 100), title="Public runs on ImageNet: not the paper's run, not ours")
        ax.set_xlim(left=0)
    by_epoch.legend(loc="upper left")


def measured_curves(by_epoch: Axes, by_time: Axes, series: list[Series], dataset: str) -> None:
    """Our runs: mean over the seeds, with a band from the lowest to the highest."""
    for row, (one, colour) in enumerate(zip(series, (plot.BLUE, plot.RED))):
        timed = [point for point in one.drawn if point.seconds is not None]
        for ax, points in ((by_epoch, one.drawn), (by_time, timed)):
            if not points:
                ax.text(0.02, 0.95 - 0.07 * row, f"{one.name}: missing", transform=ax.transAxes, color=colour)
                continue
            x = [p.x if ax is by_epoch else p.seconds for p in points]
            _curve(ax, one, x, points, colour)
            peak_at = np.interp(one.peak_rate_epoch, [p.x for p in points], x)
            ax.axvline(peak_at, color=colour, linestyle=":", linewidth=1.2)
    by_epoch.axvspan(*STALL_EPOCHS, color=plot.ORANGE, alpha=0.18, linewidth=0)
    machines = sorted({machine for one in series for source in one.sources for machine in source["hardware"]})
    for ax, unit in ((by_epoch, "epoch"), (by_time, ", ".join(["seconds since run_start", *machines]))):
        ax.set(xlabel=unit, ylabel=TOP1, title=f"{dataset}: measured here")
        plot.fit_accuracy(ax, [one for one in series if one.drawn])
    by_epoch.set_xlim(0, 1.04 * max(point.x for one in series for point in one.points))
    by_time.set_xlim(left=0)
    if any(one.drawn for one in series):
        by_epoch.legend(loc="lower right")


def _curve(ax: Axes, series: Series, x: list[float], points: list[Point], colour: str) -> None:
    ax.plot(x, [p.y for p in points], label=series.label, **plot.look(series.kind, colour) | {"markersize": 3.5})
    if any(len(p.values) > 1 for p in points):
        ax.fill_between(x, [min(p.values) for p in points], [max(p.values) for p in points], color=colour, alpha=0.2,
                        linewidth=0)  # fmt: skip
