"""The GPUs of this machine that a process may use, by nvidia-smi and CUDA_VISIBLE_DEVICES.

Asks the driver's own tool rather than PyTorch, which the runner does without. Imports nothing outside the standard
library.
"""

import functools
import os
import re
import subprocess
from dataclasses import dataclass

SECONDS = 60
MAX_REASON_LENGTH = 240  # characters
LISTED = re.compile(r"(\s*)(?:GPU|MIG)\b[^:]*:(?:.*\(UUID: ((?:GPU|MIG)-[^)\s]*)\))?")
NAMED = re.compile(r"\+?[0-9]|GPU-|MIG-")


@dataclass(frozen=True)
class Gpus:
    """`count` that a process sees, of `machine` in all; `fault`: why the driver cannot be used, in its own words.

    `hidden`: CUDA_VISIBLE_DEVICES hides all there may be, so that nothing is asked of the driver.
    """

    count: int
    machine: int
    fault: str = ""
    hidden: bool = False


@functools.cache
def gpus() -> Gpus:
    """Of this machine and this process's environment, asked once."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is not None and not NAMED.match(wanted.strip()):
        return Gpus(0, 0, hidden=True)
    found, fault = listing()
    return Gpus(visible(found, wanted), len(found), fault)


def listing() -> tuple[list[tuple[str, list[str]]], str]:
    """UUIDs of the GPUs, each with those of its MIG devices; and what nvidia-smi says where it fails.

    Nothing of both where there is no nvidia-smi: a machine without an NVIDIA driver.
    """
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except FileNotFoundError:
        return [], ""
    except OSError as error:
        return [], f"nvidia-smi: {error.strerror}"
    except subprocess.TimeoutExpired:
        return [], f"nvidia-smi gave no answer for {SECONDS} s"
    found = parse(done.stdout)
    said = "; ".join(line.strip() for line in (done.stdout + done.stderr).splitlines() if not LISTED.match(line))
    reason = said.strip("; ")[:MAX_REASON_LENGTH] or f"exit code {done.returncode}"
    return found, f"nvidia-smi: {reason}" if done.returncode else ""


def parse(text: str) -> list[tuple[str, list[str]]]:
    """What ``nvidia-smi -L`` lists: GPUs, and indented below each its MIG devices."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        match = LISTED.match(line)
        if match and not match[1]:
            found.append((match[2] or f"GPU-{len(found)}", []))
        elif match and found:
            found[-1][1].append(match[2] or "MIG-")
    return found


def visible(found: list[tuple[str, list[str]]], wanted: str | None) -> int:
    """How many of them CUDA shows a process. A process sees one MIG device at most, and then nothing else."""
    names = [uuid for uuid, _ in found]
    if wanted is not None and wanted.strip().startswith("MIG-"):
        first = wanted.split(",")[0].strip()
        known = first.startswith("MIG-GPU-") or any(part.startswith(first) for _, parts in found for part in parts)
        return int(bool(found) and known)
    chosen = names if wanted is None else selected(wanted, names)
    divided = {uuid for uuid, parts in found if parts}
    return 1 if divided & set(chosen) else len(chosen)


def selected(wanted: str, names: list[str]) -> list[str]:
    """The GPUs that a value of CUDA_VISIBLE_DEVICES names, as CUDA reads it: numbers, or UUIDs, or their beginnings.

    The first entry that names no GPU hides all that follow; one named twice hides all.
    """
    chosen: list[str] = []
    for entry in wanted.split(","):
        name = _named(entry.strip(), names)
        if name is None:
            break
        if name in chosen:
            return []
        chosen.append(name)
    return chosen


def _named(entry: str, names: list[str]) -> str | None:
    if entry.startswith("GPU-"):
        matching = [name for name in names if name.startswith(entry)]
        return entry if entry in names else matching[0] if len(matching) == 1 else None
    number = re.match(r"\+?[0-9]{1,9}", entry)
    return names[int(number[0])] if number and int(number[0]) < len(names) else None
