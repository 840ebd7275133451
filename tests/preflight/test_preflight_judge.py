"""What the preflight says of facts: each fault gives one line that names its ranks, and sound facts give none."""

import copy

import pytest

from reproduce.engine.preflight import gpus, links
from reproduce.engine.preflight.findings import Finding, Rules
from reproduce.engine.preflight.judge import Gathered, judge
from reproduce.engine.preflight.table import spans, table

NODES = {0: [0, 1], 2: [2, 3], 4: [4, 5], 6: [6, 7]}
RULES = Rules(gpus_per_node=2, gpu="V100", min_node_gbit=100, min_network_gbit=50, min_memory_gib=8, min_disk_gib=1)


def sound() -> Gathered:
    """Four nodes of two ranks; each rank sees both GPUs of its node, its own of them at work."""
    facts, hello, rates = {}, {}, {}
    plan = links.plan(NODES, dict.fromkeys(range(8), True), "auto")
    for node, ranks in NODES.items():
        for rank in ranks:
            local = rank - node
            hello[rank] = {"host": f"n{node}", "address": f"10.0.0.{node}", "node": node}
            facts[rank] = {
                "host": f"n{node}", "node": node, "local_rank": local, "broken": {}, "usable_gpu": True,
                "versions": {"torch": "2.11.0", "apex": None}, "config": "c0ffee",
                "limits": {"open_files": 65536, "locked_memory": None, "infiniband": ["mlx5_0"]},
                "gpus": {"error": "", "loaded": True, "gpus": [
                    {"uuid": f"GPU-{node + i}", "name": "Tesla V100-SXM2-16GB", "driver": "418.67", "highest_mhz": 1530,
                     "mhz": 1500 if i == local else 135, "slowed_by": []} for i in (0, 1)]},
            }  # fmt: skip
            if not local:
                facts[rank] |= {
                    "code": {"digest": "abc", "revision": "f00"}, "memory": 100 << 30,
                    "disks": {"out": {"folder": "/r", "free": 9 << 30, "error": ""}},
                    "data": {"error": "", "train": 5, "val": 5, "classes": 1, "names": "d1",
                             "sample": {"train/a/1.JPEG": "11", "val/a/2.JPEG": "22"}},
                }  # fmt: skip
            partners = [b if a == node else a for pairs in plan.rounds for a, b in pairs if node in (a, b)]
            rates[rank] = {"node": 800.0, "pairs": [[partner, 45.0] for partner in partners]}
    skews = {node: {"offset": 0.002, "uncertainty": 0.001} for node in NODES if node}
    return Gathered(8, hello, dict.fromkeys(range(8), "the wait for rank 0"), facts, skews, plan, rates)


def found(told: Gathered, rules: Rules = RULES) -> list[Finding]:
    return judge(told, rules, 60)


def put(told: Gathered, path: str, value) -> None:
    """`path`: attribute, then keys, such as "facts 3 limits open_files"."""
    first, *keys, last = [int(key) if key.isdigit() else key for key in path.split()]
    place = getattr(told, first)
    for key in keys:
        place = place[key]
    place[last] = value


def test_sound_facts_give_no_finding():
    assert found(sound()) == []
    assert found(sound(), Rules()) == []


