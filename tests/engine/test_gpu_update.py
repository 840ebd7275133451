"""What an update would do to a GPU, without one: the real trainer on fake tensors (helpers/gpu_update_run.py).

Nothing in an update may wait for the device, read the host's memory, mix devices or types, or copy large tensors for
nothing; the sums travel in the order and the types of the team's set-up (facts e). How many kernels an update starts
and how much memory it takes is kept in tests/golden/gpu_updates.json; a change that is meant is written there by
`python -m tests.helpers.gpu_update_run --keep` and so is seen in its commit.
"""

import json
import os
import subprocess
import sys

import pytest
import torch

from tests.helpers import ROOT

KEPT = json.loads((ROOT / "tests/golden/gpu_updates.json").read_text())
RECIPES = [name for name in KEPT if name != "torch"]
SEVERAL = [name for name in RECIPES if name.startswith("paper")]
MEMORY = 1.01  # of the kept peak


@pytest.fixture(scope="module")
def found():
    """The facts of each scenario and fault, by name."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.helpers.gpu_update_run"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"the GPU that is not there no longer works: {done.stderr[-3000:]}"
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line.pop("name"): line for line in lines}


@pytest.mark.parametrize("name", RECIPES)
def test_an_update_runs_on_one_device(found, name):
    assert found[name]["error"] is None


@pytest.mark.parametrize("what", ["waits", "uploads", "layouts", "types", "stray gradients"])
@pytest.mark.parametrize("name", RECIPES)
def test_an_update_does_none_of(found, name, what):
    assert not found[name][what]


@pytest.mark.parametrize("name", RECIPES)
def test_large_tensors_are_copied_only_where_workers_are_split_and_joined(found, name):
    copies = found[name]["copies"]
    if name == "node":  # 53 batch norms: joined in the forward pass and in the backward pass
        assert sum(copies.values()) == 2 * 53 and all(line.startswith("cat") for line in copies), copies
    else:
        assert not copies


@pytest.mark.parametrize("name", [name for name in RECIPES if "recorded" in name])
def test_no_sum_is_added_up_in_an_order_of_chance(found, name):
    """After the exchange every process must compute the same bits, or their weights drift apart."""
    assert not {"index_add_", "index_add", "scatter_add_", "scatter_add", "index_put_"} & found[name]["kernels"].keys()


@pytest.mark.parametrize("name", RECIPES)
def test_kernels_and_memory_are_those_kept(found, name):
    """The number of a recipe, not only its limit: slack would let the next change hide."""
    assert torch.__version__.startswith(KEPT["torch"]), "another torch: compare by hand, then --keep"
    kept, kernels = KEPT[name], found[name]["kernels"]
    changed = {k: (kept["kernels"].get(k, 0), kernels.get(k, 0)) for k in kept["kernels"].keys() | kernels.keys()}
    assert not {k: v for k, v in changed.items() if v[0] != v[1]}, "kept and found; see --keep above"
    assert kept["peak"] / MEMORY <= found[name]["peak"] <= kept["peak"] * MEMORY


# ---- what travels ---------------------------------------------------------------------------------------------------

STAGES = ("reduce_scatter", "all_reduce", "all_gather")


def sums(facts: dict) -> list[tuple]:
    return [tuple(event) for event in facts["events"] if event[0] in STAGES]


def padded(elements: list[int], tensors: list[int]) -> list[tuple[int, int]]:
    """(least, most) elements of a group on the wire: each tensor begins on a row of 512, a group on one of 1,024."""
    return [(n, n + 512 * count + 1024) for n, count in zip(elements, tensors)]


@pytest.mark.parametrize("name", SEVERAL)
def test_groups_travel_as_facts_e_have_them(found, name):
    """Four groups of weights on the wire's type, then batch norm in fp32, each in the stages of its algorithm."""
    stages = ["all_reduce"] if "flat" in name else list(STAGES)
    sent = sums(found[name])
    assert [what for what, *_ in sent] == stages * 5
    whole = sent[:: len(stages)]
    wire = "float32" if "fp32" in name else "float16"
    assert [kind for _, kind, *_ in whole] == [wire] * 4 + ["float32"]
    # with three input channels; facts e count those of four
    elements, tensors = [2_049_000, 11_010_048, 10_027_008, 2_417_856, 53_120], [2, 7, 19, 27, 106]
    for (_, _, count, *_), (least, most) in zip(whole, padded(elements, tensors), strict=True):
        assert least <= count <= most
    if "flat" not in name:
        assert [group for _, _, _, group, *_ in sent] == ["node", "peers", "node"] * 5
        assert all(part == full / 2 for (_, _, full, *_), (_, _, part, *_) in zip(sent[::3], sent[1::3]))


@pytest.mark.parametrize("name", SEVERAL)
def test_sums_run_on_their_own_stream_beside_backward(found, name):
    sent, events = sums(found[name]), [tuple(event) for event in found[name]["events"]]
    assert {stream for *_, stream, _ in sent} == {"side"}
    threads = [thread for *_, thread in sent]
    assert threads.count("MainThread") < len(threads), "all of them after backward"
    last = max(place for place, event in enumerate(events) if event[0] in STAGES)
    assert ("wait", "main", "side") in events[last:], "the update does not wait for the last sum"
    assert not any(event[0] == "host waits" for event in events)


# ---- what the checks above find -------------------------------------------------------------------------------------


def test_without_a_fault_nothing_is_found(found):
    facts = found["no fault"]
    assert facts["error"] is None
    assert not any(facts[what] for what in ("waits", "uploads", "copies", "layouts", "types", "stray gradients"))
    assert {stream for *_, stream, _ in sums(facts)} == {"side"}


@pytest.mark.parametrize(
    ("fault", "what", "says"),
    [("item", "waits", "_local_scalar_dense"), ("upload", "uploads", "_to_copy"), ("nchw", "layouts", "weights"),
     ("half batch norm", "types", "native_batch_norm")],
)  # fmt: skip
def test_a_fault_is_found(found, fault, what, says):
    assert found[fault]["error"] is None
    assert any(says in line for line in found[fault][what])


def test_a_tensor_on_the_host_is_found(found):
    assert "same device" in found["cpu tensor"]["error"]


def test_a_sum_on_the_wrong_stream_is_found(found):
    assert "main" in {stream for *_, stream, _ in sums(found["wrong stream"])}
