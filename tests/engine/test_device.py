"""Which device a process takes: with a stand-in for PyTorch's view of the GPUs, and one for nvidia-smi's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.distributed import HashStore

from reproduce import gpus
from reproduce.engine import device
from reproduce.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
HOPPER = ["sm_80", "sm_90", "compute_90"]


@pytest.fixture
def machine(monkeypatch):
    """Makes PyTorch see `seen` GPUs and nvidia-smi list `listed`."""

    def made(seen: int, listed: int | None = None, fault: str = "", hidden: bool = False, capability=(9, 0)):
        listed = seen if listed is None else listed
        monkeypatch.setattr(torch.cuda, "is_available", lambda: seen > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
        monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla V100")
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: HOPPER)
        monkeypatch.setattr(gpus, "gpus", lambda: gpus.Gpus(listed, listed, fault, hidden))

    return made


def test_a_machine_without_gpus_trains_on_its_cpu_and_one_with_gpus_on_them(machine):
    machine(0)
    assert device.pick_device("auto") == torch.device("cpu")
    machine(8)
    assert device.pick_device("auto", 3) == torch.device("cuda", 3)
    assert device.pick_device("cpu", 3) == torch.device("cpu")


def test_hidden_gpus_are_not_wanted(machine):
    machine(0, hidden=True)
    assert device.pick_device("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match="hides every GPU"):
        device.pick_device("cuda")


@pytest.mark.parametrize(
    ("listed", "fault", "says"),
    [(8, "", "nvidia-smi lists 8 GPUs, but PyTorch .* cannot use them: .+: mend that, or add --device cpu"),
     (0, "nvidia-smi: Driver/library version mismatch", "cannot be used: nvidia-smi: Driver/library version mismatch")],
)  # fmt: skip
@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_gpus_that_cannot_be_used_are_refused_with_the_drivers_reason(machine, listed, fault, says, name):
    machine(0, listed, fault)
    with pytest.raises(ConfigError, match=says) as error:
        device.pick_device(name)
    assert "\n" not in str(error.value)
    assert device.pick_device("cpu").type == "cpu"


def test_a_gpu_that_the_build_has_no_code_for_is_refused(machine):
    machine(4, capability=(7, 0))
    with pytest.raises(ConfigError, match=r"Tesla V100 \(sm_70\): .* built for sm_80, sm_90, compute_90 only"):
        device.pick_device("auto")


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        ((7, 0), ["sm_70"], True), ((7, 0), ["sm_75", "sm_80"], False), ((7, 5), ["sm_70"], True),
        ((8, 6), ["sm_80"], True), ((9, 0), ["sm_80"], False), ((9, 0), ["sm_80", "compute_80"], True),
        ((9, 0), ["sm_90a"], True), ((12, 1), ["sm_120"], True), ((12, 0), ["sm_90", "compute_90"], True),
        ((7, 0), ["compute_75"], False), ((9, 1), ["sm_90a"], False), ((10, 3), ["sm_100f"], True), ((8, 0), [], False),
    ],
)  # fmt: skip
def test_what_runs_where(capability, built, runs):
    assert device.runs_on(capability, built) is runs


def test_a_process_that_sees_one_gpu_has_that_one(machine):
    machine(1)
    assert {device.pick_device("cuda", rank) for rank in range(4)} == {torch.device("cuda", 0)}
    machine(2)
    with pytest.raises(ConfigError, match="process 2 of this node has no GPU: 2 can be seen"):
        device.pick_device("cuda", 2)


def test_no_two_processes_of_a_node_share_a_gpu(monkeypatch):
    store, uuids = HashStore(), iter(["a", "b", "b"])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: type("P", (), {"uuid": next(uuids)}))
    one = torch.device("cuda", 0)
    device.check_own(store, one, 4, 0)
    device.check_own(store, one, 5, 1)
    with pytest.raises(ConfigError, match="ranks 5 and 6 have the same GPU"):
        device.check_own(store, one, 6, 2)


def test_the_engine_refuses_in_one_line_where_nvidia_smi_lists_gpus_nobody_can_use(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine's GPUs can be used")
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "GPU 0: NVIDIA A100 (UUID: GPU-0)"\n')
    program.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    env.pop("CUDA_VISIBLE_DEVICES", None)
    command = [sys.executable, "-m", "reproduce.engine.device", "1"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "nvidia-smi lists 1 GPUs, but PyTorch" in done.stderr
