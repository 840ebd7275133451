"""Conservation: what no model of a step may violate, whatever its constants are."""

import itertools

import numpy as np
import pytest

from reproduce.cluster import files, layers
from reproduce.cluster.answer import PARTS, RULES, changes, efficiency, limit, parts, sweep
from reproduce.cluster.compute import compute, inference, update
from reproduce.cluster.layers import resnet50
from reproduce.cluster.network import Shape, allreduce, shape, tree
from reproduce.cluster.run import TRAIN_IMAGES, evaluation_seconds, run
from reproduce.cluster.step import Work, expected_maximum, step
from reproduce.errors import ConfigError
from reproduce.paths import PUBLISHED
from reproduce.results import steptimes

ABCI = files.load("abci")
NO_LATENCY = {"network.ring_latency": 0, "network.tree_latency": 0, "network.launch": 0, "node.link_latency": 0}
BANDWIDTHS = ("network.adapter_bandwidth", "node.link_bandwidth", "network.adapters", "gpu.memory_bandwidth")


def machines(count):
    """Machines with every assumed constant anywhere in its range, and latencies and bandwidths far from ours."""
    random = np.random.default_rng(7)
    for _ in range(count):
        values = {name: random.uniform(*ABCI.constants[name].range) for name in ABCI.assumed}
        values |= {name: ABCI.get(name) * 10 ** random.uniform(-1.5, 1) for name in (*NO_LATENCY, *BANDWIDTHS[:2])}
        yield ABCI.with_values(values | {"software.contention": random.uniform(0, 1)})


# ---- allreduce ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [2, 8, 512])
def test_without_latency_an_allreduce_takes_bytes_over_bandwidth(nodes):
    one_gpu = ABCI.with_values(NO_LATENCY | {"node.gpus": 1, "network.tree_efficiency": 0.5})
    size = 51.1e6
    expected = 2 * (nodes - 1) / nodes * size / one_gpu.wire
    assert allreduce(size, Shape(1, nodes), one_gpu) == pytest.approx(expected)
    inside = ABCI.with_values(NO_LATENCY)
    assert allreduce(size, Shape(4, 1), inside) == pytest.approx(2 * 3 / 4 * size / inside.bus)
    assert one_gpu.wire == pytest.approx(2 * 12.5e9 * 0.88), "one GPU has both adapters to itself"
    assert inside.wire == pytest.approx(2 * 12.5e9 * 0.88 / 4)


def test_one_group_without_latency_is_exposed_for_its_bytes_over_bandwidth():
    quiet = NO_LATENCY | {"software.group_wait": 0, "software.pack_passes": 0, "network.tree_efficiency": 0.5}
    cluster = ABCI.with_values(quiet)
    one = step(Work(40, "single"), 2048, cluster)
    total = sum(group.megabytes(2) for group in Work(40, "single").groups) * 1e6
    ring = 2 * 511 / 512 * total / 4 / cluster.wire + 2 * 3 / 4 * total / cluster.bus
    assert one.communication == pytest.approx(ring) and one.exposed == pytest.approx(ring)


def test_two_adapters_and_oversubscription_share_the_wire():
    assert ABCI.with_values({"network.adapters": 4}).wire == pytest.approx(2 * ABCI.wire)
    assert ABCI.with_values({"network.oversubscription": 2}).wire == pytest.approx(ABCI.wire / 2)


def test_a_large_message_takes_the_ring_and_a_small_one_the_tree():
    where = Shape(4, 512)
    small, slow_tree = allreduce(1e4, where, ABCI), ABCI.with_values({"network.tree_latency": 1e3})
    assert small < 2 * 511 * ABCI.network.ring_latency
    assert allreduce(4e9, where, ABCI) == pytest.approx(allreduce(4e9, where, slow_tree))


def test_a_hop_of_a_tree_costs_no_more_than_the_whole_message():
    small, large = 1e3, 1e8
    for size, hop in ((small, ABCI.network.ring_latency + small / ABCI.wire), (large, ABCI.network.tree_latency)):
        expected = 2 * 9 * hop + 2 * size / (ABCI.wire * ABCI.network.tree_efficiency)
        assert tree(size, 512, ABCI) == pytest.approx(expected)


def test_packing_passes_through_memory():
    for passes in (0, 2, 4):
        packed = step(Work(40), 2048, ABCI.with_values({"software.pack_passes": passes}))
        bare = step(Work(40), 2048, ABCI.with_values({"software.pack_passes": 0}))
        size = sum(sent.size for sent in packed.sums)
        extra = passes * size / (ABCI.gpu.memory_bandwidth * ABCI.gpu.memory_efficiency)
        assert packed.communication - bare.communication == pytest.approx(extra)


