"""The figure of step time against group rule: its panels, and what stands around them."""

import statistics
from dataclasses import dataclass

from matplotlib.axes import Axes

from reproduce.cluster.answer import RULES
from reproduce.cluster.machine import Cluster
from reproduce.cluster.step import Step, Work
from reproduce.cluster.uncertainty import DRAWS, drawn, draws
from reproduce.figures import plot
from reproduce.results import steptimes
from reproduce.results.steptimes import COMMAND, COMPUTE, DDP, FILE, HALF, Network, Result, Timing, Variant, rules_of

MISSING = f"missing: nothing measured; to measure: {COMMAND}"
OFFSET = 0.13  # of the overlapped point to the left of its rule, and of the other to the right


def about(result: Result | None, tier: str) -> str:
    """For the title: what was measured, on what, and that it is not the paper's experiment."""
    if result is None:
        return f"tier {tier}; missing: nothing measured"
    known = result.about
    work = f"{known['model']}, {known['local_batch']} images of {known['image_size']} pixels per process"
    return f"measured: {work}; {known['hardware']}\nscaled down: {known['place']}, NOT the paper's cluster"


def panel(ax: Axes, network: Network) -> None:
    """One network: a point per rule and way, its bar from the quickest to the slowest step; a cross where none is."""
    rules = [*map(Variant, rules_of(network)), HALF, DDP]
    overlapped = [(x - OFFSET, variant) for x, variant in enumerate(rules) if variant not in (HALF, DDP)]
    after = [(x + 2 * OFFSET, Variant(v.rule, False, v.wire)) for x, v in overlapped]
    _points(ax, network, [*overlapped, (rules.index(HALF), HALF)], plot.BLUE, "o", "overlapped with backward", 0)
    _points(ax, network, after, plot.RED, "s", "after backward", 1)
    _points(ax, network, [(rules.index(DDP), DDP)], plot.BLACK, "D", "PyTorch DDP", 0)
    _floor(ax, network.timing(COMPUTE))
    highest = max((max(timing.seconds) for timing in network.timings), default=1.0)
    ax.set(xlim=(-0.5, len(rules) - 0.5), ylim=(0, 1.3e3 * highest), ylabel="time of a training step, ms")
    ax.set_title(f"{network.rate}\n{network.description}", fontsize=9)
    ax.set_xticks(range(len(rules)), [_tick(network, variant) for variant in rules], fontsize=8)
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper left", ncols=2, fontsize=7.5)


def _points(ax: Axes, network: Network, places, colour: str, marker: str, label: str, row: int) -> None:
    style = plot.look("measured", colour, marker) | {"linestyle": "none"}
    for x, variant in places:
        timing = network.timing(variant)
        if timing is None:
            plot.draw_hole(ax, x, colour, row)
            continue
        middle, low, high = (1e3 * s for s in (timing.median, min(timing.seconds), max(timing.seconds)))
        ax.errorbar([x], [middle], yerr=[[middle - low], [high - middle]], capsize=4, label=label, **style)
        label = f"_{label.removeprefix('_')}"  # once in the legend


def _floor(ax: Axes, timing: Timing | None) -> None:
    if timing is None:
        ax.text(0.98, 0.02, "step without exchange: missing", transform=ax.transAxes, ha="right", color=plot.GREEN)
        return
    ax.axhline(1e3 * timing.median, color=plot.GREEN, linewidth=1.5, label="no exchange: compute only")
    ax.axhspan(1e3 * min(timing.seconds), 1e3 * max(timing.seconds), color=plot.GREEN, alpha=0.12, linewidth=0)


def _tick(network: Network, variant: Variant) -> str:
    name = "DDP" if variant == DDP else variant.rule
    timing = network.timing(variant) or network.timing(Variant(variant.rule, False, variant.wire))
    return f"{name}\n{variant.wire}\n" + (f"{timing.groups} sums" if timing else "")


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


def modelled_panel(ax: Axes, cluster: Cluster, found: list[Modelled]) -> None:
    """The model's step time by rule: a dash with the band of its assumed constants."""
    for one in found:
        x = RULES.index(one.rule) + (-OFFSET if one.overlap else OFFSET)
        label = "overlapped with backward" if one.overlap else "after backward"
        label = label if one.rule == RULES[0] else f"_{label}"  # once in the legend
        colour = plot.BLUE if one.overlap else plot.RED
        ax.plot([x], [1e3 * one.step.total], "_", markersize=16, markeredgewidth=2, color=colour, label=label,
                gid="modelled")
        low, high = (1e3 * seconds for seconds in one.band)
        ax.vlines(x, low, high, color=colour, linestyle="--", linewidth=1.5)
    first = found[0].step
    alone = 1e3 * (first.forward + first.backward + first.jitter + first.update + first.host)
    ax.axhline(alone, color=plot.GREEN, linewidth=1.5, linestyle="--", label="no exchange: compute only")
    ax.set(xlim=(-0.5, len(RULES) - 0.5), ylim=(0, 1.35e3 * max(one.band[1] for one in found)),
           ylabel="time of a training step, ms")  # fmt: skip
    ax.set_title(f"modelled, not measured: {first.gpus:,} GPUs of {cluster.about.name}\n{first.local_batch} images per "
                 f"GPU; bars: 5 to 95 % of {DRAWS} draws", fontsize=9)  # fmt: skip
    sums = {one.rule: len(one.step.sums) for one in found}
    ax.set_xticks(range(len(RULES)), [f"{rule}\nfp16\n{sums[rule]} sums" for rule in RULES], fontsize=8)
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper left", ncols=2, fontsize=7.5)


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
    ax.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], ylabel="time of a training step, ms")
    ax.text(0.5, 0.55, "missing: nothing measured", ha="center", color=plot.GREY)
    ax.text(0.5, 0.45, f"to measure: {COMMAND}", ha="center", color=plot.GREY, family="monospace", fontsize=9)


def notes(result: Result) -> str:
    """What the columns of the table mean, for groups.md."""
    steps, known = {len(t.seconds) for network in result.networks for t in network.timings}, result.about
    n = " or ".join(map(str, sorted(steps)))
    lines = [
        f"\nMilliseconds of a training step: median (lowest to highest) of n = {n}, all variants taking turns in the "
        "same processes. A gain above 1 means that the overlapped step is the quicker one; `against DDP` above 1 that "
        "it is quicker than PyTorch's DistributedDataParallel (its default buckets, which gradients are views of; its "
        "buffers not broadcast). MB is what each process puts into the sums of a step.\n"
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
