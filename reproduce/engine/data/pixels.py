"""The decoded images of a small data set, kept in memory: to decode 28x28 pixels costs twice what the rest does."""

from collections.abc import Callable

import numpy as np

KEEP_BYTES = 256_000_000  # the most that is kept of one split, as pixels or as finished tensors


class Pixels:
    """One split's images as uint8 [images, H, W, channels], decoded when first met.

    `decode` turns n encoded files into n arrays [H, W, channels], or None if one of them does not decode. Kept are
    splits whose images are all of one size, and small: others are decoded anew each time, and nothing here counts.
    """

    def __init__(self, images: int, channels: int, decode: Callable[[list[bytes]], list[np.ndarray] | None]):
        self._known, self._channels, self._decode = np.zeros(images, bool), channels, decode
        self._kept: np.ndarray | None = None
        self._pays = True

    def of(self, numbers: np.ndarray, encoded: list[bytes], sizes: np.ndarray) -> np.ndarray | None:
        """uint8 [n, H, W, channels] of the images with these numbers, files and sizes int [n, 2].

        None if they are not kept or one does not decode: the back-end then gets the files, and finds the damage.
        """
        if not self._make_room(sizes):
            return None
        fresh = np.flatnonzero(~self._known[numbers])
        if len(fresh):
            decoded = self._decode([encoded[at] for at in fresh])
            if decoded is None:
                return None
            assert self._kept is not None, "there is room"
            self._kept[numbers[fresh]] = decoded
            self._known[numbers[fresh]] = True
        assert self._kept is not None, "there is room"
        return self._kept[numbers]

    def _make_room(self, sizes: np.ndarray) -> bool:
        if self._pays and self._kept is None:
            shape = (len(self._known), *sizes[0].tolist(), self._channels)
            self._pays = bool(np.prod(shape, dtype=np.int64) <= KEEP_BYTES)
            self._kept = np.empty(shape, np.uint8) if self._pays else None
        if self._kept is not None and np.any(sizes != np.array(self._kept.shape[1:3])):
            self._pays, self._kept = False, None
        return self._pays