def test_gpus_fill_nodes_and_no_machine_is_larger_than_it_is():
    assert shape(2, ABCI) == Shape(2, 1) and shape(2048, ABCI) == Shape(4, 512)
    for gpus, said in ((6, "multiple of 4"), (0, "modelled for 1 to 4,352"), (8192, "modelled for 1 to 4,352")):
        with pytest.raises(ConfigError, match=said):
            shape(gpus, ABCI)


# ---- step -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_parts_add_up_and_overlap_never_beats_the_longer_of_the_two(rule):
    for cluster, gpus, overlap in itertools.product(machines(6), (4, 64, 2048), (True, False)):
        one = step(Work(40, rule, overlap), gpus, cluster)
        assert sum(getattr(one, name) for name in PARTS) == pytest.approx(one.total)
        assert min(getattr(one, name) for name in PARTS) >= 0
        alone = step(Work(40, rule), 1, cluster)
        assert one.total >= max(alone.total, one.communication) * (1 - 1e-12)
        assert one.exposed <= one.communication + len(one.sums) * cluster.software.group_wait + 1e-12
        assert one.communication == pytest.approx(sum(sent.end - sent.start for sent in one.sums))


@pytest.mark.parametrize("name", BANDWIDTHS)
def test_more_bandwidth_never_slows_a_step(name):
    for cluster, rule, overlap in itertools.product(machines(12), ("layer", "size:4MB", "cubic:3"), (True, False)):
        job, factors = Work(40, rule, overlap), (0.5, 1, 1.1, 2, 8)
        times = [step(job, 2048, cluster.with_values({name: factor * cluster.get(name)})).total for factor in factors]
        assert all(later <= earlier * (1 + 1e-12) for earlier, later in zip(times, times[1:])), (name, rule, overlap)


@pytest.mark.parametrize("name", ["network.ring_latency", "network.tree_latency", "software.jitter", "software.host",
                                  "software.contention", "software.group_wait", "gpu.kernel_gap"])  # fmt: skip
def test_nothing_that_costs_time_makes_a_step_quicker(name):
    for cluster in machines(8):
        dearer = cluster.with_values({name: 2 * cluster.get(name) + 1e-9})
        assert step(Work(40), 2048, dearer).total >= step(Work(40), 2048, cluster).total * (1 - 1e-12)


def test_sums_follow_each_other_in_order_and_after_their_gradients():
    for rule in RULES:
        one = step(Work(40, rule), 2048, ABCI)
        assert all(sent.ready + ABCI.software.group_wait <= sent.start + 1e-15 for sent in one.sums)
        assert all(later.start >= earlier.end for earlier, later in zip(one.sums, one.sums[1:]))
        assert one.forward_end < one.sums[0].ready <= one.backward_end or rule == "single"
        after = step(Work(40, rule, overlap=False), 2048, ABCI)
        assert all(sent.ready == after.backward_end for sent in after.sums) and after.contention == 0
        assert after.total >= one.total


def test_groups_simulated_are_the_groups_executed():
    """As many sums, of as many bytes, as the communication benchmark logged when it trained with these rules."""
    result = steptimes.read(PUBLISHED / "quick")
    local, checked = files.load("local"), 0
    for timing in result.networks[0].timings:
        if timing.variant.rule in ("ddp", "none") or timing.variant.wire != "fp32":
            continue
        one = step(Work(8, timing.variant.rule, timing.variant.overlap, 64), 4, local)
        assert len(one.sums) == timing.groups, timing.variant
        assert sum(sent.size for sent in one.sums) == pytest.approx(timing.bytes, rel=1e-9), timing.variant
        checked += 1
    assert checked == 8


def test_half_precision_halves_all_but_batch_norm():
    norm = 4 * sum(tensor.elements for tensor in layers.tensors(resnet50()) if tensor.batch_norm)
    rest = 2 * (25_557_032 - norm / 4)
    assert sum(sent.size for sent in step(Work(40), 8, ABCI).sums) == pytest.approx(norm + rest)


def test_compute_is_slowed_only_while_a_sum_is_under_way():
    busy = ABCI.with_values({"software.contention": 0.5, "software.jitter": 0})
    one, calm = step(Work(40), 2048, busy), step(Work(40), 2048, busy.with_values({"software.contention": 0}))
    during = sum(max(0.0, min(sent.end, one.backward_end) - sent.start) for sent in one.sums)
    assert one.contention == pytest.approx(during * 0.5 / 1.5)
    assert calm.contention == 0 and calm.total < one.total