FAULTS = {
    "GPU type": ({"facts 4 gpus gpus 0 name": "P100", "facts 5 gpus gpus 0 name": "P100"}, (4,), "P100", "V100"),
    "GPU driver": ({"facts 2 gpus gpus 1 driver": "410.1", "facts 3 gpus gpus 1 driver": "410.1"}, (2,), "410.1",
                   "418.67, as on 3 of 4"),
    "GPU slowed down": ({"facts 7 gpus gpus 1 slowed_by": ["hw_thermal_slowdown"]}, (6,), "hw_thermal", "no thrott"),
    "GPU clock": ({"facts 5 gpus gpus 1 mhz": 1300}, (4,), "1,300 MHz", "at least 90 % of the nodes' median, 1,500"),
    "GPU": ({"facts 3 gpus load_error": "CUDA out of memory"}, (3,), "CUDA out of memory", "computes"),
    "GPU for PyTorch": ({"facts 3 usable_gpu": False}, (3,), "none for local rank 1", "one per rank"),
    "GPU for PyTorch ": ({"facts 3 unfit_gpu": "V100 (sm_70): PyTorch 2.14 is built for sm_80 only: install another"},
                         (3,), "V100 (sm_70): PyTorch 2.14 is built for sm_80 only", "has code for it"),
    " GPU for PyTorch": ({"facts 3 usable_gpu": False, "facts 3 unfit_gpu": "driver is too old"}, (3,),
                         "none for local rank 1 (driver is too old)", "one per rank"),
    "version of torch": ({f"facts {rank} versions torch": "2.12" for rank in (2, 3)}, (2, 3), "2.12", "2.11.0, as on"),
    "version of apex": ({"facts 3 versions apex": "0.1"}, (3,), "0.1", "not installed, as on 7 of 8 ranks"),
    "code": ({"facts 4 code": {"digest": "xyz", "revision": "bad"}}, (4,), "xyz (commit bad)", "abc (commit f00)"),
    "config": ({"facts 7 config": "decaf"}, (7,), "decaf", "c0ffee, as on 7"),
    "config ": ({"facts 6 refused_config": "x.toml: no such file"}, (6,), "x.toml: no such file", "can be used"),
    "open files": ({"facts 1 limits open_files": 1024}, (1,), "1,024", "at least 4,096"),
    "locked memory": ({"facts 6 limits locked_memory": 65536}, (6,), "64 KiB", "unlimited, for mlx5_0"),
    "free memory": ({"facts 2 memory": 7 << 30}, (2,), "7 GiB", "at least 8 GiB"),
    "free disk": ({"facts 2 disks out free": 1 << 20}, (2,), "1 MiB for --out /r", "at least 1 GiB"),
    "disk": ({"facts 2 disks out error": "Read-only file system"}, (2,), "Read-only file system in --out /r", "can be"),
    "names of the data files": ({"facts 6 data names": "d2"}, (6,), "d2", "d1, as on 3 of 4 ranks"),
    "content of the data": ({"facts 0 data sample val/a/2.JPEG": "23"}, (0,), "val/a/2.JPEG", "all of 2 files"),
    "data": ({"facts 2 data": {"error": "/d: is gone"}}, (2,), "/d: is gone", "what the config states"),
    "placement": ({"facts 3 host": "n4"}, (3,), "on n4", "on n2, with local rank 0"),
    "memory": ({"facts 4 broken memory": "OSError: no"}, (4,), "OSError: no", "can be found out"),
    "clock": ({"skews 4": {"offset": -3.0, "uncertainty": 0.1}}, (4,), "3,000 ms behind (to 100 ms)", "within 500 ms"),
    "exchange": ({"rates 5": {"error": "RuntimeError: NCCL"}}, (5,), "RuntimeError: NCCL", "ends well"),
    "bandwidth inside the node": ({"rates 3 node": 90.0}, (2,), "90 Gbit/s", "at least 100 Gbit/s (--min-node-gbit)"),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_is_one_finding_at_its_ranks(what):
    changes, ranks, text, rule = FAULTS[what]
    told = copy.deepcopy(sound())
    for path, value in changes.items():
        put(told, path, value)
    findings = found(told)
    assert [(one.ranks, one.what) for one in findings] == [(ranks, what.strip())], findings
    assert text in findings[0].found and rule in findings[0].rule and findings[0].remedy


def test_what_gpus_a_rank_may_see_does_not_change_how_many_a_node_has():
    """Schedulers that bind tasks to GPUs show each task its own."""
    told = sound()
    for rank, one in told.facts.items():
        one["gpus"]["gpus"] = one["gpus"]["gpus"][rank % 2 : rank % 2 + 1]
    assert found(told) == []
    told.facts[3]["gpus"] = {"gpus": [], "error": "GPU is lost", "loaded": False}
    (one,) = found(told)
    assert (one.ranks, one.what, one.found) == ((2,), "GPUs", "1")
    told.facts[2]["gpus"]["error"] = "Unable to determine the device handle"
    assert found(told)[0].found == "1 (Unable to determine the device handle)"


def test_clocks_of_idle_gpus_are_not_judged():
    told = sound()
    for rank in (2, 3):
        told.facts[rank]["gpus"]["loaded"] = False
        told.facts[rank]["gpus"]["gpus"][0]["mhz"] = 135
    assert found(told) == []


def test_locked_memory_matters_with_infiniband_alone():
    told = sound()
    told.facts[6]["limits"] = {"open_files": None, "locked_memory": 65536, "infiniband": []}
    assert found(told) == []


def test_a_file_that_is_unreadable_everywhere_is_found_everywhere():
    told = sound()
    for node in NODES:
        told.facts[node]["data"]["sample"]["val/a/2.JPEG"] = "unreadable: Input/output error"
    assert [one.ranks for one in found(told)] == [(0,), (2,), (4,), (6,)]


def test_silent_ranks_are_named_with_what_they_did_last():
    told = sound()
    del told.facts[7], told.hello[7], told.last_at[7], told.facts[5], told.rates[7], told.rates[5]
    told.last_at[5] = "data"
    plan = links.plan({0: [0, 1], 2: [2, 3], 4: [4], 6: [6]}, dict.fromkeys(range(8), True), "auto")
    told = Gathered(8, told.hello, told.last_at, told.facts, told.skews, plan, told.rates)
    answers = [one for one in found(told) if one.what == "answer"]
    assert [(one.ranks, one.found) for one in answers] == [((5,), "no answer: last at data"), ((7,), "never heard of")]


# ---- clocks ----------------------------------------------------------------------------------------------------------


def test_where_all_others_are_off_it_is_rank_0s_clock():
    told = sound()
    for node in told.skews:
        told.skews[node] = {"offset": 2.0 + node / 1000, "uncertainty": 0.001}
    (one,) = found(told)
    assert one.ranks == (0,) and "behind" in one.found and "the nodes' median" in one.rule


def test_a_measurement_that_is_no_better_than_its_uncertainty_accuses_nobody():
    told = sound()
    told.skews[4] = {"offset": 0.9, "uncertainty": 0.5}
    assert found(told) == []
    told.skews[4] = {}
    assert [(one.ranks, one.found) for one in found(told)] == [((4,), "no answer")]


# ---- links -----------------------------------------------------------------------------------------------------------


def slow(told: Gathered, node: int, rate: float | str) -> None:
    """All that `node` exchanges with others runs at `rate`, per rank, seen from either side."""
    for rank, one in told.rates.items():
        one["pairs"] = [[p, rate if node in (p, told.facts[rank]["node"]) else r] for p, r in one["pairs"]]


@pytest.mark.parametrize(
    ("rate", "rules", "rule"),
    [
        (20.0, RULES, "at least 50 Gbit/s (--min-network-gbit)"),
        (20.0, Rules(), "at least 50 % of the others' median, 90 Gbit/s"),
        (24.0, Rules(), None), (24.0, Rules(slow_link=0.6), "at least 60 %"), (1.0, Rules(slow_link=0), None),
    ],
)  # fmt: skip
def test_a_slow_node_is_told_from_its_partners(rate, rules, rule):
    told = sound()
    slow(told, 4, rate)
    findings = found(told, rules)
    if rule is None:
        assert findings == []
    else:
        assert [(one.ranks, one.what) for one in findings] == [((4,), "bandwidth to other nodes")]
        assert rule in findings[0].rule and findings[0].found == f"{2 * rate:g} Gbit/s"


def test_two_slow_nodes_do_not_excuse_each_other():
    told = sound()
    slow(told, 4, 10.0)
    slow(told, 6, 0.5)
    assert [(one.ranks, one.found) for one in found(told, Rules())] == [((4,), "20 Gbit/s"), ((6,), "1 Gbit/s")]


def test_a_node_that_exchanges_with_nobody_is_told_from_a_pair_that_does_not():
    told = sound()
    slow(told, 4, "Connection refused")
    (one,) = found(told)
    assert one.ranks == (4,) and one.found == "none with ranks 0, 2, 6: Connection refused"
    told = sound()
    for rank, partner in ((2, 6), (6, 2)):
        told.rates[rank]["pairs"] = [[p, "no route" if p == partner else r] for p, r in told.rates[rank]["pairs"]]
    (one,) = found(told)
    assert one.what == "exchange between two nodes" and one.found == "none between ranks 2 and 6: no route"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 513])
