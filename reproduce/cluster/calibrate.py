"""Solves for what no data sheet says, from public runs on one GPU and on one node; nothing on many nodes is read.

Three things per software stack. The *fixed time* of a batch, what it costs besides its images, from inference times at
small batches of one GPU: time = fixed + slowdown x roofline, by least squares of relative errors. A share of it
(`per_kernel`, assumed) is the gap before every kernel, the rest the host's, once a step. The *jitter* between ranks,
from what a node of 2, 4, 8 ... GPUs loses against one of them and the model does not explain. And the *slowdown*
against the roofline, from training runs on one node: the model's time between evaluations is the runs' median.
"""

import dataclasses
import functools
import json
import os
import statistics
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from reproduce.cluster import evidence, files
from reproduce.cluster.compute import inference
from reproduce.cluster.evidence import Single
from reproduce.cluster.layers import resnet50
from reproduce.cluster.machine import Cluster, Constant, OneNode
from reproduce.cluster.run import TRAIN_IMAGES, evaluation_seconds
from reproduce.cluster.step import SLOWDOWN, Work, as_slow_as, expected_maximum, step
from reproduce.paths import real

COMMAND = "python -m reproduce.cluster calibrate"
RULE = files.NODE_RULE
JITTER = "software.jitter"
UNITS = {"gpu.kernel_gap": "s", "software.host": "s", JITTER: "1", SLOWDOWN: "1"}
KERNELS = len(resnet50())  # of a forward pass: one a layer


@dataclasses.dataclass(frozen=True)
class Solution:
    """The constants of a stack, by "section.key", and by how many percent the model then misses each row."""

    stack: str
    cluster: str
    values: Mapping[str, float]
    sources: Mapping[str, str]
    residuals: Mapping[str, float]


def solve(stack: str, machine: Cluster, rows: list[Single]) -> Solution:
    """The calibrated constants of a stack on the machine its runs were made on."""
    training = [row for row in rows if row.kind == "training" and row.stack == stack]
    forward = [row for row in rows if row.kind == "forward" and row.stack == training[0].fixed_time_of]
    scaling = [row for row in rows if row.kind == "scaling" and row.stack == training[0].jitter_of]
    values: dict[str, float] = {}
    sources: dict[str, str] = {}
    residuals: dict[str, float] = {}
    for solver, evidence_rows in ((_fixed_time, forward), (_jitter, scaling), (_slowdown, training)):
        if evidence_rows:
            found, where, missed = solver(machine.with_values(values), evidence_rows)
            values, sources, residuals = values | found, sources | where, residuals | missed
    return Solution(stack, training[0].cluster, values, sources, residuals)


def _fixed_time(machine: Cluster, rows: list[Single]) -> tuple[dict, dict, dict]:
    """Values, sources and residuals of what follows from the fixed time."""
    fixed, slowdown = fixed_time(machine, rows)
    share = machine.software.per_kernel
    said = f"{rows[0].source}: a forward pass costs {1e3 * fixed:.2f} ms besides its images, of which"
    values = {"gpu.kernel_gap": share * fixed / KERNELS, "software.host": (1 - share) * fixed}
    sources = {"gpu.kernel_gap": f"{said} {share:.0%} over {KERNELS} kernels (per_kernel)",
               "software.host": f"{said} {1 - share:.0%} once a step (per_kernel)"}  # fmt: skip
    times = _forward_times(machine, rows, fixed, slowdown)
    residuals = {f"forward, {row.local_batch} images": _percent(float(t), row) for t, row in zip(times, rows)}
    return values, sources, residuals


def _jitter(machine: Cluster, rows: list[Single]) -> tuple[dict, dict, dict]:
    spread, residuals = jitter(machine, rows)
    most = max(row.gpus for row in rows)
    return {JITTER: spread}, {JITTER: f"{rows[0].source}: what up to {most} GPUs lose against one"}, residuals


def _slowdown(machine: Cluster, rows: list[Single]) -> tuple[dict, dict, dict]:
    row, target = rows[0], statistics.median(row.seconds for row in rows)
    found = slowdown(machine, row, target)
    source = f"{row.source}: {target:.2f} s per {row.epochs} epochs and an evaluation on {row.gpus} GPUs at "
    source += f"{row.local_batch} images, median of {len(rows)} runs"
    seconds = _interval(machine.with_values({SLOWDOWN: found}), row)
    residuals = {f"training, {one.run.removesuffix('.txt')}": _percent(seconds, one) for one in rows}
    return {SLOWDOWN: found}, {SLOWDOWN: source}, residuals


def _percent(seconds: float, row: Single) -> float:
    """By how much a modelled time misses the row's."""
    return 100 * (seconds / row.seconds - 1)


def fixed_time(machine: Cluster, rows: list[Single]) -> tuple[float, float]:
    """(seconds besides the images, slowdown against the roofline) of a forward pass, by relative least squares."""
    roofline = _forward_times(machine, rows, 0.0, 1.0)
    seconds = np.array([row.seconds for row in rows])
    system = np.stack([1 / seconds, roofline / seconds], axis=1)
    (fixed, slowdown), *_ = np.linalg.lstsq(system, np.ones(len(rows)), rcond=None)
    return max(0.0, float(fixed)), float(slowdown)


