"""The embedded data set: Fashion-MNIST laid out once as PNG image folders, so that it takes the same road as ImageNet.

``python -m reproduce.engine.data.embedded --out data/fashion_mnist`` writes 60,000 training and 10,000 validation
images, 28x28 grey, losslessly, as ``train/CLASS/NNNNN.png`` and ``val/CLASS/NNNNN.png`` (NNNNN: place in the original
file). Everything is written beside the target and renamed at the end, so a cut-short lay-out leaves no folder that
looks whole. Xiao, Rasul, Vollgraf, "Fashion-MNIST", arXiv:1708.07747; MIT licence.
"""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from reproduce import errors, files
from reproduce.engine.data import folders
from reproduce.errors import DataError
from reproduce.logged import is_count
from reproduce.words import Parser

PACKAGE = "dataset-fashion-mnist"  # Debian and Ubuntu
LARGEST = 64 << 20  # bytes: of the four files the largest has 47 MB, unpacked
INSTALLED = Path("/usr/share/datasets/fashion-mnist")
# SHA-256 of the uncompressed contents: Debian compresses the files again.
FILES = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
PARTS = {"train": "train", "val": "t10k"}
CLASSES = (
    "0_t-shirt", "1_trouser", "2_pullover", "3_dress", "4_coat",
    "5_sandal", "6_shirt", "7_sneaker", "8_bag", "9_ankle-boot",
)  # fmt: skip


class Unavailable(Exception):
    """One source does not have the files; the message says why."""


def lay_out(out: Path, source: Path | None = None) -> dict:
    """Make `out` a complete lay-out and return its marker: counts, source, checksum.

    At once if it is complete already. `source` is a folder with the four ``.gz`` files; without it they are looked
    for where Debian installs them, then fetched from Debian's archive, then by torchvision. Not meant to run twice
    at the same time on one folder. Raises `DataError` if nothing has the files or `out` cannot be written.
    """
    out = Path(out)
    done = folders.marker(out)
    if done and isinstance(done.get("source"), str) and all(is_count(done.get(f"{part}_images")) for part in PARTS):
        return done
    partial = out.parent / f".{out.name}.partial"
    try:
        if out.exists() and any(out.iterdir()):
            raise DataError(f"{out}: exists but is not a complete lay-out: remove it, or choose another --out")
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        contents, where = find(source)
        counts = {f"{part}_images": _write(partial / part, *_arrays(part, contents)) for part in PARTS}
        done = {**counts, "source": where, "sha256": FILES}
        folders.complete(partial, out, done)
    except OSError as error:
        why = error.strerror or error
        raise DataError(f"{out}: cannot be written: {why}: free some space, or choose another --out") from None
    return done


def _arrays(part: str, contents: dict[str, bytes]) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [n, 28, 28] and [n] from the idx format: a header of 16 and 8 bytes, then the values."""
    images = np.frombuffer(contents[f"{PARTS[part]}-images-idx3-ubyte.gz"], np.uint8, offset=16)
    labels = np.frombuffer(contents[f"{PARTS[part]}-labels-idx1-ubyte.gz"], np.uint8, offset=8)
    return images.reshape(-1, 28, 28), labels


def _write(folder: Path, images: np.ndarray, labels: np.ndarray) -> int:
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    for number, (image, label) in enumerate(zip(images, labels)):
        # Encoded in memory first: PIL's own writing to a file takes twice as long for files this small.
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG", compress_level=1)
        (folder / CLASSES[label] / f"{number:05d}.png").write_bytes(buffer.getbuffer())
    return len(labels)


# ---- where the four files come from -------------------------------------------------------------------------------


def find(source: Path | None = None) -> tuple[dict[str, bytes], str]:
    """The uncompressed contents of `FILES` and, in words, where they came from; raises `DataError`."""
    if source is not None:
        sources = {f"the folder {source}": lambda scratch: _folder(source)}
    else:
        sources = {
            f"the installed package {PACKAGE}": lambda scratch: _folder(INSTALLED),
            f"the package {PACKAGE} from the archive": _archive,
            "torchvision's download": _torchvision,
        }
    tried = []
    for name, fetch in sources.items():
        with tempfile.TemporaryDirectory() as scratch:
            try:
                return fetch(Path(scratch)), name
            except Unavailable as reason:
                tried.append(f"{name} ({reason})")
    raise DataError(
        f"Fashion-MNIST is not available: tried {'; '.join(tried)}: put {', '.join(FILES)} into a folder of your own "
        "and name it with --source"
    )


def _folder(folder: Path) -> dict[str, bytes]:
    contents = {}
    for name, digest in FILES.items():
        try:
            with gzip.open(io.BytesIO(files.read_bytes(folder / name, LARGEST))) as file:
                contents[name] = file.read(LARGEST)  # a bomb is cut there, and so is not the published file
        except FileNotFoundError:
            raise Unavailable(f"no {name} there") from None
        except (OSError, EOFError, zlib.error) as error:
            raise Unavailable(f"{name}: {files.why(error)}") from None
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise Unavailable(f"{name} is not the published file: wrong checksum")
    return contents


def _archive(scratch: Path) -> dict[str, bytes]:
    """Fetch the Debian package and unpack it here: needs no root and installs nothing."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise Unavailable("no apt-get here")
    try:
        _run(scratch, "apt-get", "download", PACKAGE)
    except Unavailable:
        # Fresh containers have no package lists; only root may fetch them.
        if os.geteuid() != 0:
            raise
        _run(scratch, "apt-get", "update")
        _run(scratch, "apt-get", "download", PACKAGE)
    _run(scratch, "dpkg-deb", "-x", str(next(scratch.glob("*.deb"))), "unpacked")
    return _folder(scratch / "unpacked" / INSTALLED.relative_to("/"))


def _run(folder: Path, *command: str) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=300)
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout).strip().splitlines() or ["failed"]
        raise Unavailable(lines[-1]) from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(command[:2])} took longer than five minutes") from None


def _torchvision(scratch: Path) -> dict[str, bytes]:
    try:
        from torchvision.datasets import FashionMNIST

        FashionMNIST(scratch, download=True)
    except (ImportError, OSError, RuntimeError) as error:
        raise Unavailable(str(error).strip().splitlines()[-1]) from None
    return _folder(scratch / "FashionMNIST" / "raw")


@errors.command
def main(argv=None):
    parser = Parser(description="Lay out Fashion-MNIST as image folders.")
    parser.add_argument("--out", type=Path, required=True, help="the data set's folder, such as data/fashion_mnist")
    parser.add_argument("--source", type=Path, help="a folder that holds the four .gz files")
    args = parser.parse_args(argv)
    begin = time.perf_counter()
    done = lay_out(args.out, args.source)
    print(
        f"{args.out}: {done['train_images']:,} training and {done['val_images']:,} validation images "
        f"from {done['source']} ({time.perf_counter() - begin:.1f} s)"
    )


if __name__ == "__main__":
    raise SystemExit(main())
