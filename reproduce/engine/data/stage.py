"""Copies a data set to a node's own storage before a job, once per node.

    srun --ntasks-per-node=1 python -m reproduce.engine.data.stage --from /shared/imagenet --to /local/imagenet

Each of train and val is taken from SOURCE/train.tar if there is one, and unpacked, else from the folder SOURCE/train. A
parallel file system serves one large file to hundreds of nodes far faster than a million small ones. The same command
goes on after an interruption, and returns at once when all is there.
"""

import errno
import os
import shutil
import sys
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from pathlib import Path

from reproduce.engine.data import folders
from reproduce.engine.data.listing import few, visible
from reproduce.engine.data.mapping import FLAT_MAPPINGS
from reproduce.engine.data.pieces import Folder, Piece, Tar, file_piece
from reproduce.engine.data.staged import PARTS, drop_caches, locked, note_page_cache, own, read, staged, write
from reproduce.engine.progress import Progress
from reproduce.errors import DataError, command
from reproduce.paths import real
from reproduce.words import Parser

PARTIAL = ".staging"  # below the target
MARGIN = 1.02  # of the free space: files fill whole blocks
BATCH_FILES, BATCH_BYTES = 32, 8 << 20  # a thread is handed so many at a time: handing over costs as much as a file


def stage(source: Path, target: Path, jobs: int = 16) -> dict:
    """Make `target` a whole copy of `source`; returns what was staged: {"source", "files", "bytes", "train", "val"}.

    At once if that was done before. Several processes may stage to one target, also from several nodes: one copies
    and the others wait for it; where the file system has no locks they do the same work twice, without harm. Files
    appear whole or not at all. Raises `DataError`.
    """
    source, target = Path(source), Path(target)
    if jobs < 1:
        raise DataError(f"--jobs {jobs}: must be at least 1")
    inside, to = real(source), real(target)
    if inside in (to, *to.parents):
        raise DataError(f"--to {target}: lies in --from {source}: name a folder of the node's own storage")
    try:
        done = staged(target, source)
        if done is None:
            target.mkdir(parents=True, exist_ok=True)
            _check_own(target)  # before a lock is left there
            with locked(target) as alone:
                done = staged(target, source)  # by the one we waited for
                if done is None:
                    done = _stage(source, target, jobs, alone)
    except OSError as error:
        raise DataError(_explain(error, source, target)) from None
    return done


