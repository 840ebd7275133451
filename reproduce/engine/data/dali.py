"""The back-end of record: NVIDIA DALI, on the CPU or with nvJPEG's mixed decoding on a GPU.

DALI executes; it draws nothing at random. It decodes, cuts the window it is given, scales, cuts the centre, mirrors
and normalises, the same steps in the same order as the torchvision back-end. There are pipelines for two kinds of
jobs, with equal results: those that hold encoded files, and those that hold pixels decoded before.
"""

import functools
import importlib
import io
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import nvidia.dali.fn as fn
import nvidia.dali.types as types
import torch
from nvidia.dali import Pipeline
from nvidia.dali.tensors import TensorCPU, TensorListCPU
from PIL import Image

from reproduce.engine.data.windows import centre_offsets

AHEAD = 2  # jobs inside a pipeline: while one is on the GPU or being collected, the next is being decoded
WINDOW = {"axes": [0, 1], "normalized_anchor": False, "normalized_shape": False}
SCALING = {"interp_type": types.INTERP_LINEAR, "antialias": True}  # type: ignore[attr-defined]  # set as it is imported


class DaliBackend:
    """`data` is a config's `Data`; `max_batch` the largest job; results are made on `device`."""

    def __init__(self, data, device: torch.device, threads: int, max_batch: int):
        self._data, self._device, self._threads, self._max_batch = data, device, threads, max_batch
        self._gpu = device.type == "cuda"
        self.name = "dali-gpu" if self._gpu else "dali-cpu"
        self.takes_pixels = not self._gpu
        self._to_torch = copying() if self._gpu else torch.from_dlpack
        # Of a row of pixels: torch takes ten times as long where it has to go through three values at a time.
        self._mean = torch.tensor(data.mean).repeat(data.image_size)
        self._scale = (1 / torch.tensor(data.std)).repeat(data.image_size)
        self._pipelines = {"encoded": self._build("encoded")}  # that for "pixels" is built when they come
        self._decoder: Pipeline | None = None

    # ---- pipelines ------------------------------------------------------------------------------------------------

    def _pipeline(self, ahead: int) -> Pipeline:
        return Pipeline(
            batch_size=self._max_batch, num_threads=self._threads, prefetch_queue_depth=ahead,
            device_id=(self._device.index or 0) if self._gpu else None,
        )  # fmt: skip

    def _build(self, kind: str) -> Pipeline:
        pipeline = self._pipeline(AHEAD)
        with pipeline:
            pipeline.set_outputs(self._from_encoded() if kind == "encoded" else self._from_pixels())
        pipeline.build()
        self._warm_up(pipeline, kind)
        return pipeline

    def _decoding(self) -> dict:
        return {
            "device": "mixed" if self._gpu else "cpu", "adjust_orientation": False,
            "output_type": types.GRAY if len(self._data.mean) == 1 else types.RGB,  # type: ignore[attr-defined]
            # nvJPEG's own chroma upsampling differs from libjpeg-turbo's, which PIL and DALI's CPU decoder use.
            "jpeg_fancy_upsampling": True,
        }  # fmt: skip

    def _from_encoded(self):
        data, size = self._data, self._data.image_size
        encoded, anchor, window, resized, centre, flip = (
            fn.external_source(name=name) for name in ("encoded", "anchor", "window", "resized", "centre", "flip")
        )
        if self._gpu or data.corrupt_images == "skip":
            images = fn.slice(fn.decoders.image(encoded, **self._decoding()), anchor, window, **WINDOW)
        else:
            # The same pixels, but what lies outside is not reconstructed, and damage there not always noticed: a run
            # that skips damaged images must not depend on where it looks.
            images = fn.decoders.image_slice(encoded, anchor, window, **WINDOW, **self._decoding())
        images = fn.resize(images, size=resized, **SCALING)
        return fn.crop_mirror_normalize(
            images, crop=(size, size), crop_pos_y=centre[0], crop_pos_x=centre[1], mirror=flip,
            mean=list(data.mean), std=list(data.std), dtype=types.FLOAT, output_layout="HWC",
        )  # fmt: skip

    def _from_pixels(self):
        """Up to the scaling; `_end` does the rest."""
        pixels = fn.external_source(name="pixels", layout="HWC")
        anchor, window, resized = (fn.external_source(name=name) for name in ("anchor", "window", "resized"))
        return fn.resize(fn.slice(pixels, anchor, window, **WINDOW), size=resized, **SCALING)

    def _warm_up(self, pipeline: Pipeline, kind: str) -> None:
        # The first schedule_run of a pipeline starts AHEAD runs at once, each later one a single run. Spending that
        # first call here lets `stream` feed and collect one job at a time.
        buffer, size = io.BytesIO(), self._data.image_size
        Image.new("RGB", (size, size)).save(buffer, "PNG")
        blank = np.zeros((1, size, size, len(self._data.mean)), np.uint8)
        for _ in range(AHEAD):
            if kind == "pixels":
                pipeline.feed_input("pixels", blank)
            else:
                pipeline.feed_input("encoded", _tensors([buffer.getvalue()]))
            self._feed(pipeline, kind, np.array([[0, 0, size, size, size, size]]), np.zeros(1, bool))
        pipeline.schedule_run()
        for _ in range(AHEAD):
            self._collect(pipeline)

    def _feed(self, pipeline: Pipeline, kind: str, geometry: np.ndarray, flips: np.ndarray) -> None:
        pipeline.feed_input("anchor", geometry[:, 0:2].astype(np.float32))
        pipeline.feed_input("window", geometry[:, 2:4].astype(np.float32))
        pipeline.feed_input("resized", geometry[:, 4:6].astype(np.float32))
        if kind == "encoded":
            # DALI wants the place of the final cut as a fraction of the room there is, and rounds it back to pixels.
            room = np.maximum(geometry[:, 4:6] - self._data.image_size, 1)
            centre = centre_offsets(geometry, self._data.image_size) / room
            pipeline.feed_input("centre", centre.astype(np.float32))
            pipeline.feed_input("flip", flips.astype(np.int32))

    def _collect(self, pipeline: Pipeline) -> torch.Tensor:
        stream = torch.cuda.current_stream(self._device) if self._gpu else None
        (images,) = pipeline.share_outputs(stream)
        # On a CPU no copy: with DALI's default (dynamic) executor a buffer lives as long as someone holds it. On a GPU
        # giving such a buffer back waits for the whole device, so the images are copied, on the stream in use.
        tensor = self._to_torch(images.as_tensor())
        pipeline.release_outputs()
        return tensor

    # ---- decoding alone -------------------------------------------------------------------------------------------

    def decode(self, encoded: list[bytes]) -> list[np.ndarray] | None:
        """Files as uint8 [H, W, C]; None if one of them does not decode."""
        if self._decoder is None:
            self._decoder = self._pipeline(1)
            with self._decoder:
                self._decoder.set_outputs(fn.decoders.image(fn.external_source(name="encoded"), **self._decoding()))
            self._decoder.build()
        self._decoder.feed_input("encoded", _tensors(encoded))
        try:
            (images,) = self._decoder.run()
        except RuntimeError:
            self._decoder = None  # DALI calls it no longer valid
            return None
        return [np.array(image) for image in images]  # type: ignore[union-attr]  # it has __getitem__

    # ---- jobs -----------------------------------------------------------------------------------------------------

    def stream(self, jobs: Iterator) -> Iterator[tuple]:
        """Yield each job with its float32 images [n, H, W, C], in order; None in their place if one did not decode.

        A job has `encoded` (n byte strings), `pixels` (what `decode` made of them, uint8 [n, H, W, C] as they are all
        of one size; or None), `geometry` int64 [n, 6] and `flips` bool [n], see `windows`.
        """
        flying: deque = deque()
        try:
            for job in jobs:
                self._start(job)
                flying.append(job)
                if len(flying) == AHEAD:
                    yield self._finish(flying)
            while flying:
                yield self._finish(flying)
        finally:
            for kind in {_kind(job) for job in flying}:
                # Abandoned half-way: what is still inside must not come out of the next stream.
                self._pipelines[kind] = self._build(kind)

    def _start(self, job) -> None:
        kind = _kind(job)
        if kind not in self._pipelines:
            self._pipelines[kind] = self._build(kind)
        pipeline = self._pipelines[kind]
        pipeline.feed_input(kind, _tensors(job.encoded) if job.pixels is None else job.pixels)
        self._feed(pipeline, kind, job.geometry, job.flips)
        pipeline.schedule_run()

    def _finish(self, flying: deque) -> tuple:
        job, kind = flying[0], _kind(flying[0])
        try:
            images = self._collect(self._pipelines[kind])
            if kind == "pixels":
                images = self._end(images, job)
        except RuntimeError:
            # A failed pipeline is dead, and the jobs behind the bad one died with it: rebuild, feed them again.
            self._pipelines[kind] = self._build(kind)
            for other in list(flying)[1:]:
                if _kind(other) == kind:
                    self._start(other)
            images = None
        return flying.popleft(), images

    def _end(self, scaled: torch.Tensor, job) -> torch.Tensor:
        """The final cut, mirror and normalisation, in DALI's arithmetic: for images of one size, one call does all.

        DALI's own operator, which goes through them one by one, takes as long for 28x28 pixels as scaling them.
        """
        size = self._data.image_size
        top, left = centre_offsets(job.geometry[:1], size)[0].tolist()
        images = scaled.numpy()[:, top : top + size, left : left + size]
        images[job.flips] = images[job.flips, :, ::-1]
        return torch.from_numpy(images).float().flatten(2).sub_(self._mean).mul_(self._scale).view(images.shape)

    def close(self) -> None:
        self._pipelines, self._decoder = {}, None


def copying() -> Callable:
    """DALI's own way to copy a tensor to one of PyTorch's; not imported at the top, as that takes a second."""
    plugin = importlib.import_module("nvidia.dali.plugin.pytorch.torch_utils")
    return functools.partial(plugin.to_torch_tensor, copy=True)


def _kind(job) -> str:
    return "encoded" if job.pixels is None else "pixels"


def _tensors(encoded: list[bytes]) -> TensorListCPU:
    # DALI checks each element of a plain list in Python, which costs more than decoding a small image's header.
    return TensorListCPU([TensorCPU(np.frombuffer(file, np.uint8)) for file in encoded])
