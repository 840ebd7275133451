"""Which GPUs a process may use: nvidia-smi's list and CUDA_VISIBLE_DEVICES, with a stand-in for nvidia-smi."""

import pytest

from reproduce import gpus

EIGHT = "".join(f"GPU {i}: NVIDIA A100-SXM4-40GB (UUID: GPU-{i}a-{i})\n" for i in range(8))
MIG = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-0a)
  MIG 3g.20gb     Device  0: (UUID: MIG-aa)
  MIG 3g.20gb     Device  1: (UUID: MIG-bb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-1a)
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes nvidia-smi print a text and end with a code; returns what is found then."""

    def found(text="", code=0, wanted=None):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\nexit {code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if wanted is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
        gpus.gpus.cache_clear()
        return gpus.gpus()

    yield found
    gpus.gpus.cache_clear()


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (None, 8), ("2,3", 2), ("7", 1), ("0, 1 ,2", 3), ("", 0), (" ", 0), ("-1", 0), ("NoDevFiles", 0), ("none", 0),
        ("0,-1,2", 1), ("0,9,1", 1), ("9", 0), ("1,1", 0), ("1,x", 1), ("0,", 1), ("GPU-3a", 1),
        ("GPU-3a-3,GPU-4a-4", 2), ("GPU-", 0), ("GPU-nobody", 0), ("GPU-3a-3,GPU-3a", 0), ("MIG-aa", 0),
    ],
)  # fmt: skip
def test_the_visible_ones_count_as_cuda_counts_them(machine, wanted, count):
    found = machine(EIGHT, wanted=wanted)
    assert found.count == count and found.fault == ""
    assert found.hidden == (wanted in ("", " ", "-1", "NoDevFiles", "none"))


@pytest.mark.parametrize(
    ("wanted", "count"),
    [(None, 1), ("0", 1), ("1", 1), ("MIG-aa", 1), ("MIG-aa,MIG-bb", 1), ("MIG-cc", 0), ("MIG-GPU-0a/1/0", 1)],
)
def test_a_process_sees_one_mig_device_at_most(machine, wanted, count):
    assert machine(MIG, wanted=wanted).count == count


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.161\n", 18,
         "nvidia-smi: Failed to initialize NVML: Driver/library version mismatch; NVML library version: 535.161"),
        (EIGHT + "Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost.\n", 15,
         "nvidia-smi: Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost."),
        ("", 9, "nvidia-smi: exit code 9"),
    ],
)  # fmt: skip
def test_a_driver_that_fails_gives_its_own_reason(machine, text, code, says):
    assert machine(text, code).fault == says
    hidden = machine(text, code, wanted="")
    assert hidden.fault == "" and hidden.hidden, "nobody is to be told of GPUs that are not wanted"


def test_without_nvidia_smi_there_is_neither_a_gpu_nor_a_fault(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus.listing() == ([], "")
