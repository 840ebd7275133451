"""Looks for bad nodes before a job trains: a table of them, and exit code 2, if there are any.

    srun python -m reproduce.engine.preflight paper_configs/headline_b81920_g2048.toml --data DIR --gpus-per-node 4

Started once per rank, by the launcher of the training. Nothing in it waits without a deadline; a rank that does not
answer is in the table.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from reproduce.engine.deadline import within
from reproduce.engine.dist.place import Place, find
from reproduce.engine.preflight import clocks, judge_nodes, links
from reproduce.engine.preflight.board import Board, last_resort, own_address
from reproduce.engine.preflight.facts import gather, limits
from reproduce.engine.preflight.findings import FILES_PER_RANK, Finding, Rules, as_rules
from reproduce.engine.preflight.judge import Gathered, judge
from reproduce.engine.preflight.table import table, write_report
from reproduce.errors import EXIT_USER_ERROR, ConfigError, NetworkError, UserError, command
from reproduce.recipe import load as configs
from reproduce.recipe.load import Config
from reproduce.words import Parser

LONGEST = 1_000_000  # seconds, twelve days
ANSWER = 2  # times --timeout: how much later than rank 0's a rank's facts may come; one of them may have hung
PATIENCE = 6  # times --timeout: how long the others wait for rank 0, which waits for each of them
BYE_SECONDS = 10.0  # that rank 0, which keeps the store, waits for the others to have read its verdict


def parse(argv) -> argparse.Namespace:
    rules = Rules()
    parser = Parser(prog="python -m reproduce.engine.preflight", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("config", type=Path, nargs="?", help="a file in paper_configs/: its data, and that all ranks have the same")
    add("--data", type=Path, help="folder with train/ and val/, compared with the config")
    add("--out", type=Path, help="results folder: free space, and that it can be written")
    add("--scratch", type=Path, help="node-local folder, likewise")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="what the links are measured with: NCCL on "
        "GPUs, Gloo on CPUs (default: GPUs where there are any)")  # fmt: skip
    add("--gpus-per-node", type=int, metavar="N", help="0 on a cluster of CPUs (default: as most nodes)")
    add("--gpu", metavar="NAME-PART", help="such as V100 (default: as most nodes)")
    add("--min-node-gbit", type=float, default=rules.min_node_gbit, metavar="GBIT", help="bus bandwidth of an "
        "allreduce inside the node, per rank and direction, in Gbit/s (10^9)")  # fmt: skip
    add("--min-network-gbit", type=float, default=rules.min_network_gbit, metavar="GBIT", help="of a whole node to "
        "another, one direction, in Gbit/s")  # fmt: skip
    add("--slow-link", type=float, default=rules.slow_link, metavar="SHARE", help="of the other nodes' median, below "
        "which a node's links are slow (default: %(default)s; 0: no such rule)")  # fmt: skip
    add("--slow-clock", type=float, default=rules.slow_clock, metavar="SHARE", help="of the nodes' median, below which "
        "a GPU's clock under load is slow (default: %(default)s)")  # fmt: skip
    add("--min-memory-gib", type=float, default=rules.min_memory_gib, metavar="GIB", help="free, per node")
    add("--min-disk-gib", type=float, default=rules.min_disk_gib, metavar="GIB", help="free at --out and --scratch")
    add("--max-skew-ms", type=float, default=rules.max_skew_ms, metavar="MS", help="of a node's clock against rank 0's "
        "(default: %(default)s)")  # fmt: skip
    add("--min-open-files", type=int, metavar="N", help=f"default: {rules.min_open_files}, or, if more, "
        f"{FILES_PER_RANK} for each rank: rank 0 keeps a store for all")  # fmt: skip
    add("--sample", type=int, default=64, metavar="N", help="files whose content is compared (default: %(default)s)")
    add("--timeout", type=float, default=60.0, metavar="SECONDS", help="that a rank may take for one of its facts; all "
        "may come twice as long after rank 0's (default: %(default)s)")  # fmt: skip
    add("--report", type=Path, metavar="FILE", help="also write all facts and findings, as JSON")
    add("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a value of the config")
    add("--variant", action="append", default=[], metavar="SECTION.KEY=VALUE", help="as training is given")
    given = parser.parse_args(argv)
    if given.data and not given.config:
        raise ConfigError("--data without a config: name the config, which says how many images there must be")
    if given.min_disk_gib and not (given.out or given.scratch):
        raise ConfigError("--min-disk-gib without --out or --scratch: name the folder whose disk is meant")
    if not 0 < given.timeout <= LONGEST or given.sample < 0:
        raise ConfigError(f"--timeout must be above 0 and at most {LONGEST:,} seconds, and --sample at least 0")
    return given


@command
def main(argv=None) -> int:
    given = parse(argv)
    place = find()
    if place.local_rank > place.rank:
        raise ConfigError(f"rank {place.rank} is process {place.local_rank} of its node: ranks must be placed node by "
                          "node: start them with srun --distribution=block or mpirun --map-by slot")  # fmt: skip
    patience = PATIENCE * given.timeout
    last_resort(place, 2 * patience + links.MAX_SECONDS)
    found = limits()  # as they are before rank 0 raises its own
    board = Board(place, given.timeout)
    hello = {"host": os.uname().nodename, "address": own_address(place), "node": place.first_of_node}
    board.tell(f"hello/{place.rank}", hello)
    began = time.monotonic()
    facts = look_around(given, place, board) | {"limits": found}
    board.answer("facts", facts)
    if place.rank == 0:
        return lead(given, place, board, began)
    if place.local_rank == 0:
        board.at("the comparison of clocks")
        clocks.answer(board, place.rank, patience)
    board.at("the wait for rank 0")
    plan = board.told("plan", patience)
    if plan is not None:
        exchange(board, links.Plan.of(plan))
        verdict = board.told("verdict", patience + links.MAX_SECONDS)
        if verdict is not None:
            board.answer("bye", None)
            return verdict
    raise NetworkError(
        f"rank {place.rank} on {hello['host']}: rank 0 at {board.rank0} is silent: look at what it says, and its node"
    )


def look_around(given: argparse.Namespace, place: Place, board: Board) -> dict:
    """This rank's facts. A config that is refused is a fact as well: all ranks would repeat the same error."""
    config: Config | None = None
    refused = ""
    try:
        config = configs.load(given.config, given.set, given.variant) if given.config else None
    except UserError as error:
        refused = str(error)
    disks = {name: folder for name in ("out", "scratch") if (folder := getattr(given, name))}
    facts = gather(place, config, given.data, disks, given.sample, given.timeout, board.at)
    if refused:
        facts["refused_config"] = refused
    return facts


