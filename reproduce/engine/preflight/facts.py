"""What a rank finds out about itself and its node: facts as JSON values, judged elsewhere.

A fact that cannot be had, or takes too long, is noted under "broken" with its reason: that is a finding too.
"""

import hashlib
import importlib.metadata
import os
import platform
import random
import resource
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import reproduce
from reproduce import files, revision
from reproduce.engine.data import folders
from reproduce.engine.deadline import within
from reproduce.engine.dist.place import Place
from reproduce.engine.preflight import gpus
from reproduce.errors import DataError
from reproduce.recipe.load import Config

PACKAGES = ("torch", "torchvision", "numpy", "apex")
SAMPLE_SEED = 20190329
PROBE_BYTES = 1 << 20  # written and removed, to see that a folder can be written


def gather(
    place: Place, config: Config | None, data: Path | None, disks: dict[str, Path], sample: int, seconds: float,
    at: Callable[[str], None],
) -> dict:  # fmt: skip
    """The facts of this rank and, from the first of a node, of its node; `at` is told what is being looked at.

    `disks`: folders to be written, by what they are for. `seconds`: that any one fact may take.
    """
    facts: dict = {"node": place.first_of_node, "local_rank": place.local_rank, "host": socket.gethostname()}
    facts["broken"] = {}
    looks: dict[str, Callable] = {
        "versions": versions,
        "gpus": lambda: gpus.query_under_load(place.local_rank),
        "usable_gpu": lambda: gpus.usable(place.local_rank),
        "unfit_gpu": lambda: gpus.unfit(place.local_rank),
    }
    if place.local_rank == 0:
        looks |= {"code": code, "memory": available_memory}
        looks["disks"] = lambda: {name: disk(folder) for name, folder in disks.items()}
        if config is not None:
            facts["config"] = config.hash
            if data is not None and config.data.dataset != "synthetic":
                looks["data"] = lambda: dataset(data, config.data, sample)
    for name, look in looks.items():
        at(name)
        try:
            facts[name] = within(seconds, look)
        except Exception as error:  # whatever it is, the others must hear of it
            facts["broken"][name] = " ".join(f"{type(error).__name__}: {error}".split())
    return facts


def versions() -> dict[str, str | None]:
    """Of what a run's numbers depend on; as installed here; None: not installed."""
    import torch

    found: dict[str, str | None] = {"python": platform.python_version(), "CUDA": torch.version.cuda}
    found["architectures"] = " ".join(torch.cuda.get_arch_list()) or None
    for name in PACKAGES:
        found[name] = _version(name)
    # DALI's package is named after the CUDA it was built for
    names = {(found.name or "").lower() for found in importlib.metadata.distributions()}
    dali = sorted(name for name in names if name.startswith("nvidia-dali"))
    found["DALI"] = ", ".join(f"{name} {_version(name)}" for name in dali) or None
    found["NCCL"] = ".".join(map(str, torch.cuda.nccl.version())) if torch.distributed.is_nccl_available() else None
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def limits() -> dict:
    """Soft limits, None for unlimited: open files, locked memory in bytes; and the InfiniBand devices."""

    def soft(which: int) -> int | None:
        value = resource.getrlimit(which)[0]
        return None if value == resource.RLIM_INFINITY else value

    devices = Path("/sys/class/infiniband")
    return {
        "open_files": soft(resource.RLIMIT_NOFILE),
        "locked_memory": soft(resource.RLIMIT_MEMLOCK),
        "infiniband": sorted(path.name for path in devices.iterdir()) if devices.is_dir() else [],
    }


def code() -> dict:
    """SHA-256 over the names and contents of this package's files, and the git commit where there is one."""
    root, digest = Path(reproduce.__file__).parent, hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.suffix != ".pyc"):
        digest.update(os.fsencode(f"{path.relative_to(root)}\0"))
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return {"digest": digest.hexdigest()[:12], "revision": revision.revision()}


def available_memory() -> int:
    """Bytes that can be had without swapping (MemAvailable of Linux)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/meminfo has no MemAvailable")


def disk(folder: Path) -> dict:
    """Where a folder is, or will be made: its free bytes, and why it cannot be written (empty if it can)."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    found = {"folder": str(folder), "free": shutil.disk_usage(place).free, "error": ""}
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".preflight-") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        found["error"] = error.strerror or str(error)
    return found


def dataset(root: Path, data, sample: int) -> dict:
    """Counts, a digest of all names, and the digests of `sample` files; or why training would refuse the folder.

    Which files are drawn depends on the names alone, so all nodes that hold the same files draw the same.
    """
    try:
        index = folders.index(root, data)
    except (DataError, OSError) as error:
        return {"error": str(error)}
    names = sorted(index.train.names) + index.val.names
    drawn = random.Random(SAMPLE_SEED).sample(names, min(sample, len(names)))
    found = {"error": "", "train": len(index.train.names), "val": len(index.val.names), "classes": len(index.classes)}
    found["names"] = hashlib.sha256(os.fsencode("\n".join(names))).hexdigest()[:12]
    found["sample"] = {name: _digest(root / name) for name in drawn}
    return found


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(files.read_bytes(path, files.IMAGE)).hexdigest()[:12]
    except OSError as error:
        return f"unreadable: {error.strerror}"
