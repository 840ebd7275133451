"""The model against the communication benchmark of this package: the same steps, predicted from other measurements.

Compute is the benchmark's step without exchange; latency and bandwidth are those of the ping-pong. Nothing is fitted to
the steps with an exchange, which are what is predicted.
"""

from dataclasses import dataclass
from pathlib import Path

from reproduce.cluster import files
from reproduce.cluster.machine import Cluster
from reproduce.cluster.step import Work, as_slow_as, step
from reproduce.errors import LogError
from reproduce.results import pingpong, steptimes
from reproduce.results.steptimes import COMPUTE, Variant

CLUSTER, FULL = "local", "fp32"
TOLERANCE = 20.0  # percent
HEADER = ["network", "groups by", "sent", "measured, ms", "modelled, ms", "error"]


@dataclass(frozen=True)
class Prediction:
    """A way to exchange at a rate: measured and modelled seconds of a step, and how many sums either took."""

    network: str
    variant: Variant
    measured: float
    modelled: float
    sums: tuple[int, int]  # measured, modelled

    @property
    def error(self) -> float:
        """Percent of the measured time."""
        return 100 * (self.modelled / self.measured - 1)


def machine(seconds: float, link: pingpong.Link, about: dict) -> Cluster:
    """This machine at a rate: the link's constants, and the slowdown at which a step without exchange takes as long."""
    values = {"network.adapter_bandwidth": link.bandwidth, "network.ring_latency": link.latency}
    cluster, job = files.load(CLUSTER).with_values(values), work(about, "single", True)
    return as_slow_as(seconds, job, cluster)


def work(about: dict, rule: str, overlap: bool) -> Work:
    return Work(about["local_batch"], rule, overlap, about["image_size"])


def predictions(results: Path) -> list[Prediction]:
    """Every variant that the model knows, at every rate. Raises `LogError` if a measurement is missing."""
    result, links = steptimes.read(results), pingpong.read(results)
    if result is None:
        raise _missing(results, steptimes.COMMAND, steptimes.FILE)
    if links is None:
        raise _missing(results, pingpong.COMMAND, pingpong.FILE)
    by_rate = {link.mbit: link for link in links}
    found = []
    for network in result.networks:
        alone = network.timing(COMPUTE)
        if network.mbit not in by_rate or alone is None:
            raise LogError(f"{results}: no ping-pong or no step without exchange at {network.rate}: measure both again")
        here = machine(alone.median, by_rate[network.mbit], result.about)
        for timing in network.timings:
            if timing.variant.rule in ("none", "ddp") or timing.variant.wire != FULL:
                continue
            one = step(work(result.about, timing.variant.rule, timing.variant.overlap), result.about["hosts"], here)
            sums = timing.groups, len(one.sums)
            found.append(Prediction(network.rate, timing.variant, timing.median, one.total, sums))
    return found


def _missing(results: Path, command: str, name: str) -> LogError:
    return LogError(f"{results}: nothing measured: run '{command} --out {Path(results) / name}'")


def rows(found: list[Prediction]) -> list[list[str]]:
    """The rows of `HEADER`."""
    cells = []
    for one in found:
        way = "in backward" if one.variant.overlap else "after backward"
        times = [f"{1e3 * seconds:,.0f}" for seconds in (one.measured, one.modelled)]
        cells.append([one.network, one.variant.rule, way, *times, f"{one.error:+.1f} %"])
    return cells
