"""Results of a campaign (`python -m reproduce.bench campaign`), published: CPU and GPUs side by side."""

import re
from collections.abc import Iterator
from pathlib import Path

from reproduce import table
from reproduce.bench.steps import plan
from reproduce.bench.steps.run import headline
from reproduce.bench.steps.step import MEASURED, Ended, read
from reproduce.errors import UserError

NOT_MEASURED = "not measured"
HEADER = ["step", "what is measured", "CPU, in small", "GPU", "hardware"]
GPU = re.compile(r"[0-9]+ x (.+?), one process each")


def device_of(hardware: str) -> str:
    """The folder of a machine's results: "cpu", or "cuda_" and the GPU's name, so that no device replaces another."""
    found = GPU.fullmatch(hardware)
    return "cuda_" + re.sub("[^a-z0-9]+", "_", found[1].lower()).strip("_") if found else "cpu"


def results(folder: Path) -> dict[str, Ended]:
    """What a campaign has settled, by step. Raises `UserError` if there is nothing, or a file is not a step's."""
    found = {name: read(folder / f"{name}.json") for name in names()}
    settled = {name: ended for name, ended in found.items() if ended is not None and ended.settled}
    if not settled:
        raise UserError(f"{folder}: holds no finished step of a campaign: python -m reproduce.bench campaign makes "
                        "them in results/bench/campaign/cuda")  # fmt: skip
    return settled


def names() -> list[str]:
    return [one.name for one in plan.steps("cuda")]


def block(folder: Path) -> str:
    """Markdown of the campaigns published in `folder`; what nobody has measured is said to be so."""
    devices = {path.name: path for path in sorted(folder.glob("c*")) if path.is_dir()}
    rows = []
    for one in plan.steps("cuda"):
        found = {name: ended for name, path in devices.items() if (ended := read(path / f"{one.name}.json"))}
        on_gpu = [ended for name, ended in found.items() if name != "cpu"]
        hardware = dict.fromkeys(str(ended.found.about["hardware"]) for ended in found.values())
        cpu = cell(found["cpu"]) if "cpu" in found else NOT_MEASURED
        gpu = "; ".join(map(cell, on_gpu)) or NOT_MEASURED
        rows.append([f"`{one.name}`", one.what, cpu, gpu, "; ".join(hardware) or "none"])
    return table.markdown(HEADER, rows)


def cell(ended: Ended) -> str:
    """The first number of each of a step's tables, or how it ended."""
    if ended.outcome != MEASURED:
        return ended.outcome
    return headline(ended) or "no number"


def files(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Each settled step's file, and its place below the published benchmarks."""
    settled = results(folder)
    devices = {device_of(str(ended.found.about.get("hardware"))) for ended in settled.values()}
    if len(devices) > 1:
        raise UserError(f"{folder}: its steps ran on different devices ({', '.join(sorted(devices))}): publish a "
                        "folder for each")  # fmt: skip
    (device,) = devices
    for name in settled:
        yield folder / f"{name}.json", Path("bench") / device / f"{name}.json"
