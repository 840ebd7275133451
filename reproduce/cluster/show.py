"""The answers of the command line, as text and as Chrome traces. The model itself stands in the other modules."""

from reproduce import table
from reproduce.cluster import local
from reproduce.cluster.answer import RULES, changes, efficiency, limit, parts, sweep
from reproduce.cluster.machine import Cluster
from reproduce.cluster.run import EPOCHS, TRAIN_IMAGES, Run, run
from reproduce.cluster.step import Step, Work, step
from reproduce.cluster.uncertainty import DRAWS, Sensitivity, band, draws
from reproduce.cluster.validate import TOLERANCE, Check, check, work
from reproduce.results import paper, trace

VALIDATION = ["run", "GPUs", "images per GPU", "calibrated on", "images/s, measured", "modelled", "error",
              "5 to 95 %", "run time, measured", "modelled", "error"]  # fmt: skip
SENSITIVITY = ["assumed constant", "value", "20 % less", "20 % more", "range", "at its low end", "at its high end"]


def answer_text(job: Work, gpus: int, cluster: Cluster) -> str:
    """What a cluster would reach. Raises `ConfigError` as `step` does."""
    whole, machines = run(job, gpus, cluster), draws(cluster)
    one, (what, share) = whole.step, limit(whole.step)
    slow, quick = band(lambda machine: step(job, gpus, machine).images_per_second, machines)
    short, long = band(lambda machine: run(job, gpus, machine).total, machines)
    groups = f"{len(one.sums)} sums ({job.rule}), {'overlapped' if job.overlap else 'after backward'}"
    stack = cluster.stack or "nothing: a bare roofline"
    lines = [
        f"modelled: {cluster.about.title} ({cluster.path}), calibrated on {stack}",
        f"{gpus:,} GPUs x {job.local_batch} images = mini-batch {gpus * job.local_batch:,}; {groups}\n",
        *(f"{name:<42}{1e3 * part:8.2f} ms  {part / one.total:6.1%}" for name, part in parts(one).items()),
        f"{'step':<42}{1e3 * one.total:8.2f} ms",
        f"{'(sums under way, all together)':<42}{1e3 * one.communication:8.2f} ms\n",
        f"images/s, steady       {one.images_per_second:>11,.0f}   ({slow:,.0f} to {quick:,.0f})",
        f"efficiency             {efficiency(job, gpus, cluster):>11.1%}   of as many GPUs alone, at this local batch",
        f"time to {EPOCHS} epochs      {whole.total:>9.1f} s   ({short:.1f} to {long:.1f}): {_time(whole)}",
        f"images/s, whole run    {whole.overall_rate:>11,.0f}   with start-up and evaluation in it\n",
        f"In brackets: 5 to 95 % of {DRAWS} draws of the {len(cluster.assumed)} assumed constants from their ranges.",
        "That does not cover what the model leaves out: 'validate' shows how far it errs on public runs.\n",
        f"limited by {what}: {share:.0%} of the step",
        "what would help most, each alone:",
        *(f"  {gain:+5.1f} %  {change}" for gain, change in changes(job, gpus, cluster)[:3]),
    ]
    return "\n".join(lines) + "\n"


def _time(whole: Run) -> str:
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
    command = f"python -m reproduce.cluster sensitivity --cluster {cluster.about.name} --gpus {gpus} "
    command += f"--local-batch {job.local_batch} --rule {job.rule}" + ("" if job.overlap else " --no-overlap")
    return (
        "# What the model's images/s depend on\n\n"
        f"Modelled: {cluster.about.title} ({cluster.path}), {gpus:,} GPUs x {job.local_batch} images, {job.rule}: "
        f"{base:,.0f} images/s. The change when one assumed constant changes and the calibration is solved again "
        f"under it (`{command}`).\n\n" + table.markdown(SENSITIVITY, rows)
    )


def validation_text(found: list[Check]) -> str:
    """The table as Markdown, what remains of errors beyond the tolerance, and how the paper's two rates agree."""
    beyond = [one for one in found if not one.within]
    drawn = {(one.row.cluster, one.row.stack): one.cluster for one in found}
    machines = {place: draws(cluster) for place, cluster in drawn.items()}
    lines = [
        "# The cluster model against public runs on many nodes\n",
        "Modelled: `python -m reproduce.cluster validate`. No constant was fitted to any of these rows. What was "
        "fitted, to runs on one node, is in `paper_configs/clusters/calibrated.toml`. What was assumed was written "
        "down before the first comparison; `_assumed.toml` there says what changed since, and the errors before. "
        "Images/s are the steady rate for the runs of 2019; those of the later ones count evaluations, for their logs "
        "give no other. The band is that of the assumed constants.\n",
        table.markdown(VALIDATION, [_row(one, machines[one.row.cluster, one.row.stack]) for one in found]),
        f"{len(found) - len(beyond)} of {len(found)} rows are within {TOLERANCE:.0f} % in one of the two. Others:\n",
        *(f"- {one.row.name} ({one.rate_error:+.1f} %): {one.row.remains}." for one in beyond),
        "\nTwo rates are called images per second:\n",
        *(_reconciled(one) for one in found if one.row.updates),
        *(f"\n{_scaling(one)}" for one in found if one.row.name.startswith("the paper")),
    ]
    return "\n".join(lines) + "\n"


def _row(one: Check, machines: tuple[Cluster, ...]) -> list[str]:
    row = one.row
    low, high = band(lambda machine: check(row, machine).images_per_second, machines)
    return [row.name, f"{row.gpus:,}", str(row.local_batch), row.stack, f"{row.images_per_second:,.0f}",
            f"{one.images_per_second:,.0f}", f"{one.rate_error:+.1f} %", f"{low:,.0f} to {high:,.0f}",
            f"{row.run_seconds:.1f} s", f"{one.modelled.total:.1f} s", f"{one.time_error:+.1f} %"]  # fmt: skip


def _reconciled(one: Check) -> str:
    """Why a steady rate and a run time do not divide into each other: measured, then modelled."""
    row, modelled = one.row, one.modelled
    training = modelled.updates * row.gpus * row.local_batch / row.images_per_second
    overall = row.epochs * TRAIN_IMAGES / row.run_seconds
    return (
        f"- {row.name}: {row.images_per_second:,.0f} images/s is the steady rate: {modelled.updates:,} updates x "
        f"{row.gpus * row.local_batch:,} images take {training:.1f} s of the {row.run_seconds:.1f} s, start-up and "
        f"evaluation the other {row.run_seconds - training:.1f} s; {row.epochs} epochs over the whole time are "
        f"{overall:,.0f} images/s. Modelled: {modelled.step.images_per_second:,.0f} images/s steady, "
        f"{_time(modelled)} (assumed); {modelled.overall_rate:,.0f} images/s over the whole time."
    )


def _scaling(one: Check) -> str:
    """Where the rate that is missing may be lost, by what is recalled of the paper's scalability."""
    known, job = paper.load(), work(one.row)
    share, each = known.values["scalability"], known.values["images_per_second_per_gpu"]
    alone = step(job, 1, one.cluster).images_per_second
    return (
        f"One GPU alone is modelled at {alone:,.0f} images/s with {job.local_batch} images, and "
        f"{one.row.gpus:,} at {efficiency(job, one.row.gpus, one.cluster):.0%} of as many. The paper's {share.text} "
        f"({share.status}) with its {each.text} at {one.row.gpus:,} ({each.status}) would put one GPU at "
        f"{100 * each.value / share.value:,.0f} images/s. If so, the model has the GPU right and loses too little "
        "between the ranks."
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
