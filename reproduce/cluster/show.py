"""The answers of the command line, as text and as Chrome traces. The model itself is in the other modules."""

import shlex

from reproduce import table
from reproduce.cluster import interval, local
from reproduce.cluster.answer import RULES, changes, efficiency, limit, parts, sweep
from reproduce.cluster.files import across
from reproduce.cluster.machine import Cluster
from reproduce.cluster.run import EPOCHS, Run, run
from reproduce.cluster.step import Step, Work, step
from reproduce.cluster.uncertainty import DRAWS, Sensitivity, drawn, draws, middle, spread
from reproduce.results import trace

SENSITIVITY = ["assumed constant", "value", "20 % less", "20 % more", "range", "at its low end", "at its high end"]


def answer_text(job: Work, gpus: int, cluster: Cluster) -> str:
    """What a cluster would reach: step, point and band of the same draws. Raises `ConfigError` as `step` does."""
    machines = draws(cluster)
    runs = [run(job, gpus, machine) for machine in machines]
    found, times, whole = drawn(job, gpus, machines), spread([r.total for r in runs]), middle(runs, lambda r: r.total)
    one, (what, share) = found.step, limit(found.step)
    known, away = interval.chosen(), interval.distance(job, gpus, cluster)
    low, high = known.around(found.rate, away)
    groups = f"{len(one.sums)} sums ({job.rule}), {'overlapped' if job.overlap else 'after backward'}"
    lines = [
        f"modelled: {cluster.about.title} ({cluster.path}), {calibration(cluster)}",
        f"{gpus:,} GPUs x {job.local_batch} images = mini-batch {gpus * job.local_batch:,}; {groups}\n",
        *(f"{name:<42}{1e3 * part:8.2f} ms  {part / one.total:6.1%}" for name, part in parts(one).items()),
        f"{'step':<42}{1e3 * one.total:8.2f} ms",
        f"{'(sums under way, all together)':<42}{1e3 * one.communication:8.2f} ms\n",
        f"images/s, steady       {found.rate.median:>11,.0f}   ({found.rate.low:,.0f} to {found.rate.high:,.0f})",
        f"   {interval.SHARE} % interval       {low:>11,.0f}   to {high:,.0f}",
        f"efficiency             {efficiency(job, gpus, found.machine):>11.1%}   of as many GPUs alone, at this local "
        "batch",
        f"time to {EPOCHS} epochs      {times.median:>9.1f} s   ({times.low:.1f} to {times.high:.1f}): {time(whole)}",
        f"images/s, whole run    {whole.overall_rate:>11,.0f}   with start-up and evaluation in it\n",
        f"In brackets the band: 5 to 95 % of {DRAWS} draws of the {len(cluster.assumed)} assumed constants, of which "
        "the number before them is the median.",
        f"The interval is wider by what the model leaves out: {known.coverage}.",
        *notes(cluster, gpus),
        f"\nlimited by {what}: {share:.0%} of the step",
        "what would help most, each alone:",
        *(f"  {gain:+5.1f} %  {change}" for gain, change in changes(job, gpus, found.machine)[:3]),
    ]
    return "\n".join(lines) + "\n"


def calibration(cluster: Cluster) -> str:
    """What the answer rests on, in a line: "calibrated" is said only where nothing was changed since."""
    if cluster.measured:
        one = cluster.measured
        return (f"a node as its owner measured it: {one.images_per_second:,.0f} images/s, {one.gpus} GPUs x "
                f"{one.local_batch} images")  # fmt: skip
    if not cluster.stack:
        return "not calibrated: a bare roofline"
    new = interval.new_constants(cluster)
    if not new:
        return f"calibrated on {cluster.stack}"
    listed = ", ".join(f"{name} = {value:g} (was {before:g})" for name, (value, before) in new.items())
    count = "1 constant is" if len(new) == 1 else f"{len(new)} constants are"
    return f"not calibrated: {count} new since {cluster.stack} was: {listed}"


