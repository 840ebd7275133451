"""DALI on this device: images/s of decoding by threads and the hardware decoder's share, and its pixels against PIL's.

The back-end is the one of a run with one option changed. Not yet run on a GPU.
"""

import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from reproduce.bench.contest import Row, Table
from reproduce.bench.jpegs import picture
from reproduce.bench.timed.entry import AbsentError, serve
from reproduce.bench.timed.turns import seconds, take_turns
from reproduce.engine.data.loader import dali_is_here
from reproduce.recipe import load as configs

BATCH = 40
LOADS = (0.0, 0.65, 1.0)  # of the hardware decoder, where there is one; DALI's own default is the middle


def backend(data, device: torch.device, threads: int, **options) -> Any:
    """Our back-end, with other options of its decoder."""
    from reproduce.engine.data.dali import DaliBackend

    class Changed(DaliBackend):
        def _decoding(self) -> dict:
            return super()._decoding() | options

    return Changed(data, device, threads, BATCH)


def encoded(pixels: np.ndarray, mode: str, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return buffer.getvalue()


def rates(data, device: torch.device, files: list[bytes], rounds: int) -> Table:
    """Elapsed time, whole images: the threads are there to be used."""
    cores = os.cpu_count() or 1
    variants: dict[str, dict] = {f"{n} threads": {"threads": n} for n in sorted({1, max(1, cores // 2), cores})}
    if device.type == "cuda":
        variants |= {f"{cores} threads, hardware load {load:g}": {"threads": cores, "hw_decoder_load": load}
                     for load in LOADS}  # fmt: skip
    variants[f"{cores} threads, plain upsampling"] = {"threads": cores, "jpeg_fancy_upsampling": False}

    def turn(options: dict) -> Callable[[], float]:
        made = backend(data, device, **options)
        parts = [files[at : at + BATCH] for at in range(0, len(files), BATCH)]
        return lambda: len(files) / seconds(lambda: [made.decode(part) for part in parts], device)

    found = take_turns({name: turn(options) for name, options in variants.items()}, rounds, "DALI")
    rows = tuple(Row(name, "ours", tuple(found[name])) for name in variants)
    return Table("DALI, decoding", f"{len(files)} JPEGs of 500 x 375, {device.type}", "images/s", rows[0].name, rows)


def pixels(data, device: torch.device) -> Table:
    """The largest difference from PIL's pixels, in levels of 255, of the kinds of files that ImageNet has."""
    image = picture(1, 0, 375, 500)
    kinds = {"RGB JPEG": ("RGB", "JPEG"), "grey JPEG": ("L", "JPEG"), "CMYK JPEG": ("CMYK", "JPEG"),
             "PNG": ("RGB", "PNG")}  # fmt: skip
    rows = []
    for fancy in (True, False):
        made = backend(data, device, 1, jpeg_fancy_upsampling=fancy)
        for name, (mode, kind) in kinds.items():
            file = encoded(image, mode, kind)
            wanted = np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).astype(int)
            how = f"{name}, {'fancy' if fancy else 'plain'} upsampling"
            rows.append(_against(how, made.decode([file]), wanted))
    return Table("DALI's pixels against PIL's", f"one picture of 500 x 375, {device.type}", "levels", None, tuple(rows))


def _against(name: str, found: list[np.ndarray] | None, wanted: np.ndarray) -> Row:
    if found is None:
        return Row(name, "ours", (), "does not decode")
    away = np.abs(found[0].astype(int) - wanted)
    return Row(name, "ours", (float(away.max()),), f"{away.mean():.3f} in the mean")


def measure(request: dict, device: torch.device) -> list[Table]:
    """request: "config", "overrides", "images", "rounds"."""
    if not dali_is_here():
        raise AbsentError("nvidia.dali is not installed: environment.yml has it")
    data = configs.load(request["config"], request["overrides"]).data
    files = [encoded(picture(1, n, 375, 500), "RGB", "JPEG") for n in range(request["images"])]
    return [rates(data, device, files, request["rounds"]), pixels(data, device)]


if __name__ == "__main__":
    serve("dali", measure)
