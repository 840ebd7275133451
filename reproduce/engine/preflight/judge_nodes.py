"""Judges what ranks found out about themselves and their nodes: facts as `facts.gather` made them, to findings."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from reproduce.engine.preflight.findings import EXCLUDE, GIB, Finding, Rules, number, unlike, usual

HARD_REASONS = ("hw_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown", "sw_thermal_slowdown")
Facts = Mapping[int, dict]  # by rank


def nodes(facts: Facts) -> dict[int, list[int]]:
    """Ranks by node."""
    found: dict[int, list[int]] = {}
    for rank in sorted(facts):
        found.setdefault(facts[rank]["node"], []).append(rank)
    return found


def of(facts: Facts, name: str) -> dict[int, Any]:
    """One fact, of the ranks that have it."""
    return {rank: facts[rank][name] for rank in sorted(facts) if name in facts[rank]}


def silent(world_size: int, facts: Facts, last_at: Mapping[int, str], seconds: float) -> list[Finding]:
    """Ranks that gave no facts; `last_at`: what those that were ever heard of were doing last."""
    rule, remedy = f"facts within {seconds:g} s of rank 0's", f"see whether the node is up; else {EXCLUDE}"
    found = []
    for rank in range(world_size):
        if rank not in facts:
            seen = f"no answer: last at {last_at[rank]}" if rank in last_at else "never heard of"
            found.append(Finding((rank,), "answer", seen, rule, remedy))
    return found


def broken(facts: Facts) -> list[Finding]:
    """Facts that could not be had."""
    remedy = f"run it on that node by hand; else {EXCLUDE}"
    return [
        Finding((rank,), what, reason, "can be found out", remedy)
        for rank in sorted(facts)
        for what, reason in facts[rank]["broken"].items()
    ]


def placement(facts: Facts) -> list[Finding]:
    """The ranks of a node must follow one another: exchange in two stages counts on it."""
    found, remedy = [], "have the launcher place ranks in blocks, one node after the other"
    for node, ranks in nodes(facts).items():
        for rank in ranks:
            host, first = facts[rank]["host"], facts.get(node, facts[ranks[0]])["host"]
            if host != first:
                rule = f"on {first}, with local rank 0 of its node, rank {node}"
                found.append(Finding((rank,), "placement", f"on {host}", rule, remedy))
    return found


# ---- GPUs ---------------------------------------------------------------------------------------------------------


def gpus(facts: Facts, rules: Rules, cuda: bool) -> list[Finding]:
    """Number, type, driver, and, where the job uses GPUs (`cuda`), whether each rank has one.

    A rank that may see its own GPU alone counts with the others of its node: GPUs are told apart by their UUIDs.
    """
    answers = {node: _gpus_of_node(facts, ranks) for node, ranks in nodes(facts).items()}
    seen = {node: listed for node, listed in answers.items() if listed is not None}
    if not seen:
        return []
    counts = {node: len(found) for node, found in seen.items()}
    if rules.gpus_per_node is not None:
        expected, rule = rules.gpus_per_node, f"{rules.gpus_per_node} (--gpus-per-node)"
    else:
        expected, rule = usual(counts).value, usual(counts).rule()
    found = []
    for node, count in counts.items():
        if count != expected:
            error = facts[node]["gpus"]["error"] if "gpus" in facts.get(node, {}) else ""
            text = f"{count} ({error})" if error else str(count)
            found.append(Finding((node,), "GPUs", text, rule, f"look at nvidia-smi and dmesg there; {EXCLUDE}"))
    names = {node: ", ".join(sorted({gpu["name"] for gpu in found})) for node, found in seen.items() if found}
    if rules.gpu is None:
        found += unlike(names, "GPU type", EXCLUDE)
    else:
        for node, gpus_there in seen.items():
            others = sorted({gpu["name"] for gpu in gpus_there if rules.gpu.lower() not in gpu["name"].lower()})
            if others:
                found.append(Finding((node,), "GPU type", ", ".join(others), f"{rules.gpu} (--gpu)", EXCLUDE))
    drivers = {node: ", ".join(sorted({gpu["driver"] for gpu in found})) for node, found in seen.items() if found}
    found += unlike(drivers, "GPU driver", EXCLUDE)
    if cuda:
        for rank, usable in of(facts, "usable_gpu").items():
            unfit = facts[rank].get("unfit_gpu", "")
            if not usable and counts.get(facts[rank]["node"]) == expected:  # else it has been said
                text = f"none for local rank {facts[rank]['local_rank']}" + (f" ({unfit})" if unfit else "")
                remedy = "compare the driver with PyTorch's CUDA, and CUDA_VISIBLE_DEVICES with the ranks of a node"
                found.append(Finding((rank,), "GPU for PyTorch", text, "one per rank", remedy))
            elif usable and unfit:
                what, _, remedy = unfit.rpartition(": ")
                found.append(Finding((rank,), "GPU for PyTorch", what, "PyTorch's build has code for it", remedy))
            error = facts[rank].get("gpus", {}).get("load_error")
            if error:
                remedy = f"look for processes that were left on it; {EXCLUDE}"
                found.append(Finding((rank,), "GPU", error, "computes", remedy))
    return found


def _gpus_of_node(facts: Facts, ranks: list[int]) -> list[dict] | None:
    seen = [facts[rank]["gpus"]["gpus"] for rank in ranks if "gpus" in facts[rank]]
    return list({gpu["uuid"]: gpu for found in seen for gpu in found}.values()) if seen else None


def clocks(facts: Facts, rules: Rules) -> list[Finding]:
    """The slowest GPU of each node against the median of the nodes, and brakes that are on; only under load."""
    slowest: dict[int, tuple[int, str]] = {}
    found = []
    for node, ranks in nodes(facts).items():
        best: dict[str, int] = {}
        reasons: dict[str, set[str]] = {}
        for rank in ranks:
            if not facts[rank].get("gpus", {}).get("loaded"):
                continue
            for gpu in facts[rank]["gpus"]["gpus"]:  # also those of the other ranks, which may be idle just then
                best[gpu["uuid"]] = max(best.get(gpu["uuid"], 0), gpu["mhz"] or 0)
                reasons.setdefault(gpu["uuid"], set()).update(gpu["slowed_by"])
        hard = sorted({reason for of_one in reasons.values() for reason in of_one if reason in HARD_REASONS})
        if hard:
            remedy = f"look at its cooling and power; {EXCLUDE}"
            found.append(Finding((node,), "GPU slowed down", ", ".join(hard), "no throttling under load", remedy))
        if best:
            uuid = min(best, key=best.__getitem__)
            slowest[node] = best[uuid], ", ".join(sorted(reasons[uuid]))
    if len(slowest) < 2:
        return found
    middle = median(mhz for mhz, _ in slowest.values())
    for node, (mhz, why) in slowest.items():
        if mhz < rules.slow_clock * middle:
            text = f"{mhz:,} MHz" + (f" ({why})" if why else "")
            rule = f"at least {100 * rules.slow_clock:g} % of the nodes' median, {middle:,.0f} MHz"
            found.append(Finding((node,), "GPU clock", text, rule, f"look at its clocks and power limit; {EXCLUDE}"))
    return found


# ---- software, limits, room -----------------------------------------------------------------------------------------


def software(facts: Facts) -> list[Finding]:
    """The same versions, code and config everywhere: what most have is taken to be right."""
    told = of(facts, "versions")
    found = []
    for name in dict.fromkeys(name for versions in told.values() for name in versions):
        values = {rank: versions.get(name) or "not installed" for rank, versions in told.items()}
        found += unlike(values, f"version of {name}", "install the same environment on every node")
    code = {rank: (one["digest"], one["revision"]) for rank, one in of(facts, "code").items()}
    digests = {rank: digest for rank, (digest, _) in code.items()}
    same = "use one copy of the package, or copy it to every node again"
    named = {digest: f"{digest} (commit {revision})" if revision else digest for digest, revision in code.values()}
    found += unlike(digests, "code", same, lambda digest: named[digest])
    for rank, reason in of(facts, "refused_config").items():
        found.append(Finding((rank,), "config", reason, "a config that can be used", "correct it, or its path"))
    return found + unlike(of(facts, "config"), "config", "start every rank with the same config file")


def limits(facts: Facts, rules: Rules) -> list[Finding]:
    """Open files; locked memory only where there is InfiniBand, whose buffers are locked."""
    found = []
    for rank, one in of(facts, "limits").items():
        files, locked = one["open_files"], one["locked_memory"]
        if files is not None and files < rules.min_open_files:
            rule = f"at least {rules.min_open_files:,} (--min-open-files)"
            remedy = f"ulimit -n {rules.min_open_files} in the job script, or LimitNOFILE of the scheduler's daemon"
            found.append(Finding((rank,), "open files", f"{files:,}", rule, remedy))
        if one["infiniband"] and locked is not None:
            rule = f"unlimited, for {', '.join(one['infiniband'])}"
            remedy = "ulimit -l unlimited in the job script, or LimitMEMLOCK of the scheduler's daemon"
            found.append(Finding((rank,), "locked memory", f"{locked // 1024:,} KiB", rule, remedy))
    return found


def room(facts: Facts, rules: Rules) -> list[Finding]:
    """Free memory and free disks."""
    found = []
    for rank, free in of(facts, "memory").items():
        if free < rules.min_memory_gib * GIB:
            rule = f"at least {number(rules.min_memory_gib)} GiB (--min-memory-gib)"
            found.append(Finding((rank,), "free memory", _gib(free), rule, f"end what fills it; {EXCLUDE}"))
    for rank, disks in of(facts, "disks").items():
        for name, disk in disks.items():
            where = f"--{name} {disk['folder']}"
            if disk["free"] < rules.min_disk_gib * GIB:
                text = f"{_gib(disk['free'])} for {where}"
                rule = f"at least {number(rules.min_disk_gib)} GiB (--min-disk-gib)"
                found.append(Finding((rank,), "free disk", text, rule, "free some space"))
            elif disk["error"]:
                text = f"{disk['error']} in {where}"
                found.append(Finding((rank,), "disk", text, "can be written", "see mount and permissions there"))
    return found


def _gib(size: float) -> str:
    return f"{number(size / GIB)} GiB" if size >= GIB / 10 else f"{number(size / (1 << 20))} MiB"


# ---- data -----------------------------------------------------------------------------------------------------------


def data(facts: Facts) -> list[Finding]:
    """Present and as the config states, the same names everywhere, and the same bytes in the files drawn."""
    remedy = "copy it again: python -m reproduce.engine.data.stage, after removing what is there"
    told, found = of(facts, "data"), []
    for rank, one in told.items():
        if one["error"]:
            found.append(Finding((rank,), "data", one["error"], "what the config states", "stage the data anew"))
    whole = {rank: one for rank, one in told.items() if not one["error"]}
    names = {rank: one["names"] for rank, one in whole.items()}
    found += unlike(names, "names of the data files", remedy, lambda digest: f"digest {digest}")
    if not names:
        return found
    comparable = {rank: whole[rank]["sample"] for rank in names if names[rank] == usual(names).value}
    bad: dict[int, list[str]] = {}
    for name in next(iter(comparable.values())):
        digests = {rank: sample[name] for rank, sample in comparable.items()}
        unreadable = {rank for rank, digest in digests.items() if digest.startswith("unreadable")}
        for rank in unreadable | set(usual(digests).others):
            bad.setdefault(rank, []).append(name)
    for rank, files in bad.items():
        text = f"{files[0]} and {len(files) - 1} more" if len(files) > 1 else files[0]
        rule = f"the bytes that most nodes have, in all of {len(comparable[rank])} files drawn"
        found.append(Finding((rank,), "content of the data", f"differs: {text}", rule, remedy))
    return found
