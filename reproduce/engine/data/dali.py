"""The back-end of record: NVIDIA DALI, on the CPU or with nvJPEG's mixed decoding on a GPU.

DALI executes; it draws nothing at random. It decodes, cuts the window it is given, scales, cuts the centre, mirrors
and normalises, the same steps in the same order as the torchvision back-end.
"""

import io
from collections import deque
from collections.abc import Iterator

import numpy as np
import nvidia.dali.fn as fn
import nvidia.dali.types as types
import torch
from nvidia.dali import Pipeline
from nvidia.dali.tensors import TensorCPU, TensorListCPU
from PIL import Image

from reproduce.engine.data.windows import centre_offsets

AHEAD = 2  # jobs inside DALI: while one is on the GPU or being collected, the next is being decoded


class DaliBackend:
    """`data` is a config's `Data`; `max_batch` the largest job; results are made on `device`."""

    def __init__(self, data, device: torch.device, threads: int, max_batch: int):
        self._data, self._device, self._threads, self._max_batch = data, device, threads, max_batch
        self._gpu = device.type == "cuda"
        self.name = "dali-gpu" if self._gpu else "dali-cpu"
        self._pipeline = self._build()

    def _build(self) -> Pipeline:
        data, size = self._data, self._data.image_size
        pipeline = Pipeline(
            batch_size=self._max_batch, num_threads=self._threads, prefetch_queue_depth=AHEAD,
            device_id=(self._device.index or 0) if self._gpu else None,
        )  # fmt: skip
        with pipeline:
            encoded, anchor, window, resized, centre, flip = (
                fn.external_source(name=name) for name in ("encoded", "anchor", "window", "resized", "centre", "flip")
            )
            images = fn.decoders.image(
                encoded, device="mixed" if self._gpu else "cpu", adjust_orientation=False,
                output_type=types.GRAY if len(data.mean) == 1 else types.RGB,
                # nvJPEG's own chroma upsampling differs from libjpeg-turbo's, which PIL and DALI's CPU decoder use.
                jpeg_fancy_upsampling=True,
            )  # fmt: skip
            images = fn.slice(images, anchor, window, axes=[0, 1], normalized_anchor=False, normalized_shape=False)
            images = fn.resize(images, size=resized, interp_type=types.INTERP_LINEAR, antialias=True)
            images = fn.crop_mirror_normalize(
                images, crop=(size, size), crop_pos_y=centre[0], crop_pos_x=centre[1], mirror=flip,
                mean=list(data.mean), std=list(data.std), dtype=types.FLOAT, output_layout="HWC",
            )  # fmt: skip
            pipeline.set_outputs(images)
        pipeline.build()
        self._warm_up(pipeline)
        return pipeline

    def _warm_up(self, pipeline: Pipeline) -> None:
        # The first schedule_run of a pipeline starts AHEAD runs at once, each later one a single run. Spending that
        # first call here lets `stream` feed and collect one job at a time.
        buffer, size = io.BytesIO(), self._data.image_size
        Image.new("RGB", (size, size)).save(buffer, "PNG")
        for _ in range(AHEAD):
            self._feed(pipeline, [buffer.getvalue()], np.array([[0, 0, size, size, size, size]]), np.zeros(1, bool))
        pipeline.schedule_run()
        for _ in range(AHEAD):
            self._collect(pipeline)

    def _feed(self, pipeline: Pipeline, encoded: list[bytes], geometry: np.ndarray, flips: np.ndarray) -> None:
        # DALI wants the place of the final cut as a fraction of the room there is, and rounds it back to pixels.
        room = np.maximum(geometry[:, 4:6] - self._data.image_size, 1)
        # DALI checks each element of a plain list in Python, which costs more than decoding a small image's header.
        pipeline.feed_input("encoded", TensorListCPU([TensorCPU(np.frombuffer(file, np.uint8)) for file in encoded]))
        pipeline.feed_input("anchor", geometry[:, 0:2].astype(np.float32))
        pipeline.feed_input("window", geometry[:, 2:4].astype(np.float32))
        pipeline.feed_input("resized", geometry[:, 4:6].astype(np.float32))
        pipeline.feed_input("centre", (centre_offsets(geometry, self._data.image_size) / room).astype(np.float32))
        pipeline.feed_input("flip", flips.astype(np.int32))

    def _collect(self, pipeline: Pipeline) -> torch.Tensor:
        stream = torch.cuda.current_stream(self._device) if self._gpu else None
        (images,) = pipeline.share_outputs(stream)
        # No copy: with DALI's default (dynamic) executor a buffer lives as long as someone holds it.
        tensor = torch.from_dlpack(images.as_tensor())
        pipeline.release_outputs()
        return tensor

    def stream(self, jobs: Iterator) -> Iterator[tuple]:
        """Yield each job with its float32 images [n, H, W, C], in order; None in their place if one did not decode.

        A job has `encoded` (n byte strings), `geometry` int64 [n, 6] and `flips` bool [n], see `windows`.
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
            if flying:  # abandoned half-way: what is still inside must not come out of the next stream
                self._pipeline = self._build()

    def _start(self, job) -> None:
        self._feed(self._pipeline, job.encoded, job.geometry, job.flips)
        self._pipeline.schedule_run()

    def _finish(self, flying: deque) -> tuple:
        try:
            images = self._collect(self._pipeline)
        except RuntimeError:
            # A failed pipeline is dead, and the jobs behind the bad one died with it: build anew and feed them again.
            self._pipeline = self._build()
            for job in list(flying)[1:]:
                self._start(job)
            images = None
        return flying.popleft(), images

    def close(self) -> None:
        self._pipeline = None