def test_every_node_meets_several_others_one_at_a_time(count):
    rounds = links.rounds(list(range(count)), links.ROUNDS)
    met: dict[int, set[int]] = {node: set() for node in range(count)}
    for pairs in rounds:
        names = [node for pair in pairs for node in pair]
        assert len(names) == len(set(names)), "two partners at once"
        for a, b in pairs:
            assert b not in met[a], "met twice"
            met[a].add(b)
            met[b].add(a)
    assert min(map(len, met.values())) >= min(count - 1, links.ROUNDS - 1)
    assert len(rounds) <= links.ROUNDS


def test_nodes_without_their_gpus_take_no_part_in_the_exchange():
    usable = dict.fromkeys(range(8), True) | {3: False}
    assert sorted(links.plan(NODES, usable, "auto").nodes) == [0, 4, 6]
    plan = links.plan(NODES, usable, "cpu")
    assert not plan.cuda and sorted(plan.nodes) == [0, 2, 4, 6]
    assert links.Plan.of(plan.json()) == plan


# ---- what is read and printed ----------------------------------------------------------------------------------------


def test_nvidia_smis_rows_are_read_and_its_complaints_passed_over():
    text = """GPU-1a, Tesla V100-SXM2-16GB, 418.67, 1290, 1530, 0x0000000000000044
Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost.
GPU-2b, "Tesla, V100", 418.67, [N/A], 1530, [N/A]
"""
    first, second = gpus.parse(text)
    assert first == {"uuid": "GPU-1a", "name": "Tesla V100-SXM2-16GB", "driver": "418.67", "mhz": 1290,
                     "highest_mhz": 1530, "slowed_by": ["sw_power_cap", "hw_thermal_slowdown"]}  # fmt: skip
    assert (second["name"], second["mhz"], second["slowed_by"]) == ("Tesla, V100", None, [])


