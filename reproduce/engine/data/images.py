"""Encoded image files: read, measured and, where corrupt, named. Decoding is the back-ends' business."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from reproduce import files
from reproduce.errors import DataError

CACHE_BYTES = 1_000_000_000  # a set smaller than this is kept in memory, encoded
DECODE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what PIL raises for damaged files
ENDS = (b"\xff\xd9", b"IEND\xaeB`\x82")  # the last bytes of a whole JPEG and of a whole PNG
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")  # PIL knows more, one of which starts another program
READ_THREADS = 8  # files in flight for a set that is not cached: hides the latency of a network file system


class ImageFiles:
    """A list of image files with lazily cached bytes and sizes.

    `corrupt` is the config's policy: with "error", the first file that cannot be decoded raises `DataError`; with
    "skip" it is remembered in `bad` for the caller to leave out.
    """

    def __init__(self, root: Path, names: list[str], corrupt: str):
        self.root, self.names, self.corrupt = Path(root), names, corrupt
        self.bad: set[int] = set()
        self._sizes = np.zeros((len(names), 2), np.int32)
        self._odd: set[int] = set()
        self._cache: list[bytes | None] | None = [None] * len(names) if self._fits_in_memory() else None
        self._pool = None if self._cache is not None else ThreadPoolExecutor(READ_THREADS)

    def _fits_in_memory(self) -> bool:
        # Sixty-four files evenly spread tell enough; a stat of a million files on a shared file system takes minutes.
        sample = [self.root / name for name in self.names[:: max(1, len(self.names) // 64)]]
        return len(self.names) * sum(self._stat(path) for path in sample) < CACHE_BYTES * max(1, len(sample))

    @staticmethod
    def _stat(path: Path) -> int:
        try:
            return path.stat().st_size
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None

    def read(self, numbers: np.ndarray) -> list[bytes]:
        """The files' bytes, in order. Raises `DataError` for a file that cannot be opened."""
        if self._cache is None:
            assert self._pool is not None, "what is not kept is read by threads"
            return list(self._pool.map(self._read, numbers.tolist()))
        out = []
        for number in numbers.tolist():
            if self._cache[number] is None:
                self._cache[number] = self._read(number)
            out.append(self._cache[number])
        return out

    def _read(self, number: int) -> bytes:
        path = self.root / self.names[number]
        try:
            content = files.read_bytes(path, files.IMAGE)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None
        return plain(content) if number in self._odd else content

    def sizes(self, numbers: np.ndarray, encoded: list[bytes]) -> np.ndarray:
        """int32 [n, 2] heights and widths in pixels as stored (EXIF orientation is ignored by both back-ends).

        Those of `encoded` that `is_odd` finds are replaced by what `plain` makes of them. A file whose header cannot be
        parsed is reported to `mark_corrupt`, and its row is zero; one that seems to be cut short is examined, as a
        back-end that decodes only a window of it may never reach the end.
        """
        for at in np.flatnonzero(self._sizes[numbers, 0] == 0).tolist():
            try:
                with opened(encoded[at]) as image:
                    self._sizes[numbers[at]] = image.height, image.width
                    odd = is_odd(image)
            except DECODE_ERRORS as error:
                self.mark_corrupt(int(numbers[at]), _why(error, encoded[at]))
                continue
            if not encoded[at].endswith(ENDS):
                self.examine(numbers[at : at + 1], encoded[at : at + 1])
            if odd:
                self._make_plain(int(numbers[at]), encoded, at)
        return self._sizes[numbers]

    def _make_plain(self, number: int, encoded: list[bytes], at: int) -> None:
        encoded[at] = plain(encoded[at])
        self._odd.add(number)
        if self._cache is not None:
            self._cache[number] = encoded[at]

    def examine(self, numbers: np.ndarray, encoded: list[bytes]) -> None:
        """Decode each file with PIL, the judge of what is corrupt, and `mark_corrupt` those that fail."""
        for number, data in zip(numbers.tolist(), encoded):
            try:
                with opened(data) as image:
                    image.convert("RGB")
            except DECODE_ERRORS as error:
                self.mark_corrupt(number, _why(error, data))

    def mark_corrupt(self, number: int, why: str) -> None:
        """Note a corrupt file, or raise `DataError` naming it, as the policy says."""
        if self.corrupt != "skip":
            raise DataError(
                f"{self.root / self.names[number]}: cannot be decoded: {why}: replace the file, "
                'or set data.corrupt_images = "skip" to go on without it'
            )
        self.bad.add(number)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def opened(encoded: bytes) -> Image.Image:
    """An image of which the header has been read. Raises `DECODE_ERRORS`."""
    return Image.open(io.BytesIO(encoded), formats=FORMATS)


def is_odd(image: Image.Image) -> bool:
    """Whether decoders may differ on an image just opened: in a format, a depth or a number of channels that is rare.

    JPEG or PNG, grey or RGB, of eight bits, without transparency is what every decoder makes the same pixels of.
    """
    common = image.format in ("JPEG", "PNG") and image.mode in ("L", "RGB") and "transparency" not in image.info
    return not common or (image.format == "PNG" and image.tile[0][3] != image.mode)  # type: ignore[attr-defined]


def plain(encoded: bytes) -> bytes:
    """An odd image as a PNG of grey or RGB and eight bits, by PIL, so that each back-end is given the same pixels.

    Of 16 bits the upper eight are kept, which PIL does for colours but not for grey; what is transparent is shown.
    """
    try:
        with opened(encoded) as image:
            found = np.asarray(image)
            if found.dtype.kind in "iu" and found.dtype.itemsize > 1:
                image = Image.fromarray((found.clip(0, 65535).astype(np.uint16) >> 8).astype(np.uint8))
            made, buffer = image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"), io.BytesIO()
    except DECODE_ERRORS:
        return encoded  # whoever decodes it says what is wrong
    made.info.clear()  # among it what is transparent
    made.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _why(error: Exception, encoded: bytes) -> str:
    """Why PIL does not open or decode a file."""
    if isinstance(error, Image.DecompressionBombError):
        return f"the image is too large: {error}"
    if isinstance(error, UnidentifiedImageError):
        return "no image header" if encoded else "zero bytes"
    return str(error)


def substituted(numbers: np.ndarray, good: np.ndarray) -> np.ndarray:
    """`numbers` [rows, n] with each entry that is not `good` replaced by the next good one of its row.

    After the last entry comes the first; every row must have a good one.
    """
    result = numbers.copy()
    for row, slot in np.argwhere(~good):
        steps = np.roll(good[row], -slot).argmax()
        result[row, slot] = numbers[row, (slot + steps) % numbers.shape[1]]
    return result