def notes(cluster: Cluster, gpus: int) -> list[str]:
    """What an answer cannot know, a line each."""
    lines = []
    if interval.new_constants(cluster) and not cluster.measured:
        lines.append("The interval is that of a board that was never calibrated; for a narrower one measure a node: "
                     f"{command('calibrate', cluster)} --measured IMAGES_PER_SECOND --local-batch IMAGES.")  # fmt: skip
    if gpus > cluster.node.gpus and str(cluster.year) not in across():
        lines.append("Across nodes: no public system of many nodes tells what a framework of "
                     f"{cluster.year or 'an unnamed year'} takes there; it is assumed.")  # fmt: skip
    return lines


def command(name: str, cluster: Cluster) -> str:
    """A command that works as printed, wherever the cluster's file is."""
    shown = cluster.path if cluster.own else cluster.about.name
    return f"python -m reproduce.cluster {name} --cluster {shlex.quote(shown)}"


def time(whole: Run) -> str:
    return (f"{whole.training:.1f} s in {whole.updates:,} updates, {whole.evaluation:.1f} s in {whole.evaluations} "
            f"evaluations, {whole.start_up:.1f} s start-up")  # fmt: skip


def sweep_text(cluster: Cluster, local_batch: int) -> str:
    rows = [[f"{gpus:,}", *(f"{one.images_per_second:,.0f}" for one in steps)] for gpus, steps in
            sweep(cluster, local_batch).items()]  # fmt: skip
    title = f"Modelled steady images/s: {cluster.about.title} ({cluster.path}), {local_batch} images per GPU"
    return f"{title}\n\n" + table.markdown(["GPUs", *RULES], rows)


def sensitivity_text(job: Work, gpus: int, cluster: Cluster, found: list[Sensitivity]) -> str:
    rows = [[one.name, f"{one.value:g}" + ("" if one.unit in ("1", "count") else f" {one.unit}"),
             *(f"{change:+.1f} %" for change in (one.less, one.more)), f"{one.span[0]:g} to {one.span[1]:g}",
             *(f"{change:+.1f} %" for change in (one.at_low, one.at_high))] for one in found]  # fmt: skip
    base = step(job, gpus, cluster).images_per_second
    asked = f"{command('sensitivity', cluster)} --gpus {gpus} --local-batch {job.local_batch} --rule {job.rule}"
    asked += "" if job.overlap else " --no-overlap"
    return (
        "# What the model's images/s depend on\n\n"
        f"Modelled: {cluster.about.title} ({cluster.path}), {gpus:,} GPUs x {job.local_batch} images, {job.rule}: "
        f"{base:,.0f} images/s. The change when one assumed constant changes and the calibration is solved again "
        f"under it (`{asked}`).\n\n" + table.markdown(SENSITIVITY, rows)
    )


def local_text(found: list[local.Prediction]) -> str:
    """The communication benchmark, measured and modelled."""
    within = sum(abs(one.error) <= local.TOLERANCE for one in found)
    return (
        "# The cluster model against the communication benchmark of this package\n\n"
        "Modelled: `python -m reproduce.cluster local`. Compute is the benchmark's step without exchange, latency and "
        "bandwidth are the ping-pong's; nothing is fitted to the steps that are predicted.\n\n"
        + table.markdown(local.HEADER, local.rows(found))
        + f"\n{within} of {len(found)} within {local.TOLERANCE:.0f} %. Not in the model: the cores' time for copying "
        "and summing, which at an unlimited rate is most of an allreduce, of many small ones above all.\n"
    )


def chrome_trace(one: Step, name: str) -> str:
    """The step for chrome://tracing, in the form of the measured ones."""
    events = [("begin", -1, 0.0), ("forward_end", -1, one.forward_end), ("backward_end", -1, one.backward_end),
              ("end", -1, one.total)]  # fmt: skip
    for number, sent in enumerate(one.sums):
        events += [("ready", number, sent.ready), ("send", number, sent.start), ("done", number, sent.end)]
    return trace.chrome([(name, trace.Step([(what, group, round(1e9 * at)) for what, group, at in events]))])
