"""Judges everything that was found out: a pure function from what all ranks told to findings."""

from dataclasses import dataclass

from reproduce.engine.preflight import judge_network, judge_nodes
from reproduce.engine.preflight.findings import Finding, Rules, joined
from reproduce.engine.preflight.links import Plan


@dataclass(frozen=True)
class Gathered:
    """What rank 0 knows at the end; all of it by rank."""

    world_size: int
    hello: dict[int, dict]  # host, address and node of the ranks that were ever heard of
    last_at: dict[int, str]  # what these said last that they were doing
    facts: dict[int, dict]  # see `facts.gather`
    skews: dict[int, dict]  # see `clocks.measure`
    plan: Plan
    rates: dict[int, dict]  # see `links.measure`

    @property
    def names(self) -> dict[int, str]:
        """Hosts with their addresses: some clusters, and all hosts of one machine, share a host name."""
        names = {rank: f"{one['host']} ({one['address'] or 'no address'})" for rank, one in self.hello.items()}
        # findings of a whole node go by its first rank, which may never have been heard of
        return {one["node"]: names[rank] for rank, one in self.hello.items()} | names


def judge(told: Gathered, rules: Rules, seconds: float) -> list[Finding]:
    """In the order of ranks, what the ranks of a node have in common joined; `seconds`: the deadline of the facts."""
    facts = told.facts
    found = judge_nodes.silent(told.world_size, facts, told.last_at, seconds)
    found += judge_nodes.broken(facts) + judge_nodes.placement(facts)
    found += judge_nodes.gpus(facts, rules, told.plan.cuda) + judge_nodes.clocks(facts, rules)
    found += judge_nodes.software(facts) + judge_nodes.limits(facts, rules)
    found += judge_nodes.room(facts, rules) + judge_nodes.data(facts)
    found += judge_network.skew(told.skews, rules)
    found += judge_network.links(told.plan, told.rates, told.last_at, rules)
    return joined(found, {rank: one["node"] for rank, one in told.hello.items()})
