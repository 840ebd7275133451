"""Generated pictures in image folders: files of ImageNet's usual size and weight, for those who have no ImageNet here.

Photographs have a spectrum that falls with frequency, colours that go together, and edges; so have these: noise with
amplitudes like 1 / frequency, most of it common to the three channels, behind a few shapes with colours of their own.
Nobody can learn anything from them; what they are for is decoding. No torch.
"""

import io
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from reproduce.engine.data import folders
from reproduce.engine.data.plan import SYNTHETIC, share, uniforms
from reproduce.errors import UserError

SHAPES = 8
CONTRAST = 42.0  # standard deviation of the noise in grey levels: chosen for files of ImageNet's 110 kB in the mean


@dataclass(frozen=True)
class Pictures:
    """What a folder holds: ``train/CLASS/NNNNN.EXT`` and ``val/CLASS/NNNNN.EXT``, classes named 0, 1, ..."""

    train: int
    val: int
    classes: int = 10
    height: int = 375
    width: int = 500
    channels: int = 3
    kind: str = "JPEG"  # at quality 90; or "PNG"
    seed: int = 1


def lay_out(out: Path, wanted: Pictures) -> dict:
    """Make `out` hold these pictures and return its marker: `Pictures` and "mean_bytes" of a training file.

    At once if it holds them already; what else is there is replaced. The marker is written last, and all of it beside
    the target, which is renamed at the end. Raises `UserError` if `out` cannot be written.
    """
    found = folders.marker(out)
    if found and found | asdict(wanted) == found:
        return found
    partial = out.parent / f".{out.name}.partial"
    try:
        for folder in (partial, out):
            shutil.rmtree(folder, ignore_errors=True)
        sizes = [_write(partial, wanted, number) for number in range(wanted.train + wanted.val)]
        done = asdict(wanted) | {"mean_bytes": round(sum(sizes[: wanted.train]) / wanted.train)}
        folders.complete(partial, out, done)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"{out}: cannot be written: {why}: free some space, or remove what is in the way") from None
    return done


def _write(root: Path, wanted: Pictures, number: int) -> int:
    """Write one picture, the validation ones numbered after those for training; returns its bytes."""
    training = number < wanted.train
    first, count = (0, wanted.train) if training else (wanted.train, wanted.val)
    label = next(c for c in range(wanted.classes) if number - first in share(count, c, wanted.classes))
    folder = root / ("train" if training else "val") / f"{label:03d}"
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    pixels = picture(wanted.seed, number, wanted.height, wanted.width)
    image = Image.fromarray(pixels if wanted.channels == 3 else pixels[:, :, 1])
    image.save(buffer, wanted.kind, **({"quality": 90} if wanted.kind == "JPEG" else {}))
    (folder / f"{number - first:05d}.{wanted.kind.lower()}").write_bytes(buffer.getbuffer())
    return buffer.getbuffer().nbytes


def picture(seed: int, number: int, height: int, width: int) -> np.ndarray:
    """uint8 [height, width, 3], the same for the same arguments on every machine but for rounding."""
    draws = uniforms(seed, SYNTHETIC, (number,), (height * width * 3 + 3 + SHAPES * 8,))
    noise, rest = draws[: height * width * 3].reshape(3, height, width), draws[height * width * 3 :]
    grey, *colours = (_one_over_f(plane) for plane in noise)
    values = 60 + 135 * rest[:3] + (CONTRAST * grey)[:, :, None]
    values += 0.25 * CONTRAST * (colours[0][:, :, None] * (1, 0, -1) + colours[1][:, :, None] * (-0.5, 1, -0.5))
    for shape in rest[3:].reshape(SHAPES, 8):
        values[_ellipse(height, width, shape[:5])] += 160 * (shape[5:8] - 0.5)
    return np.clip(values, 0, 255).astype(np.uint8)


def _one_over_f(white: np.ndarray) -> np.ndarray:
    """[height, width] white noise made to fall with frequency: mean 0, standard deviation 1."""
    vertical = np.fft.fftfreq(white.shape[0])[:, None]
    horizontal = np.fft.rfftfreq(white.shape[1])[None]
    frequency = np.hypot(vertical, horizontal)
    frequency[0, 0] = np.inf
    field = np.fft.irfft2(np.fft.rfft2(white) / frequency, white.shape)
    return field / field.std()


def _ellipse(height: int, width: int, draws: np.ndarray) -> np.ndarray:
    """bool [height, width]: the inside of an ellipse, of a place, two radii and an angle that five draws decide."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    y, x = y - draws[0] * height / max(height, width), x - draws[1] * width / max(height, width)
    radii, angle = 0.05 + 0.3 * draws[2:4], np.pi * draws[4]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (along / radii[0]) ** 2 + (across / radii[1]) ** 2 < 1