def _explain(error: OSError, source: Path, target: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"{target}: the disk is full: free some space, then run the same command again"
    place = Path(error.filename) if error.filename else target
    remedy = "complete the source" if place == source or source in place.parents else "choose another --to"
    return f"{place}: {error.strerror or error}: {remedy}, then run the same command again"


# ---- copying --------------------------------------------------------------------------------------------------------


def _stage(source: Path, target: Path, jobs: int, alone: bool) -> dict:
    about: dict = {"source": str(real(source)), "files": 0, "bytes": 0}
    partial = _claimed(target)
    for leftover in partial.iterdir() if alone else ():  # of one that was killed
        leftover.unlink()

    def there(name: str, size: int) -> bool:
        try:
            return os.stat(target / name).st_size == size
        except OSError:
            return False

    with ThreadPoolExecutor(jobs) as pool:
        parts = {part: _open(source, part, pool) for part in PARTS}
        _has_room(target, {part: opened.size for part, opened in parts.items()})
        for part, opened in parts.items():
            show = _Shown(f"{target} {part}", opened.size)
            about[part], size = _copy(opened.pieces(there), target, pool, jobs, show)
            if not about[part]:
                raise DataError(f"{source / part}.tar: holds no files: complete the source")
            about["files"] += about[part]
            about["bytes"] += size
        # the classes of a flat validation folder, and a lay-out's own marker, last as it was there
        for name in (*FLAT_MAPPINGS, folders.MARKER):
            if (source / name).is_file():
                piece = file_piece(source, name, (source / name).stat().st_size, there)
                _copy([piece], target, pool, jobs, None)
    write(target, about)
    if alone:
        shutil.rmtree(partial, ignore_errors=True)
    return about


def _check_own(target: Path) -> None:
    """Raises `DataError` where others have put something."""
    partial, found = target / PARTIAL, [entry.name for entry in visible(target)]
    if partial.is_symlink() or (found and not partial.is_dir() and read(target) is None):
        held = few(sorted(found) or [PARTIAL])
        raise DataError(f"{target}: holds {held}, and was not made by a stage: name an empty folder with --to, or "
                        "remove what is in it")  # fmt: skip


def _claimed(target: Path) -> Path:
    """The folder that marks `target` as of a stage, done or not. Raises `DataError` where others have put something."""
    _check_own(target)
    partial = target / PARTIAL
    partial.mkdir(mode=0o700, exist_ok=True)
    return partial


def _open(source: Path, part: str, pool: Executor) -> Folder | Tar:
    if (source / f"{part}.tar").is_file():
        return Tar(source / f"{part}.tar", part)
    if (source / part).is_dir():
        return Folder(source, part, pool)
    raise DataError(f"{source}: holds neither {part}.tar nor {part}/: point --from at the folder of train and val")


def _has_room(target: Path, sizes: dict[str, int]) -> None:
    """Raises `DataError` if what is still to come does not fit."""
    have = {part: sum(file.stat().st_size for file in (target / part).rglob("*") if file.is_file()) for part in sizes}
    need = MARGIN * sum(max(0, size - have[part]) for part, size in sizes.items())
    free = shutil.disk_usage(target).free
    if need > free:
        raise DataError(
            f"{target}: {free / 1e9:,.3g} GB free, {need / 1e9:,.3g} GB needed: free some space, or choose another --to"
        )


def _copy(
    pieces: Iterable[Piece], target: Path, pool: Executor, jobs: int, show: "_Shown | None"
) -> tuple[int, int]:  # fmt: skip
    """Put all pieces in their places; returns how many there are, and their bytes. Raises what a thread raised."""
    count = total = held = 0
    batch: list[Piece] = []
    waiting: set[Future] = set()
    folders_made: set[str] = set()
    for piece in pieces:
        count, total = count + 1, total + piece.size
        if piece.put is not None:
            folder = os.path.dirname(piece.name)
            if folder not in folders_made:
                (target / folder).mkdir(parents=True, exist_ok=True)
                folders_made.add(folder)
            batch.append(piece)
            held += piece.size
        if len(batch) >= BATCH_FILES or held >= BATCH_BYTES:
            waiting.add(pool.submit(_put, batch, target))
            batch, held = [], 0
            if len(waiting) > jobs:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        if show:
            show(count, total)
    waiting.add(pool.submit(_put, batch, target))
    for future in waiting:
        future.result()
    if show:
        show(count, total, last=True)
    return count, total


def _put(batch: list[Piece], target: Path) -> None:
    partial = target / PARTIAL / own()
    for piece in batch:
        assert piece.put is not None, "those that are there are left out"
        piece.put(partial)
        os.replace(partial, target / piece.name)


class _Shown:
    """Progress as `engine.progress` shows it. What was there already passes quickly, and so counts in the rate."""

    def __init__(self, label: str, size: int):
        self._label, self._size = label, max(1, size)
        self._terminal = sys.stderr.isatty()
        self._wait = Progress.TERMINAL_SECONDS if self._terminal else Progress.PIPE_SECONDS
        self._began = self._shown = time.monotonic()

    def __call__(self, images: int, size: int, last: bool = False) -> None:
        now = time.monotonic()
        if now - self._shown < self._wait and not last:
            return
        self._shown = now
        seconds = max(now - self._began, 1e-9)
        left = 0 if last else max(0, self._size - size) * seconds / max(1, size)
        share = 100 if last else min(99, 100 * size // self._size)
        line = f"{self._label}  {images:,} images  {share} %  {images / seconds:,.0f} images/s"
        line += f"  {size / seconds / 1e6:,.0f} MB/s  ETA {int(left // 60)}:{int(left % 60):02d}"
        end = "\n" if last or not self._terminal else ""
        print(f"\r\033[K{line}" if self._terminal else line, end=end, file=sys.stderr, flush=True)


@command
def main(argv=None) -> None:
    parser = Parser(prog="python -m reproduce.engine.data.stage", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--from", dest="source", type=Path, required=True, metavar="SOURCE", help="holds train.tar or train/, and val "
        "likewise")  # fmt: skip
    add("--to", dest="target", type=Path, required=True, metavar="LOCAL", help="a folder of the node's own storage")
    add("--jobs", type=int, default=16, help="files written at the same time (default: %(default)s)")
    add("--drop-caches", action="store_true", help="then clear the page cache, where that is permitted")
    args = parser.parse_args(argv)
    began = time.monotonic()
    found = staged(args.target, args.source) is not None
    done = stage(args.source, args.target, args.jobs)
    how = "was there already" if found else f"{time.monotonic() - began:.1f} s"
    print(
        f"{args.target}: {done['train']:,} training and {done['val']:,} validation images, "
        f"{done['bytes'] / 1e9:,.3g} GB ({how})"
    )
    cleared = drop_caches() if args.drop_caches else None
    note_page_cache(args.target, cleared)
    if cleared is not None:
        print(f"page cache: {'cleared' if cleared else 'left as it is (not permitted)'}")


if __name__ == "__main__":
    raise SystemExit(main())