def test_newer_drivers_that_renamed_a_field_are_asked_again(tmp_path, monkeypatch):
    script = tmp_path / "nvidia-smi"
    script.write_text(
        '#!/bin/sh\ncase "$*" in *throttle*) echo \'Field "clocks_throttle_reasons.active" is not a valid field to '
        "query.'; exit 2;; esac\necho 'GPU-1a, H100, 600.1, 1980, 1980, 0x08'\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = gpus.query()
    assert found["error"] == "" and [gpu["slowed_by"] for gpu in found["gpus"]] == [["hw_slowdown"]]
    script.write_text("#!/bin/sh\necho 'GPU-1a, H100, 600.1, 1980, 1980, 0x0'\necho 'GPU is lost' >&2\nexit 15\n")
    found = gpus.query()
    assert (len(found["gpus"]), found["error"]) == (1, "GPU is lost")


def test_the_table_has_a_line_per_finding_and_one_for_what_all_nodes_share():
    one, other = (Finding((rank,), "clock", "off", "right", "set it") for rank in (2, 4))
    lines = table([one, other], {2: "n2 (10.0.0.2)", 4: "n4 (10.0.0.4)"}, 3).splitlines()
    assert lines[1].split() == "n2 (10.0.0.2) 2 clock off right set it".split() and len(lines) == 3
    assert table([one, other], {}, 2).splitlines()[1].split() == "all 2 nodes 2,4 clock off right set it".split()
    assert table([one], {}, 3).splitlines()[1].startswith("unknown ")
    assert spans((3, 0, 1, 2, 7, 9, 8)) == "0-3,7-9"
