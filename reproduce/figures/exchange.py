"""The figure of step time against group rule: its panels, and what stands around them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reproduce.cluster.answer import RULES
from reproduce.cluster.machine import Cluster
from reproduce.cluster.step import Step, Work
from reproduce.cluster.uncertainty import DRAWS, drawn, draws
from reproduce.figures import plot
from reproduce.results import steptimes
from reproduce.results.steptimes import COMMAND, COMPUTE, DDP, FILE, HALF, Network, Result, Variant, rules_of

MISSING = f"missing: nothing measured; to measure: {COMMAND}"
OFFSET = 0.17  # of the overlapped point above its rule, and of the other below it
WIDTH = 6.9  # in: the text width of a page of two columns; all text is then printed at 7 pt or more
LABEL = "time of a step / compute only"
WAYS = (
    ("overlapped with backward", plot.BLUE, "o"), ("after backward", plot.RED, "s"), ("PyTorch DDP", plot.BLACK, "D"),
)  # fmt: skip


def about(result: Result | None, tier: str) -> str:
    """For the title: what was measured, on what, and that it is not the paper's experiment."""
    if result is None:
        return f"tier {tier}; missing: nothing measured"
    known = result.about
    work = f"{known['model']}, {known['local_batch']} images of {known['image_size']} pixels per process"
    return f"measured: {work}; {known['hardware']}\nscaled down: {known['place']}, NOT the paper's cluster"


def rows_of(networks: Sequence[Network]) -> list[Variant]:
    """The rows of every panel, from the top: the rules in the model's order, others, and what is measured one way."""
    measured = {rule for network in networks for rule in rules_of(network)}
    return [*map(Variant, (*RULES, *sorted(measured - set(RULES)))), *((HALF, DDP) if networks else ())]


def panel(ax: Axes, network: Network, rows: list[Variant]) -> None:
    """One network: a point per rule and way, its bar from the quickest to the slowest step; a cross where none is.

    Times are divided by the median step without exchange; where that is missing there are none.
    """
    floor = network.timing(COMPUTE)
    if floor is None:
        ax.text(0.98, 0.02, "step without exchange: missing", transform=ax.transAxes, ha="right", color=plot.GREEN)
    else:
        overlapped = [v for v in rows if v.rule in rules_of(network) and v != HALF]
        after = [Variant(v.rule, False, v.wire) for v in overlapped]
        _points(ax, network, rows, [*overlapped, HALF], WAYS[0])
        _points(ax, network, rows, after, WAYS[1])
        _points(ax, network, rows, [DDP], WAYS[2])
        low, high = (least(floor.seconds) / floor.median for least in (min, max))
        ax.axvspan(low, high, color=plot.GREEN, alpha=0.12, linewidth=0)
    highest = max((max(timing.seconds) for timing in network.timings), default=1.0)
    _frame(ax, f"measured: {network.rate}", rows, highest / (floor.median if floor else highest))


def _frame(ax: Axes, title: str, rows: list[Variant], highest: float) -> None:
    ax.axvline(1, color=plot.GREEN, linewidth=1.2)
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, 1.05 * highest))
    ax.set_title(title, fontsize=8)
    ax.set_yticks(range(len(rows)), [_tick(variant) for variant in rows])
    ax.set_xlabel(LABEL, fontsize=8)
    ax.tick_params(labelsize=7.5)
    ax.grid(axis="y", visible=False)


def _points(ax: Axes, network: Network, rows: list[Variant], shown: list[Variant], way: tuple[str, str, str]) -> None:
    label, colour, marker = way
    style = plot.look("measured", colour, marker) | {"linestyle": "none", "markersize": 4}
    unit = network.timings and network.timing(COMPUTE)
    assert unit, "asked for by `panel`"
    for variant in shown:
        timing, y = network.timing(variant), _place(rows, variant)
        if timing is None:
            ax.plot([0.02], [y], "x", color=colour, alpha=0.6, markersize=4, transform=ax.get_yaxis_transform())
            ax.text(0.05, y, "missing", transform=ax.get_yaxis_transform(), va="center", fontsize=7, color=colour)
            continue
        middle, low, high = (s / unit.median for s in (timing.median, min(timing.seconds), max(timing.seconds)))
        drawn = ax.errorbar([middle], [y], xerr=[[middle - low], [high - middle]], capsize=2, **style)
        point, caps, _ = drawn.lines
        for line, words in ((point, label), *((cap, f"{label}, quickest or slowest") for cap in caps)):
            line.set_label(f"_{words}")  # said on hover, and not in a legend


def _place(rows: list[Variant], variant: Variant) -> float:
    if variant in (HALF, DDP):
        return rows.index(variant)
    return rows.index(Variant(variant.rule)) + (-OFFSET if variant.overlap else OFFSET)


def _tick(variant: Variant) -> str:
    return "DDP" if variant == DDP else f"{variant.rule}, fp16" if variant == HALF else variant.rule


