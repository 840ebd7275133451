"""The planner's answers as text."""

from collections.abc import Sequence

from reproduce import table
from reproduce.cluster import epochs, interval
from reproduce.cluster.machine import Cluster
from reproduce.cluster.planner import Plan, Planner
from reproduce.cluster.show import calibration, command, notes

HEADER = ["", "GPUs", "images per GPU", "mini-batch", "groups by", "epochs", "images/s", "seconds", "node-hours"]


def in_time(cluster: Cluster, seconds: float) -> str:
    """The fewest node-hours that reach the target in time."""
    asked = Planner(cluster)
    best, sure = asked.in_time(seconds), asked.in_time(seconds, surely=True)
    wanted = f"{epochs.TARGET} % within {seconds:g} s"
    if best is None:
        return _text(cluster, f"{wanted}: more than is modelled; the soonest is", [("soonest", asked.soonest())])
    found = [("fewest node-hours", best)]
    if sure is not None and sure != best:
        found.append((f"in time to the end of its interval ({interval.SHARE} %)", sure))
    missing = [] if sure else ["Nothing modelled is in time to the end of its interval."]
    return _text(cluster, f"{wanted}, with the fewest node-hours:", found, missing)


def within(cluster: Cluster, node_hours: float) -> str:
    """The soonest for a budget."""
    asked = Planner(cluster)
    best = asked.within(node_hours)
    wanted = f"{epochs.TARGET} % for at most {node_hours:g} node-hours"
    if best is None:
        return _text(cluster, f"{wanted}: too little; the cheapest is", [("cheapest", asked.cheapest())])
    return _text(cluster, f"{wanted}, the soonest:", [("soonest", best)])


def _text(cluster: Cluster, title: str, found: Sequence[tuple[str, Plan]], more: Sequence[str] = ()) -> str:
    best = found[0][1]
    lines = [
        f"modelled: {cluster.about.title} ({cluster.path}), {calibration(cluster)}",
        f"{title}\n",
        table.markdown(HEADER, [_row(name, one) for name, one in found]),
        *(_epochs(one) for one in dict.fromkeys(plan.epochs for _, plan in found)),
        f"In brackets: epochs 5 to 95 % of these runs; seconds and node-hours the ends of both together with the "
        f"{interval.SHARE} % interval of images/s: {interval.chosen().coverage}.",
        *more,
        *notes(cluster, best.gpus),
        f"the step in detail: {command('answer', cluster)} --gpus {best.gpus} --local-batch {best.job.local_batch} "
        f"--rule {best.job.rule}",
    ]
    return "\n".join(lines) + "\n"


def _epochs(found: epochs.Epochs) -> str:
    low, high = found.batches
    batches = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    count = f"{found.median:g} epochs ({found.low:g} to {found.high:g})"
    return f"{count}: {found.runs} public runs that reached it at mini-batch {batches}, with recipes tuned for it"


def _row(name: str, one: Plan) -> list[str]:
    nodes = "1 node" if one.nodes == 1 else f"{one.nodes:,} nodes"
    hours = [one.nodes * seconds / 3600 for seconds in (one.low, one.high)]
    return [name, f"{one.gpus:,} ({nodes})", str(one.job.local_batch),
            f"{one.gpus * one.job.local_batch:,}", one.job.rule,
            f"{one.epochs.median:g} ({one.epochs.low:g} to {one.epochs.high:g})",
            f"{one.rate:,.0f}", f"{one.seconds:,.0f} ({one.low:,.0f} to {one.high:,.0f})",
            f"{one.node_hours:.3g} ({hours[0]:.3g} to {hours[1]:.3g})"]  # fmt: skip
