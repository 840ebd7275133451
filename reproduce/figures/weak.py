"""Weak scaling as measured here: images/s on one device, two, four ... with 40 images each, for a panel of Figure 2.

Images/s of a run are its steady training rate (`RunLog.images_per_second`), the sense in which the paper's 1.73 M is
consistent with its 74.7 s. Efficiency is the rate by that of the fewest devices measured, times as many.
"""

from collections.abc import Iterable

from matplotlib.axes import Axes

from reproduce.cluster import files
from reproduce.cluster.machine import Cluster
from reproduce.cluster.step import Work, step
from reproduce.figures import plot
from reproduce.recipe.runs import parts
from reproduce.results import output
from reproduce.results.measured import Measurement

NETWORKS = {"resnet50": "ResNet-50", "resnet8": "the embedded network (ResNet-8)"}
SYNTHETIC = "synthetic"


def series(found: Iterable[Measurement]) -> list[dict]:
    """One for each config and way of sending gradients, with a point for each number of devices measured.

    A single worker sends none: its runs begin the line of either way. A series without any measurement is left out.
    """
    timed = [m for m in found if m.n and not m.emulated and m.images_per_second]
    lines: dict[tuple[str, bool], list[Measurement]] = {}
    for m in timed:
        lines.setdefault((parts(m.run)[0], m.config.communication.overlap), []).append(m)
    for (file, overlap), members in lines.items():
        if not overlap:
            members += [m for m in lines.get((file, True), ()) if m.config.batch.workers == 1]
    return [_facts(overlap, sorted(members, key=_devices)) for (_, overlap), members in lines.items()]


def _devices(m: Measurement) -> int:
    return m.config.batch.workers


def _facts(overlap: bool, members: list[Measurement]) -> dict:
    first = members[0]
    base = first.images_per_second.median / _devices(first)  # type: ignore[union-attr]  # `series` asked for it
    points = [_point(m, base) for m in members]
    data = output.data_sets(members)
    counts = sorted({point["n"] for point in points})
    label = f"measured: {data}, gradients sent {'in' if overlap else 'after'} backward, n = {_range(counts)}"
    return {"kind": "measured", "label": label, "network": first.config.model.name, "data_set": data,
            "overlap": overlap, "device": first.environment("device"), "points": points}  # fmt: skip


def _point(m: Measurement, base: float) -> dict:
    rate = m.images_per_second
    assert rate is not None, "`series` asked for it"
    return {"gpus": _devices(m), "images_per_second": rate.median, "spread": [rate.low, rate.high],
            "values": list(rate.values), "efficiency": rate.median / (base * _devices(m)),
            **m.provenance()}  # fmt: skip


def _range(counts: list[int]) -> str:
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def cluster_of(found: list[dict], preferred: str) -> Cluster | None:
    """The cluster file of the GPU that all logs name; None for CPUs, and where no file or more than one fits."""
    hardware = {text for one in found for point in one["points"] for text in point["hardware"]}
    fitting = [name for name in files.names() if hardware and all(_names(name, text) for text in hardware)]
    if preferred in fitting:
        fitting = [preferred]
    return files.load(fitting[0]) if len(fitting) == 1 else None


def _names(cluster: str, hardware: str) -> bool:
    known = files.bare(cluster).about.gpu, files.launching(cluster)[2].get("gpu")
    return any(gpu in hardware for gpu in known if gpu)


def modelled(cluster: Cluster, found: list[dict], job: Work) -> dict:
    """What the model of that machine says for as many GPUs."""
    counts = sorted({point["gpus"] for one in found for point in one["points"]})
    points = [{"gpus": count, "images_per_second": step(job, count, cluster).images_per_second}
              for count in counts if count <= cluster.about.most_gpus]  # fmt: skip
    label = f"modelled: {cluster.about.name}, {job.local_batch} images per GPU, {job.rule}"
    return {"kind": "modelled", "label": label, "file": cluster.facts()["file"], "points": points}


def on_gpus(found: list[dict], network: str) -> list[dict]:
    """Those that belong beside the paper's point: of its network, on GPUs."""
    return [one for one in found if one["network"] == network and one["device"] == "cuda"]


def panel(ax: Axes, found: list[dict], beside: dict | None, about: str) -> None:
    """Images/s per device against devices: median and range of each series, the ideal, and the model of the machine."""
    ax.set(xlabel="devices, a process each", ylabel="images/s per device, steady")
    if not found:
        ax.set_title(f"c  measured here: missing\n{about}")
        ax.text(0.5, 0.5, "missing: nothing measured", transform=ax.transAxes, ha="center", color=plot.GREY)
        ax.set(xticks=[], yticks=[])
        return
    counts = sorted({point["gpus"] for one in found for point in one["points"]})
    for number, one in enumerate(found):
        colour = plot.ORANGE if SYNTHETIC in one["data_set"] else plot.GREEN
        _line(ax, one, colour, "o" if one["overlap"] else "s", 3 * (number - (len(found) - 1) / 2))
    first = found[0]["points"][0]
    ideal = first["images_per_second"] / first["gpus"]
    ax.plot(counts, [ideal] * len(counts), color=plot.GREY, linewidth=1,
            label=f"ideal: the first of these at {first['gpus']}, times as many")  # fmt: skip
    if beside and beside["points"]:
        gpus, rates = zip(*((p["gpus"], p["images_per_second"] / p["gpus"]) for p in beside["points"]))
        ax.plot(gpus, rates, label=beside["label"], **plot.look("modelled", plot.BLUE))
    ax.set(xscale="log", title=f"c  measured here: {NETWORKS.get(found[0]['network'])}\n{about}")
    ax.set_xticks(counts, [f"{count:,}" for count in counts])
    ax.minorticks_off()
    ax.set_ylim(0, 1.15 * max(point["spread"][1] / point["gpus"] for one in found for point in one["points"]))
    ax.legend(loc="lower left", fontsize=8)


def _line(ax: Axes, one: dict, colour: str, marker: str, shift: float) -> None:
    aside = plot.aside(ax, shift)
    gpus = [point["gpus"] for point in one["points"]]
    rates = [point["images_per_second"] / count for point, count in zip(one["points"], gpus)]
    ax.plot(gpus, rates, label=one["label"], **plot.look("measured", colour, marker), transform=aside)
    for point, rate in zip(one["points"], rates):
        if point["n"] > 1:  # one run has no spread: no bar, rather than one of length 0
            low, high = (value / point["gpus"] for value in point["spread"])
            ax.errorbar([point["gpus"]], [rate], yerr=[[rate - low], [high - rate]], capsize=4, color=colour,
                        transform=aside)  # fmt: skip
