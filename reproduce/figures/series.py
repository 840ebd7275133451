"""What a figure draws, as data. The side-car file is written from the same objects, so the two cannot differ."""

from dataclasses import dataclass

from reproduce.results.measured import Measurement
from reproduce.results.paper import Paper
from reproduce.results.public import HARDWARE, LABEL, PublicRun


@dataclass(frozen=True)
class Point:
    """`y` is top-1 in percent; None is a hole, and `missing` says why. `values` are those of the single seeds."""

    x: float  # mini-batch or epoch
    y: float | None
    values: tuple[float, ...] = ()
    seconds: float | None = None  # curves: since run_start
    missing: str = ""

    def facts(self) -> dict:
        optional = {"values": list(self.values), "seconds": self.seconds, "missing": self.missing}
        return {"x": self.x, "y": self.y} | {key: value for key, value in optional.items() if value}


@dataclass(frozen=True)
class Series:
    """One line of a figure: its `kind` (one of `kinds.RESULTS`), and the `sources` its numbers come from."""

    panel: str
    label: str
    kind: str
    points: tuple[Point, ...]
    sources: tuple[dict, ...]
    status: str = ""
    peak_rate_epoch: float | None = None  # curves: where warm-up ends

    @property
    def name(self) -> str:
        """The label without what is said after the colon."""
        return self.label.partition(":")[0]

    @property
    def drawn(self) -> tuple[Point, ...]:
        return tuple(point for point in self.points if point.y is not None)

    @property
    def holes(self) -> tuple[Point, ...]:
        return tuple(point for point in self.points if point.y is None)

    def facts(self) -> dict:
        return {"panel": self.panel, "label": self.label, "kind": self.kind, "status": self.status,
                "sources": list(self.sources), "points": [point.facts() for point in self.points]}  # fmt: skip


def side_car(artefact: str, title: str, tier: str, series: list[Series]) -> dict:
    return {"artefact": artefact, "title": title, "tier": tier, "series": [one.facts() for one in series]}


def paper_point(paper: Paper) -> Series:
    """What is known of the paper's Figure 3."""
    points = tuple(Point(known.mini_batch, known.top1) for known in paper.figure3)
    status = "; ".join(known.status_text for known in paper.figure3)
    source = {"file": "paper_configs/paper.toml", "reference": paper.about.reference, "n": "not known",
              "hardware": paper.values["gpus"].text, "place": [known.place for known in paper.figure3]}  # fmt: skip
    return Series("paper", f"paper ({status})", "paper", points, (source,), status)


def paper_end(paper: Paper) -> Series:
    """The paper's final accuracy, at its number of epochs."""
    top1, epochs = paper.values["top1"], paper.values["epochs"]
    status = f"top-1 {top1.status}, epochs {epochs.status}"
    source = {"file": "paper_configs/paper.toml", "reference": paper.about.reference, "n": "not known",
              "hardware": paper.values["gpus"].text, "place": top1.place}  # fmt: skip
    return Series("paper", f"paper ({status})", "paper", (Point(epochs.value, top1.value),), (source,), status)


def against_batch(panel: str, what: str, measurements: list[Measurement]) -> Series:
    """Final accuracy of several runs against their mini-batch."""
    points = []
    for m in measurements:
        batch = m.config.global_batch()
        if m.top1 is None:
            points.append(Point(batch, None, missing=m.missing or "missing (synthetic data)"))
        else:
            points.append(Point(batch, m.top1.mean, m.top1.values))
    label = f"{what}: {measured_label(measurements)}"
    return Series(panel, label, "measured", tuple(points), tuple(m.provenance() for m in measurements))


def measured_label(measurements: list[Measurement]) -> str:
    counts = sorted({m.n for m in measurements if m.n})
    if not counts:
        return "missing"
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"measured, n = {n}" + (" (lowest to highest)" if counts[-1] > 1 else "")


def against_epoch(m: Measurement) -> Series:
    """The accuracy curve of one run, mean over its seeds; time is the mean too."""
    points = []
    for evaluations in zip(*(log.accuracies for log in m.logs)) if m.has_accuracy else ():
        values = tuple(100 * accuracy.top1 for accuracy in evaluations)
        seconds = sum(accuracy.seconds for accuracy in evaluations) / len(evaluations) if m.seconds else None
        points.append(Point(evaluations[0].epoch, sum(values) / len(values), values, seconds))
    if not points:
        points.append(Point(m.config.schedule.epochs, None, missing=m.missing or "missing (synthetic data)"))
    label = f"{m.config.run.title.partition(':')[0]}: {measured_label([m])}"
    peak = m.config.schedule.warmup_epochs
    return Series("measured", label, "measured", tuple(points), (m.provenance(),), peak_rate_epoch=peak)


def public_curve(run: PublicRun) -> Series:
    points = tuple(Point(*point) for point in zip(run.epochs, run.top1, [()] * len(run.epochs), run.seconds))
    source = {"file": "figures/public/mlperf_v06_eval_accuracy.csv", "run": run.run, "n": 1, "hardware": HARDWARE}
    return Series("public", LABEL, "public", points, (source,), "mlperf06", run.warmup_epochs)
