"""The user's environment, read in one place: what each variable may hold, what is made of it, and the remedy.

    variable              rule
    OMP_NUM_THREADS       as OpenMP: a number from 1 to 1024, or a list of which the first counts
    CUDA_VISIBLE_DEVICES  as CUDA, see `reproduce.gpus`
    REPRODUCE_RECIPES     a folder whose recipes take the place of those of the same name in paper_configs: a rehearsal
    CC                    a command, which may have a wrapper and options: "ccache gcc"
    XDG_CACHE_HOME        an absolute path, else ignored as its standard says; then HOME, then the account's own
    PYTHONPATH            searched after this package's own folder; jobs and trials do without it
    MPLBACKEND            ignored, as is every matplotlibrc: figures are the same on every machine
    RANK and the like     whole numbers, see `reproduce.engine.dist.place`
    GIT_*                 never passed on: the revision asked for is this package's

A variable that is set but empty counts as not set, but for CUDA_VISIBLE_DEVICES, where that hides every GPU. CDPATH and
what pip is told are dealt with in setup.sh and run_all.sh. Imports nothing outside the standard library.
"""

import importlib
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from reproduce.errors import ConfigError

MAX_THREADS = 1024


def text(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The value of a variable without blanks around it; None if there is none, or nothing in it."""
    return environ.get(name, "").strip() or None


def whole_number(name: str, environ: Mapping[str, str] = os.environ) -> int | None:
    """A number of a launcher; None if it is not set. Raises `ConfigError`."""
    value = text(name, environ)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise ConfigError(f"{name} = {value!r}: must be a whole number: set it right, or unset it")
    return int(value)


def omp_threads(environ: Mapping[str, str] = os.environ) -> int | None:
    """Threads of a process by OMP_NUM_THREADS; None if it is not set. Raises `ConfigError`."""
    value = text("OMP_NUM_THREADS", environ)
    if value is None:
        return None
    levels = [level.strip() for level in value.split(",")]
    if not all(level.isascii() and level.isdigit() and 1 <= int(level[:9]) <= MAX_THREADS for level in levels):
        raise ConfigError(f"OMP_NUM_THREADS = {value!r}: must be a number of threads from 1 to {MAX_THREADS:,}, or a "
                          "list of them such as 4,2: set it right, or unset it")  # fmt: skip
    return int(levels[0])


def compiler(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The words of CC; empty if it is not set. Raises `ConfigError` for quotes that do not match."""
    value = text("CC", environ) or ""
    try:
        return shlex.split(value)
    except ValueError as error:
        raise ConfigError(f"CC = {value!r}: {error}: set it right, or unset it") from None


def recipes(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder of REPRODUCE_RECIPES; None if it is not set. Raises `ConfigError` if there is no such folder."""
    value = text("REPRODUCE_RECIPES", environ)
    if value is not None and not Path(value).is_dir():
        raise ConfigError(f"REPRODUCE_RECIPES = {value!r}: no such folder: set it right, or unset it")
    return Path(value).absolute() if value else None


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where a user's programs keep what they can make again; None for a user who has no such place."""
    named = text("XDG_CACHE_HOME", environ)
    if named and Path(named).is_absolute():
        return Path(named)
    home = text("HOME", environ)
    try:
        return (Path(home) if home else Path.home()) / ".cache"
    except RuntimeError:  # neither HOME nor an account
        return None


def ignore_matplotlib_settings() -> None:
    """Have matplotlib, once it is imported, read no settings of the user's: they may be damaged, or a pipe."""
    os.environ["MPLBACKEND"] = "Agg"  # one that is not installed here, such as a notebook's own, fails
    os.environ["MATPLOTLIBRC"] = os.devnull
    if os.path.lexists("matplotlibrc"):  # in the current folder, where it is looked for first
        here = os.getcwd()
        os.chdir(Path(__file__).parent)
        try:
            importlib.import_module("matplotlib")
        finally:
            os.chdir(here)


def without(prefix: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for a program that must not see the variables that begin with `prefix`."""
    return {name: value for name, value in environ.items() if not name.startswith(prefix)}
