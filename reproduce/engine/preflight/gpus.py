"""What nvidia-smi says of this node's GPUs, with their clocks while they compute. Torch only makes them do so."""

import csv
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from reproduce.engine import device

FIELDS = ("uuid", "name", "driver_version", "clocks.sm", "clocks.max.sm")
REASONS = ("clocks_throttle_reasons.active", "clocks_event_reasons.active")  # the same, renamed by newer drivers
# NVML's nvmlClocksThrottleReasons; being idle, or at clocks that an administrator has set, slows nothing down
SLOWED_BY = {
    0x04: "sw_power_cap", 0x08: "hw_slowdown", 0x20: "sw_thermal_slowdown", 0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
}  # fmt: skip
QUERY_SECONDS = 30
WARM_SECONDS = 1.0  # for the clock to rise
LOAD_SIZE, LOAD_PRODUCTS = 8192, 8  # square matrices in half precision: one product takes 1 to 10 ms


def query() -> dict:
    """{"gpus": [...], "error": "..."}: uuid, name, driver, clock and highest clock in MHz, what slows it down.

    The error is nvidia-smi's last line where it failed, as it does when a GPU has fallen off the bus; else empty.
    """
    for reasons in REASONS:
        command = ["nvidia-smi", f"--query-gpu={','.join((*FIELDS, reasons))}", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_SECONDS)
        except FileNotFoundError:
            return {"gpus": [], "error": "no nvidia-smi"}
        except subprocess.TimeoutExpired:
            return {"gpus": [], "error": f"nvidia-smi gave no answer for {QUERY_SECONDS} s"}
        if "not a valid field" not in done.stdout + done.stderr:
            break
    gpus = parse(done.stdout)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    failed = f"exit code {done.returncode}" if not lines else lines[-1].strip()
    return {"gpus": gpus, "error": failed if done.returncode else ""}


def parse(text: str) -> list[dict]:
    """The rows of nvidia-smi's CSV; lines that are not rows, such as complaints about a lost GPU, are passed over."""
    gpus = []
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        if len(row) != len(FIELDS) + 1 or not row[0].startswith(("GPU-", "MIG-")):
            continue
        uuid, name, driver, clock, highest, reasons = (value.strip() for value in row)
        gpus.append({
            "uuid": uuid, "name": name, "driver": driver, "mhz": _number(clock), "highest_mhz": _number(highest),
            "slowed_by": slowed_by(reasons),
        })  # fmt: skip
    return gpus


def slowed_by(mask: str) -> list[str]:
    """From the mask as printed: "0x0000000000000048"; empty for "[N/A]"."""
    bits = int(mask, 16) if re.fullmatch(r"0x[0-9a-fA-F]+", mask) else 0
    return [name for bit, name in SLOWED_BY.items() if bits & bit]


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def usable(local_rank: int) -> bool:
    """Whether PyTorch finds the GPU that training would give this rank."""
    import torch

    return torch.cuda.is_available() and (local_rank < torch.cuda.device_count() or torch.cuda.device_count() == 1)


def unfit(local_rank: int) -> str:
    """Why PyTorch cannot compute on the GPU that training would give this rank, remedy last; empty if it can."""
    import torch

    if not torch.cuda.is_available():
        return device.torch_says()  # nvidia-smi is asked once, and may hang
    return device.misfit(device.index_of(torch.cuda.device_count(), local_rank)) if usable(local_rank) else ""


def query_under_load(local_rank: int) -> dict:
    """`query` while this rank's GPU multiplies matrices: an idle GPU runs at a low clock.

    "loaded" says whether it did, "load_error" why it could not though PyTorch finds it.
    """
    if not usable(local_rank):
        return query() | {"loaded": False}
    import torch

    where = torch.device("cuda", device.index_of(torch.cuda.device_count(), local_rank))
    try:
        matrix = torch.randn(LOAD_SIZE, LOAD_SIZE, device=where, dtype=torch.float16)
        out = torch.empty_like(matrix)

        def compute() -> None:
            for _ in range(LOAD_PRODUCTS):
                torch.mm(matrix, matrix, out=out)
            torch.cuda.synchronize(where)

        warm = time.monotonic() + WARM_SECONDS
        while time.monotonic() < warm:
            compute()
        with ThreadPoolExecutor(1) as aside:
            answer = aside.submit(query)
            while not answer.done():
                compute()
            return answer.result() | {"loaded": True}
    except RuntimeError as error:  # such as no memory left on it, by a process that has not ended
        return query() | {"loaded": False, "load_error": " ".join(str(error).split())[:120]}
