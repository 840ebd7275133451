"""Figure 2: images/s against GPUs. Hollow: the paper. Filled: measured here. Dashed: the model, with its errors."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from reproduce.cluster.interval import SHARE, chosen, distance
from reproduce.cluster.machine import Cluster
from reproduce.cluster.step import Step, Work
from reproduce.cluster.uncertainty import DRAWS, drawn, draws
from reproduce.cluster.validate import Check
from reproduce.figures import plot
from reproduce.results import public
from reproduce.results.measured import Measurement
from reproduce.results.paper import Paper

GPUS = (1, *(2**k for k in range(2, 12)))  # one, the ideal's, then whole nodes up to 2,048
NETWORK = "resnet50"  # images/s of another network are no point of this figure


@dataclass(frozen=True)
class Line:
    """The model's line by number of GPUs: step and band of the same draws, and the interval of images/s."""

    cluster: Cluster
    job: Work
    steps: tuple[Step, ...]
    bands: tuple[tuple[float, float], ...]
    intervals: tuple[tuple[float, float], ...]

    @property
    def ideal(self) -> list[float]:
        """As many times one GPU as there are: what `reproduce.cluster` calls an efficiency of 100 %."""
        first = self.steps[0]
        return [first.images_per_second * one.gpus / first.gpus for one in self.steps]

    @property
    def label(self) -> str:
        return f"modelled: {self.cluster.about.name}, {self.job.local_batch} images per GPU, {self.job.rule}"

    def facts(self, checks: list[Check]) -> dict:
        points = [
            {"gpus": one.gpus, "images_per_second": one.images_per_second, "band": list(span),
             "interval": list(around), "efficiency": one.images_per_second / best}
            for one, span, around, best in zip(self.steps, self.bands, self.intervals, self.ideal)
        ]  # fmt: skip
        errors = {one.row.name: one.rate_error for one in checks}
        return {"kind": "modelled", "label": self.label, "points": points, "band": f"5 to 95 % of {DRAWS} draws",
                "interval": f"{SHARE} %: {chosen().coverage}",
                "validation_errors_percent": errors, **self.cluster.facts()}  # fmt: skip


def line(cluster: Cluster, job: Work) -> Line:
    machines, known = draws(cluster), chosen()
    found = [drawn(job, gpus, machines) for gpus in GPUS]
    intervals = [known.around(one.rate, distance(job, one.step.gpus, cluster)) for one in found]
    bands = tuple((one.rate.low, one.rate.high) for one in found)
    return Line(cluster, job, tuple(one.step for one in found), bands, tuple(intervals))


def paper_point(known: Paper) -> dict:
    rate, gpus = known.values["throughput"], known.values["gpus"]
    status = known.status_text("throughput")
    return {"kind": "paper", "label": f"paper: {rate.text} ({status})", "status": status, "gpus": int(gpus.value),
            "images_per_second": rate.value, "source": "paper_configs/paper.toml"}  # fmt: skip


def public_point() -> dict:
    """The team's later run on the same machine, by the times of its epochs."""
    rates = public.steady_rates()
    return {"kind": "public", "label": f"{public.LABEL}: n = {len(rates)}", "gpus": public.GPUS, "values": rates,
            "images_per_second": statistics.median(rates), "source": f"figures/public/{public.FILES[1]}"}  # fmt: skip


def measured_points(found: list[Measurement]) -> list[dict]:
    """Ours, of this network, where every worker had a device of its own; emulated runs time nothing of the kind."""
    points = []
    for m in found:
        if m.n and not m.emulated and m.config.model.name == NETWORK and m.images_per_second:
            points.append({"kind": "measured", "label": f"{m.name}: measured, n = {m.n}", "gpus": m.devices[0],
                           "images_per_second": m.images_per_second.mean, **m.provenance()})  # fmt: skip
    return points


def draw(per_gpu: Axes, total: Axes, modelled: Line, checks: list[Check], points: list[dict]) -> None:
    """Images/s per GPU, where a difference of a few percent can be seen, and beside it the total."""
    for ax, share in ((per_gpu, True), (total, False)):
        _model(ax, modelled, checks, share)
        for point in points:
            style = plot.look(point["kind"], {"paper": plot.BLACK, "public": plot.RED}.get(point["kind"], plot.GREEN))
            style |= {"linestyle": "none", "marker": {"public": "D", "measured": "s"}.get(point["kind"], "o")}
            known = point.get("points", [point])
            rates = [one["images_per_second"] / (one["gpus"] if share else 1) for one in known]
            ax.plot([one["gpus"] for one in known], rates, label=point["label"], zorder=5, **style)
        if not any(point["kind"] == "measured" for point in points):
            ax.plot([], [], "x", color=plot.GREEN, label="measured here, ResNet-50 with a GPU per worker: missing")
        _axis(ax, modelled)
    best = modelled.steps[0].images_per_second / modelled.steps[0].gpus
    per_gpu.set(ylabel="images/s per GPU, steady", ylim=(0, 1.15 * best), title="a  per GPU")
    per_gpu.legend(loc="lower left", fontsize=8)
    total.set(yscale="log", ylabel="images/s, steady", title="b  in all")
    total.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _model(ax: Axes, modelled: Line, checks: list[Check], share: bool) -> None:
    """The ideal line, the model's line, its band and its interval; `share`: divided by the number of GPUs."""
    gpus = [one.gpus for one in modelled.steps]

    def scaled(values: Iterable[float]) -> list[float]:
        return [value / (count if share else 1) for value, count in zip(values, gpus)]

    rates = scaled(one.images_per_second for one in modelled.steps)
    ax.plot(gpus, scaled(modelled.ideal), color=plot.GREY, linewidth=1, label="ideal: one modelled GPU, times as many")
    ax.plot(gpus, rates, label=modelled.label, **plot.look("modelled", plot.BLUE))
    low, high = map(scaled, zip(*modelled.bands))
    ax.fill_between(gpus, low, high, color=plot.BLUE, alpha=0.25, linewidth=0,
                    label=f"5 to 95 % of {DRAWS} draws of its assumed constants")  # fmt: skip
    low, high = map(scaled, zip(*modelled.intervals))
    ax.fill_between(gpus, low, high, color=plot.BLUE, alpha=0.1, linewidth=0,
                    label=f"{SHARE} % interval, by its errors on public systems")  # fmt: skip
    worst, best = (pick(one.rate_error for one in checks) for pick in (max, min))
    ax.plot([], [], " ", label=f"its errors on {len(checks)} public runs of 512 to 2,048 V100: {best:+.0f} to "
                               f"{worst:+.0f} %")  # fmt: skip


def _axis(ax: Axes, modelled: Line) -> None:
    gpus = [one.gpus for one in modelled.steps]
    ax.set(xscale="log", xlabel="GPUs")
    ax.set_xticks(gpus, [f"{count:,}" for count in gpus], rotation=45)
    ax.minorticks_off()