def test_the_slowest_of_many_ranks_is_slower():
    """Expected maxima of normal draws, from published tables: 10 draws 1.54, 100 draws 2.51, 1,000 draws 3.24."""
    for ranks, expected in ((10, 1.539), (100, 2.508), (1000, 3.241)):
        assert expected_maximum(ranks) == pytest.approx(expected, abs=0.07)
    assert expected_maximum(1) == 0
    few, many = (step(Work(40), gpus, ABCI).jitter for gpus in (8, 2048))
    assert 0 < few < many


def test_one_gpu_has_nobody_to_exchange_with():
    one = step(Work(40), 1, ABCI)
    assert one.sums == () and one.exposed == one.contention == one.jitter == 0
    assert step(Work(40, "layer"), 1, ABCI).total == one.total


# ---- compute --------------------------------------------------------------------------------------------------------


def test_no_layer_beats_the_peak_of_the_tensor_cores_or_of_the_memory():
    ideal = ABCI.with_values({"software.slowdown": 1, "gpu.tensor_efficiency": 1, "gpu.memory_efficiency": 1,
                              "gpu.kernel_gap": 0})  # fmt: skip
    for batch in (1, 40, 208):
        found = compute(resnet50(), batch, ideal)
        for layer, forward, backward in zip(resnet50(), found.forward, found.backward):
            flops = 2 * batch * layer.macs
            moved = 2 * batch * (3 * layer.outputs if layer.kind == "norm" else layer.inputs + layer.outputs)
            assert forward >= max(flops / ideal.gpu.tensor_peak, moved / ideal.gpu.memory_bandwidth) * (1 - 1e-12)
            products = 1 if layer.name == "conv1" else 2
            assert backward >= products * flops / ideal.gpu.tensor_peak
    assert update(resnet50(), ideal) == pytest.approx(26 * 25_557_032 / 900e9)


def test_small_batches_cost_more_per_image():
    rates = [batch / sum(compute(resnet50(), batch, ABCI).forward) for batch in (1, 8, 40, 208)]
    assert rates == sorted(rates)
    assert inference(resnet50(), 40, ABCI) < sum(compute(resnet50(), 40, ABCI).forward)


# ---- run, answer ----------------------------------------------------------------------------------------------------


def test_a_run_is_its_parts_and_both_rates_follow_from_them():
    whole = run(Work(40), 2048, ABCI)
    assert whole.updates == 1440 and whole.evaluations == 23
    assert whole.total == pytest.approx(1440 * whole.step.total + whole.evaluation + whole.start_up)
    assert whole.overall_rate == pytest.approx(90 * TRAIN_IMAGES / whole.total)
    assert whole.overall_rate < whole.step.images_per_second == pytest.approx(81_920 / whole.step.total)
    assert whole.evaluation == pytest.approx(23 * evaluation_seconds(Work(40), whole.step, ABCI))
    assert run(Work(42), 2048, ABCI, updates=1340).updates == 1340


def test_the_answer_names_shares_limits_and_gains_that_come_true():
    job = Work(40, "single")
    one = step(job, 2048, ABCI)
    assert sum(parts(one).values()) == pytest.approx(one.total)
    assert limit(one)[0] == "the GPUs' compute" and 0.5 < limit(one)[1] < 1
    assert limit(step(job, 2048, ABCI.with_values({"network.adapter_efficiency": 0.01})))[0] == "communication"
    found = changes(job, 2048, ABCI)
    assert found == sorted(found, reverse=True) and min(gain for gain, _ in found) >= 0
    gains = {what: gain for gain, what in found}
    best = max(RULES, key=lambda rule: step(Work(40, rule), 2048, ABCI).images_per_second)
    better = step(Work(40, best), 2048, ABCI).images_per_second / one.images_per_second
    assert gains[f"gradients grouped by {best}"] == pytest.approx(100 * (better - 1))


def test_efficiency_is_one_on_one_gpu_and_falls():
    assert efficiency(Work(40), 1, ABCI) == 1
    assert 0.5 < efficiency(Work(40), 2048, ABCI) < efficiency(Work(40), 64, ABCI) < 1


def test_a_sweep_has_every_power_of_two_up_to_4096():
    found = sweep(ABCI, 40)
    assert list(found) == [2**k for k in range(1, 13)]
    assert all(len(steps) == len(RULES) == 6 for steps in found.values())
    assert list(sweep(files.load("dgx2h"), 40)) == [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]


def test_an_impossible_question_is_refused():
    with pytest.raises(ConfigError, match="must be at least 1"):
        Work(0)
    with pytest.raises(ConfigError, match="group rule 'ring'"):
        step(Work(40, "ring"), 8, ABCI)