def legend(figure: Figure) -> None:
    """The one legend of all panels."""
    handles = [Line2D([], [], marker=m, linestyle="-", color=c, markersize=4, label=label) for label, c, m in WAYS]
    handles += [
        Line2D([], [], color=plot.GREEN, label="no exchange: compute only"),
        Line2D([], [], color=plot.GREY, linestyle="--", marker="|", markersize=9, label="modelled, 5 to 95 %"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7.5)


@dataclass(frozen=True)
class Modelled:
    """A group rule on a modelled cluster: the step, overlapped or not, and the band of its seconds."""

    rule: str
    overlap: bool
    step: Step
    band: tuple[float, float]

    @property
    def text(self) -> str:
        low, high = (1e3 * seconds for seconds in self.band)
        return f"{1e3 * self.step.total:.1f} ({low:.1f} to {high:.1f})"

    def facts(self) -> dict:
        return {"rule": self.rule, "overlap": self.overlap, "seconds": self.step.total, "band": list(self.band),
                "sums": len(self.step.sums), "images_per_second": self.step.images_per_second}  # fmt: skip


def modelled(cluster: Cluster, gpus: int, local_batch: int) -> list[Modelled]:
    """Every rule of the model's sweep, both ways."""
    machines = draws(cluster)

    def one(rule: str, overlap: bool) -> Modelled:
        found = drawn(Work(local_batch, rule, overlap), gpus, machines)
        return Modelled(rule, overlap, found.step, (found.seconds.low, found.seconds.high))

    return [one(rule, overlap) for rule in RULES for overlap in (True, False)]


def modelled_panel(ax: Axes, cluster: Cluster, found: list[Modelled], rows: list[Variant]) -> None:
    """The model's step time by rule, over its step without exchange: a dash with the band of its assumed constants."""
    first = found[0].step
    alone = first.forward + first.backward + first.jitter + first.update + first.host
    for one in found:
        y, (label, colour, _) = _place(rows, Variant(one.rule, one.overlap)), WAYS[0 if one.overlap else 1]
        ax.plot([one.step.total / alone], [y], "|", markersize=9, markeredgewidth=2, color=colour, gid="modelled",
                label=f"_{label}")  # fmt: skip
        low, high = (seconds / alone for seconds in one.band)
        ax.hlines(y, low, high, color=colour, linestyle="--", linewidth=1.2)
    _frame(ax, f"modelled, not measured: {first.gpus:,} GPUs of {cluster.about.name}", rows,
           max(one.band[1] for one in found) / alone)  # fmt: skip


def modelled_rows(found: list[Modelled]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the modelled table."""
    header = ["groups by", "allreduces", "overlapped, ms", "after backward, ms", "overlap gains", "images/s overlapped"]
    rows = []
    for one, after in zip(found[::2], found[1::2]):
        gain = f"{after.step.total / one.step.total:.2f}x"
        rows.append([one.rule, str(len(one.step.sums)), one.text, after.text, gain,
                     f"{one.step.images_per_second:,.0f}"])  # fmt: skip
    return header, rows


def modelled_notes(cluster: Cluster, found: list[Modelled]) -> str:
    first = found[0].step
    return (
        f"\n## Modelled: {first.gpus:,} GPUs of {cluster.about.name}, {first.local_batch} images per GPU\n\n"
        f"Not measured: `python -m reproduce.cluster`, constants of {cluster.path}, calibrated on {cluster.stack}. In "
        f"brackets 5 to 95 % of {DRAWS} draws of the assumed constants; racks that are oversubscribed, as some draws "
        "have it, can only be slower. The order of the rules is what the model can say; its level errs as "
        "figures/modelled/validation.md shows.\n\n"
    )


def hole(ax: Axes) -> None:
    """The whole measurement is missing: an empty panel that says so, and how to fill it."""
    ax.set(xlim=(0, 1), xticks=[])
    ax.text(0.5, 0.55, "missing: nothing measured", transform=ax.transAxes, ha="center", color=plot.GREY, fontsize=8)
    ax.text(0.5, 0.42, f"to measure:\n{COMMAND}", transform=ax.transAxes, ha="center", color=plot.GREY,
            family="monospace", fontsize=7)  # fmt: skip


def notes(result: Result) -> str:
    """What the columns of the table mean, for groups.md."""
    steps, known = {len(t.seconds) for network in result.networks for t in network.timings}, result.about
    n = " or ".join(map(str, sorted(steps)))
    lines = [
        f"\nMilliseconds of a training step: median (lowest to highest) of n = {n}, all variants taking turns in the "
        "same processes. A gain above 1 means that the overlapped step is the quicker one; `against DDP` above 1 that "
        "it is quicker than PyTorch's DistributedDataParallel (its default buckets, which gradients are views of; its "
        "buffers not broadcast). MB is what each process puts into the sums of a step. The figure shows every time "
        "over the median step without exchange.\n"
    ]
    for network in result.networks:
        if network.lead_ms is not None:
            lead = f"the first allreduce began {network.lead_ms:,.0f} ms before backward ended (one step, rank 0)"
            lines.append(f"- {network.rate} ({network.description}): {lead}{_exposed(network)}.")
        lines.append(f"- {network.rate}: {steptimes.startup_text(network)}.")
    lines.append(f"- torch {known['torch']}, Python {known['python']}, revision {known['revision']}.")
    return "\n".join(lines) + "\n"


def _exposed(network: Network) -> str:
    """The part of the exchange that the step waits for: with and without overlap, over all rules, by the medians."""
    floor = network.timing(COMPUTE)
    if floor is None:
        return ""
    parts = []
    for overlap, words in ((True, "overlapped"), (False, "after backward")):
        waits = [t.median - floor.median for rule in rules_of(network) if (t := network.timing(Variant(rule, overlap)))]
        if waits:
            parts.append(f"{1e3 * statistics.median(waits):,.0f} ms {words}")
    return "; exchange beyond the compute-only step, median over the rules: " + ", ".join(parts) if parts else ""


def side_car(title: str, tier: str, result: Result | None) -> dict:
    facts = {"artefact": "groups", "title": title, "tier": tier, "kind": "measured", "source": FILE}
    if result is None:
        return facts | {"missing": MISSING}
    gains = [
        {"network": network.rate, "rule": rule, "overlap_gain": network.speed(Variant(rule), Variant(rule, False)),
         "against_ddp": network.speed(Variant(rule), DDP)}
        for network in result.networks for rule in rules_of(network)
    ]  # fmt: skip
    return facts | result.about | {"ratios": gains, "rates": [network.facts() for network in result.networks]}
