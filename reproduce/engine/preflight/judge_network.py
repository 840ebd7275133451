"""Judges clocks against rank 0's, and links against the rules and against one another."""

from collections.abc import Mapping
from statistics import median

from reproduce.engine.preflight.findings import Finding, Rules, number
from reproduce.engine.preflight.judge import EXCLUDE
from reproduce.engine.preflight.links import Plan


def skew(measured: Mapping[int, dict], rules: Rules) -> list[Finding]:
    """`measured` as by `clocks.measure`. Off by more than allowed even if the measurement errs as far as it can.

    Where most nodes are off, it is rank 0's clock, and they are held against their median.
    """
    remedy, limit = "have the node's clock set (chrony, ntpd)", rules.max_skew_ms / 1e3
    found = [
        Finding((rank,), "clock", "no answer", "answers rank 0", f"see whether the node is up; else {EXCLUDE}")
        for rank, one in measured.items()
        if not one
    ]
    offsets = {0: 0.0} | {rank: one["offset"] for rank, one in measured.items() if one}
    doubt = {0: 0.0} | {rank: one["uncertainty"] for rank, one in measured.items() if one}

    def off(reference: float) -> list[int]:
        return [rank for rank in offsets if abs(offsets[rank] - reference) - doubt[rank] > limit]

    reference, against = 0.0, "rank 0's"
    if 2 * len(off(reference)) > len(offsets):
        reference, against = median(offsets.values()), "the nodes' median"
    for rank in off(reference):
        seconds, error = offsets[rank] - reference, doubt[rank]
        text = f"{abs(seconds) * 1e3:,.0f} ms {'ahead' if seconds > 0 else 'behind'} (to {number(error * 1e3)} ms)"
        rule = f"within {number(rules.max_skew_ms)} ms of {against} (--max-skew-ms)"
        found.append(Finding((rank,), "clock", text, rule, remedy))
    return found


def links(plan: Plan, rates: Mapping[int, dict], last_at: Mapping[int, str], rules: Rules) -> list[Finding]:
    """`rates` by rank, as by `links.measure`; ranks that are not in it gave no answer: `last_at` says where."""
    found = []
    for ranks in plan.nodes.values():
        for rank in ranks:
            if rank not in rates:
                text, remedy = f"no answer: last at {last_at.get(rank, 'nothing')}", f"look at that rank; {EXCLUDE}"
                found.append(Finding((rank,), "exchange", text, "ends in time", remedy))
            elif "error" in rates[rank]:
                text, remedy = rates[rank]["error"], f"look at the collective library there; {EXCLUDE}"
                found.append(Finding((rank,), "exchange", text, "ends well", remedy))
    told = {rank: one for rank, one in rates.items() if "error" not in one}
    return found + _inside(plan, told, rules) + _between(plan, told, rules)


def _inside(plan: Plan, rates: Mapping[int, dict], rules: Rules) -> list[Finding]:
    found, slowest = [], {}
    for node, ranks in plan.nodes.items():
        given = {rank: rates[rank]["node"] for rank in ranks if rank in rates and rates[rank]["node"] is not None}
        failed = {rank: rate for rank, rate in given.items() if isinstance(rate, str)}
        for rank, reason in failed.items():
            found.append(Finding((rank,), "exchange inside the node", reason, "works", EXCLUDE))
        if given and not failed:
            slowest[node] = min(given.values())
    remedy = f"look at its links (nvidia-smi topo -m, nvlink -s) and at what else runs there; {EXCLUDE}"
    what = "bandwidth inside the node"
    return found + _slow(plan, slowest, rules.min_node_gbit, "--min-node-gbit", rules.slow_link, what, remedy)


def _between(plan: Plan, rates: Mapping[int, dict], rules: Rules) -> list[Finding]:
    """A node counts as good as with its best partner: with a slow partner every node is slow."""
    met: dict[int, dict[int, float | str]] = {node: {} for node in plan.nodes}
    for node, ranks in plan.nodes.items():
        for partner, rate in (pair for rank in ranks if rank in rates for pair in rates[rank]["pairs"]):
            before = met[node].get(partner, 0.0)
            met[node][partner] = next((x for x in (before, rate) if isinstance(x, str)), None) or before + rate
    best = {node: max((rate for rate in of.values() if not isinstance(rate, str)), default=None)
            for node, of in met.items()}  # fmt: skip
    found = []
    for node, partners in met.items():
        for partner, reason in partners.items():
            failed = isinstance(reason, str)
            if failed and best[node] is None and partner == min(partners):
                text = f"none with {_partners(partners)}: {reason}"
                found.append(Finding((plan.nodes[node][0],), "exchange with other nodes", text, "works", EXCLUDE))
            elif failed and best[node] is not None and best[partner] is not None and node < partner:
                ranks = (plan.nodes[node][0], plan.nodes[partner][0])
                text, remedy = f"none between ranks {ranks[0]} and {ranks[1]}: {reason}", "look at the routes between"
                found.append(Finding(ranks[:1], "exchange between two nodes", text, "works", remedy))
    good = {node: rate for node, rate in best.items() if rate is not None}
    remedy = f"look at its adapters, cables and interface names; {EXCLUDE}"
    return found + _slow(
        plan, good, rules.min_network_gbit, "--min-network-gbit", rules.slow_link, "bandwidth to other nodes", remedy
    )


def _partners(partners: Mapping[int, object]) -> str:
    return ("rank " if len(partners) == 1 else "ranks ") + ", ".join(map(str, sorted(partners)))


def _slow(
    plan: Plan, rates: Mapping[int, float], least: float, option: str, share: float, what: str, remedy: str
) -> list[Finding]:  # fmt: skip
    """Nodes below the rule, or below a share of the median of all others."""
    found = []
    for node, rate in rates.items():
        others = [other for at, other in rates.items() if at != node]
        if rate < least:
            rule = f"at least {number(least)} Gbit/s ({option})"
        elif others and rate < share * median(others):
            rule = f"at least {100 * share:g} % of the others' median, {number(median(others))} Gbit/s (--slow-link)"
        else:
            continue
        found.append(Finding((plan.nodes[node][0],), what, f"{number(rate)} Gbit/s", rule, remedy))
    return found
