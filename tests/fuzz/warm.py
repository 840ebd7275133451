"""Imports what the commands import, so that every scene's process has it from the beginning."""

import importlib
import os
import pkgutil

MODULES = (
    "torch", "torchvision", "matplotlib.pyplot", "scipy.stats", "PIL.JpegImagePlugin", "PIL.PngImagePlugin",
    "reproduce.run_all", "reproduce.config", "reproduce.presets", "reproduce.engine.train", "reproduce.engine.evaluate",
    "reproduce.engine.spawn", "reproduce.engine.device", "reproduce.engine.dist.groups", "reproduce.engine.data.stage",
    "reproduce.engine.data.embedded", "reproduce.engine.preflight.__main__", "reproduce.figures.plot",
    "reproduce.figures.mlperf", "reproduce.figures.panels", "reproduce.cluster.__main__", "reproduce.bench.__main__",
)  # fmt: skip
PACKAGES = ("reproduce.report", "reproduce.bench", "reproduce.trials")


def up() -> None:
    """Nothing here starts a thread: processes are forked from this one."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["MPLBACKEND"] = "Agg"
    for name in MODULES:
        importlib.import_module(name)
    for package in PACKAGES:
        for one in pkgutil.iter_modules(importlib.import_module(package).__path__):
            if not one.ispkg and one.name != "__main__":
                importlib.import_module(f"{package}.{one.name}")
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    importlib.import_module("reproduce.mlperf.table").runs()  # both keep what they have read
    importlib.import_module("reproduce.results.paper").load()
