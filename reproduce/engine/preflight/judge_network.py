"""Judges clocks against rank 0's, and links against the rules and against one another."""

from collections.abc import Mapping
from statistics import median

from reproduce.engine.preflight.findings import EXCLUDE, Finding, Rules, number
from reproduce.engine.preflight.links import Plan


def skew(measured: Mapping[int, dict], rules: Rules) -> list[Finding]:
    """`measured` as by `clocks.measure`. Off by more than allowed even if the measurement errs as far as it can.

    Where most nodes are off, it is rank 0's clock, and they are compared with their median.
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
    # of the others, what their ranks add up to is not known, and something has been said of them already
    whole = {node: ranks for node, ranks in plan.nodes.items() if all(rank in rates for rank in ranks)}
    met = {node: _by_partner([rates[rank]["pairs"] for rank in ranks]) for node, ranks in whole.items()}
    works = {node: [r for r in of.values() if not isinstance(r, str)] for node, of in met.items()}
    found = []
    for node, partners in met.items():
        reasons = {partner: rate for partner, rate in partners.items() if isinstance(rate, str)}
        if reasons and not works[node]:
            text = f"none with {_named(reasons)}: {next(iter(reasons.values()))}"
            found.append(Finding((node,), "exchange with other nodes", text, "works", EXCLUDE))
            continue
        for partner, reason in reasons.items():
            if works.get(partner) and node < partner:
                text, remedy = f"none between ranks {node} and {partner}: {reason}", "look at the routes between them"
                found.append(Finding((node,), "exchange between two nodes", text, "works", remedy))
    best = {node: max(there) for node, there in works.items() if there}
    remedy = f"look at its adapters, cables and interface names; {EXCLUDE}"
    what = "bandwidth to other nodes"
    return found + _slow(plan, best, rules.min_network_gbit, "--min-network-gbit", rules.slow_link, what, remedy)


def _by_partner(of_ranks: list[list]) -> dict[int, float | str]:
    """What the ranks of a node reach together with each partner; the reason, if one of them does not."""
    found: dict[int, float | str] = {}
    for partner, rate in (pair for pairs in of_ranks for pair in pairs):
        before = found.get(partner, 0.0)
        failed = [one for one in (before, rate) if isinstance(one, str)]
        found[partner] = failed[0] if failed else before + rate
    return dict(sorted(found.items()))


def _named(ranks) -> str:
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(map(str, ranks))


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
