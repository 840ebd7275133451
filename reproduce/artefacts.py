"""The tables and figures of this package, in the order in which lists and pages show them.

A new one is a script ``reproduce/NAME.py`` that declares ``ARTEFACT``, and its name in `NAMES`. A script that declares
one and is not listed is an error.
"""

import importlib

from reproduce.artefact import Artefact, named
from reproduce.paths import ROOT

NAMES = ("table1", "schedules", "curve", "figure1", "figure2", "figure3", "ablation", "groups")


def script(name: str):
    """The module of an artefact."""
    return importlib.import_module(f"reproduce.{name}")


def _unlisted() -> list[str]:
    folder = ROOT / "reproduce"
    declared = [path for path in sorted(folder.glob("*.py")) if "\nARTEFACT = " in path.read_text(encoding="utf-8")]
    return [path.name for path in declared if path.stem not in NAMES]


if missing := _unlisted():
    raise ImportError(f"{', '.join(missing)}: declares an ARTEFACT that reproduce/artefacts.py does not list: add it")
ARTEFACTS: tuple[Artefact, ...] = tuple(script(name).ARTEFACT for name in NAMES)


def artefact(name: str) -> Artefact:
    """The artefact called `name`; raises KeyError."""
    return named(ARTEFACTS, name)