def exchange(board: Board, plan: links.Plan) -> None:
    """This rank's part in the measurement of links."""
    place = board.place
    if place.rank not in plan.nodes.get(place.first_of_node, ()):
        return
    board.at("the exchange with other ranks")
    try:
        rates = within(plan.seconds, links.measure, plan, place, board.store())
    except Exception as error:  # whatever the library raises
        rates = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
    board.answer("links", rates)
    board.at("the wait for rank 0")


def lead(given: argparse.Namespace, place: Place, board: Board, began: float) -> int:
    """What rank 0 does: gather the facts, have clocks and links measured, judge, tell; returns the exit code."""
    rules, world = as_rules(given, place.world_size), place.world_size

    def say(what: str) -> None:
        print(f"preflight: {what}", file=sys.stderr, flush=True)

    say(f"{world} rank{'s' if world > 1 else ''}: facts")
    facts = board.collect("facts", world, ANSWER * given.timeout, say)
    nodes = judge_nodes.nodes(facts)
    say(f"{len(nodes)} node{'s' if len(nodes) > 1 else ''}: clocks")
    skews = clocks.measure(board, [node for node in nodes if node in facts and node != 0])
    usable = {rank: bool(one.get("usable_gpu")) for rank, one in facts.items()}
    plan = links.plan(nodes, usable, given.device)
    say(f"links by {'NCCL' if plan.cuda else 'Gloo'}")
    board.tell("plan", plan.json())
    exchange(board, plan)
    rates = board.collect("links", sum(map(len, plan.nodes.values())), plan.seconds, say)

    hello = {rank: found for rank in range(world) if (found := board.look(f"hello/{rank}"))}
    last_at = {rank: board.look(f"at/{rank}") or "the start" for rank in hello}
    told = Gathered(world, hello, last_at, facts, skews, plan, rates)
    findings = judge(told, rules, ANSWER * given.timeout)
    seconds = time.monotonic() - began
    print(verdict(findings, told.names, len(nodes), world, seconds), flush=True)
    code = EXIT_USER_ERROR if findings else 0
    try:
        if given.report:  # first: once the others leave with a 2, some launchers end this rank too
            write_report(given.report, report(told, rules, findings, seconds))
    except UserError:
        code = EXIT_USER_ERROR
        raise
    finally:
        board.tell("verdict", code)
        board.collect("bye", len(facts) - 1, BYE_SECONDS, say)
    return code


def report(told: Gathered, rules: Rules, findings: list[Finding], seconds: float) -> dict:
    """Everything, for programs: a job script that leaves out bad nodes, or one that asks what was measured."""
    listed = [vars(one) | {"host": told.names.get(one.ranks[0])} for one in findings]
    links_found = told.plan.json() | {"rates": told.rates}
    return {"ranks": told.world_size, "seconds": round(seconds, 1), "findings": listed, "rules": vars(rules),
            "facts": told.facts, "clocks": told.skews, "links": links_found}  # fmt: skip


def verdict(findings: list[Finding], names: dict[int, str], nodes: int, ranks: int, seconds: float) -> str:
    """What is printed at the end."""
    size = f"{nodes} node{'s' if nodes != 1 else ''}, {ranks} rank{'s' if ranks != 1 else ''}, {seconds:.1f} s"
    if not findings:
        return f"preflight: all well ({size})"
    count = f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"
    return f"{table(findings, names, nodes)}\npreflight: {count} ({size})"


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a thread that hangs, in a file system or a library, must not hold the process up