def jitter(machine: Cluster, rows: list[Single]) -> tuple[float, dict[str, float]]:
    """The spread between ranks that best explains the steps of several GPUs, given that of one; errors in percent."""
    by_gpus = {row.gpus: row for row in rows}
    job, alone = Work(rows[0].local_batch, RULE), by_gpus.pop(1)
    quiet = machine.with_values({JITTER: 0})
    quiet = as_slow_as(alone.seconds, job, quiet)
    steps = {gpus: step(job, gpus, quiet) for gpus in by_gpus}
    waits = {gpus: expected_maximum(gpus) * (one.forward + one.backward) for gpus, one in steps.items()}
    above = sum(waits[gpus] * (row.seconds - steps[gpus].total) / row.seconds**2 for gpus, row in by_gpus.items())
    spread = max(0.0, above / sum((waits[gpus] / row.seconds) ** 2 for gpus, row in by_gpus.items()))
    errors = {f"scaling, {gpus} GPUs": _percent(steps[gpus].total + spread * waits[gpus], row)
              for gpus, row in by_gpus.items()}  # fmt: skip
    return spread, errors


def _forward_times(machine: Cluster, rows: list[Single], fixed: float, slowdown: float) -> np.ndarray:
    bare = machine.with_values({SLOWDOWN: 1, "software.unlike_stack": 1, "gpu.kernel_gap": 0})
    return np.array([fixed + slowdown * inference(resnet50(), row.local_batch, bare) for row in rows])


def _interval(cluster: Cluster, row: Single) -> float:
    """Modelled seconds of a row's epochs and one evaluation."""
    job = Work(row.local_batch, RULE)
    one = step(job, row.gpus, cluster)
    updates = row.epochs * TRAIN_IMAGES / (row.gpus * row.local_batch)
    return updates * one.total + evaluation_seconds(job, one, cluster)


def slowdown(cluster: Cluster, row: Single, target: float) -> float:
    """The slowdown at which the modelled interval takes `target` seconds, by secants: it is all but linear in it."""
    low, high = 1.0, 1.2
    at_low, at_high = (_interval(cluster.with_values({SLOWDOWN: x}), row) for x in (low, high))
    while abs(at_high / target - 1) > 1e-7:
        low, at_low, high = high, at_high, high + (target - at_high) * (high - low) / (at_high - at_low)
        at_high = _interval(cluster.with_values({SLOWDOWN: high}), row)
    return high


@functools.lru_cache
def _evidence(path: Path) -> list[Single]:
    return evidence.single_node(path)


def stacks(path: Path = evidence.SINGLE_NODE) -> dict[str, str]:
    """The stacks there are training runs of, with the cluster those were made on."""
    return {row.stack: row.cluster for row in _evidence(path) if row.kind == "training"}


def solve_all(path: Path = evidence.SINGLE_NODE) -> list[Solution]:
    return [solve(stack, files.bare(cluster), _evidence(path)) for stack, cluster in stacks(path).items()]


def recalibrated(cluster: Cluster, changed: Mapping[str, float], path: Path = evidence.SINGLE_NODE) -> Cluster:
    """`cluster` with other constants, and with its stack solved again under the same ones.

    Without this a guess about the GPU would contradict the very runs the calibration rests on, or the user's own.
    """
    if cluster.stack not in stacks(path):
        return files.as_measured(cluster.with_values(changed))
    machine = files.bare(stacks(path)[cluster.stack])
    known = {name: value for name, value in changed.items() if name != "software.unlike_stack"}
    if cluster.about.name != machine.about.name:  # what belongs to one machine's network says nothing of the other's
        known = {name: value for name, value in known.items() if not name.startswith("network.")}
    solution = solve(cluster.stack, machine.with_values(known), _evidence(path))
    return files.as_measured(cluster.with_values({**changed, **solution.values}))


def to_toml(solutions: list[Solution]) -> str:
    """The calibrated file: constants and residuals by stack."""
    lines = [f"# Written by '{COMMAND}' from single_node.csv (reproduce/cluster/data): runs on one node only.",
             "# Residuals: by how many percent the model then misses each of these rows.", ""]  # fmt: skip
    for one in solutions:
        lines += [f"[stacks.{json.dumps(one.stack)}]", f'cluster = "{one.cluster}"']
        lines.append(f"[stacks.{json.dumps(one.stack)}.constants]")
        for name, value in one.values.items():
            constant = Constant(value, UNITS[name], one.sources[name], "calibrated")
            lines.append(f'"{name}" = {{ value = {constant.value:.6g}, unit = "{constant.unit}", '
                         f'status = "{constant.status}", source = {json.dumps(constant.source)} }}')  # fmt: skip
        lines.append(f"[stacks.{json.dumps(one.stack)}.residuals]")
        lines += [f"{json.dumps(row)} = {percent:.1f}" for row, percent in one.residuals.items()]
        lines.append("")
    return "\n".join(lines)


def own_node(cluster: Cluster, rate: float, local_batch: int, folder: Path) -> tuple[Path, str]:
    """(path, content) of a cluster file that extends another with what its owner measured on one node, in images/s.

    Raises `ConfigError` for a rate that the GPU cannot have.
    """
    gpus, base = int(cluster.node.gpus), real(files.file_of(cluster.path if cluster.own else cluster.about.name))
    name = f"{cluster.about.name}-measured"
    files.as_measured(dataclasses.replace(cluster, measured=OneNode(rate, gpus, local_batch)))
    about = dataclasses.asdict(cluster.about) | {"name": name}
    if not cluster.about.year:
        del about["year"]
    extended = os.path.relpath(base, real(folder)) if cluster.own else base.name
    lines = [f"# {cluster.about.title}, with one node as measured.", f"extends = {json.dumps(extended)}", "",
             "[cluster]", *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in about.items()), "",
             "[measured]", f"images_per_second = {rate:g}", f"gpus = {gpus}", f"local_batch = {local_batch}",
             ""]  # fmt: skip
    return folder / f"{name}.toml", "\n".join(lines)
