"""Cluster files: ``paper_configs/clusters/NAME.toml``, read strictly into a `machine.Cluster`.

Every constant is written ``key = { value = V, unit = "U", source = "where", status = "S" }``, an assumed one with
``range = [low, high]`` as well. ``extends`` takes over another file. What `calibrate` solved stands in
``calibrated.toml`` beside them, by software stack, and replaces what a file says of the same constants. How jobs are
started there, ``[launch]``, is for `reproduce.launchers` to read.
"""

import dataclasses
import difflib
import math
import types
from pathlib import Path

from reproduce import files
from reproduce.cluster.machine import SECTIONS, STATUSES, About, Cluster, Constant
from reproduce.errors import ConfigError
from reproduce.paths import CLUSTERS

FOLDER = CLUSTERS
CALIBRATED = FOLDER / "calibrated.toml"
FIELDS = ("value", "unit", "source", "status", "range")


def names(folder: Path = FOLDER) -> list[str]:
    """The clusters there are; a file that begins with an underscore is only there to be extended."""
    return sorted(p.stem for p in folder.glob("*.toml") if p.stem[0] != "_" and p.name != CALIBRATED.name)


def load(name: str, stack: str | None = None, calibrated: Path = CALIBRATED) -> Cluster:
    """A cluster by name, or by the path of its file, with the calibrated constants of a software stack.

    `stack` None: the one its file names. Raises `ConfigError` for an unknown cluster, key, unit, status or stack.
    """
    cluster = bare(name)
    wanted = stack or cluster.about.stack
    if not wanted:
        return cluster
    known = stacks(calibrated)
    if wanted not in known:
        raise ConfigError(f"{calibrated}: no stack {wanted!r}{_nearest(wanted, known)}")
    return calibrate(cluster, wanted, known[wanted])


def bare(name: str) -> Cluster:
    """A cluster as its file alone describes it, before calibration. Raises `ConfigError`."""
    path = _file(name)
    about, constants, _ = _read(path, ())
    parts = {}
    for section, cls in SECTIONS.items():
        values = {}
        for key in dataclasses.fields(cls):
            if f"{section}.{key.name}" not in constants:
                raise ConfigError(f"{path}: {section}.{key.name} is missing: add it to [{section}]")
            values[key.name] = constants[f"{section}.{key.name}"].value
        parts[section] = cls(**values)
    for key in dataclasses.fields(About):
        if not isinstance(about.get(key.name), int if key.type is int else str):
            raise ConfigError(f"{path}: cluster.{key.name} is missing or of a wrong type: must be {key.type.__name__}")
    if about["name"] != path.stem:
        raise ConfigError(f"{path}: cluster.name = {about['name']!r}: must be the file's name, {path.stem!r}")
    shown = path.relative_to(FOLDER.parents[1]) if path.is_relative_to(FOLDER) else path
    return Cluster(About(**about), **parts, constants=types.MappingProxyType(constants), path=shown.as_posix())


def launching(name: str) -> tuple[Path, int, dict]:
    """The file of a cluster, the GPUs of a node (0 where the file does not say), and ``[launch]`` as it stands there.

    Raises `ConfigError`.
    """
    path = _file(name)
    _, constants, launch = _read(path, ())
    gpus = constants.get("node.gpus")
    return path, int(gpus.value) if gpus else 0, launch


def _file(name: str) -> Path:
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise ConfigError(f"{name}: no such cluster{_nearest(name, names())}; a file of your own ends in .toml")
    return path


def calibrate(cluster: Cluster, stack: str, solved: dict[str, Constant]) -> Cluster:
    """The cluster with the constants solved for a stack in place of its own."""
    values = {name: constant.value for name, constant in solved.items()}
    constants = types.MappingProxyType({**cluster.constants, **solved})
    return dataclasses.replace(cluster.with_values(values), constants=constants, stack=stack)


def stacks(path: Path = CALIBRATED) -> dict[str, dict[str, Constant]]:
    """The calibrated constants by software stack. Raises `ConfigError` if there are none."""
    if not path.is_file():
        raise ConfigError(f"{path}: not there: run 'python -m reproduce.cluster calibrate'")
    found = {}
    for stack, entry in _parse(path).get("stacks", {}).items():
        constants = entry.get("constants", {})
        found[stack] = {name: constant(f"{path}: {stack}: {name}", name, one) for name, one in constants.items()}
    return found


def constant(where: str, name: str, entry) -> Constant:
    """A checked constant. Raises `ConfigError` in one line."""
    section, _, key = name.partition(".")
    fields = {one.name: one for one in dataclasses.fields(SECTIONS[section])}
    if key not in fields:
        raise ConfigError(f"{where}: unknown key{_nearest(key, fields)}")
    if not isinstance(entry, dict) or "value" not in entry:
        raise ConfigError(f'{where}: write {key} = {{ value = ..., unit = "...", source = "...", status = "..." }}')
    for extra in set(entry) - set(FIELDS):
        raise ConfigError(f"{where}: unknown field {extra!r}{_nearest(extra, FIELDS)}")
    unit = fields[key].metadata["unit"]
    if entry.get("unit") != unit:
        raise ConfigError(f"{where}: unit = {entry.get('unit')!r}: must be {unit!r}")
    if entry.get("status") not in STATUSES:
        raise ConfigError(f"{where}: status = {entry.get('status')!r}{_nearest(str(entry.get('status')), STATUSES)}")
    if not isinstance(entry.get("source"), str) or not entry["source"].strip():
        raise ConfigError(f"{where}: has no source: say where the value stands, or why it was assumed")
    value, span = entry["value"], entry.get("range")
    if not _is_number(value) or value < 0:
        raise ConfigError(f"{where} = {value!r}: must be a number, at least 0")
    if (span is not None) != (entry["status"] == "assumed"):
        raise ConfigError(f"{where}: range: an assumed constant has one, no other does")
    if span is not None and not (len(span) == 2 and all(map(_is_number, span)) and 0 <= span[0] <= value <= span[1]):
        raise ConfigError(f"{where}: range = {span!r}: must be [low, high] with 0 <= low <= value <= high")
    limits = tuple(map(float, span)) if span is not None else None
    return Constant(float(value), unit, entry["source"], entry["status"], limits)


def _read(path: Path, seen: tuple[Path, ...]) -> tuple[dict, dict[str, Constant], dict]:
    """The names, the constants and the launch section of a file and of what it extends; names are never inherited."""
    if path.resolve() in seen:
        raise ConfigError(f"{path}: 'extends' goes in a circle: remove one of the links")
    raw = _parse(path)
    base = raw.pop("extends", None)
    _, constants, launch = _read(path.parent / base, (*seen, path.resolve())) if base else ({}, {}, {})
    about = raw.pop("cluster", {})
    launch = launch | raw.pop("launch", {})
    known = [key.name for key in dataclasses.fields(About)]
    for key in set(about) - set(known):
        raise ConfigError(f"{path}: cluster.{key}: unknown key{_nearest(key, known)}")
    for section, entries in raw.items():
        if section not in SECTIONS:
            raise ConfigError(f"{path}: unknown section [{section}]{_nearest(section, ['cluster', *SECTIONS])}")
        for key, entry in entries.items():
            name = f"{section}.{key}"
            constants[name] = constant(f"{path}: {name}", name, entry)
    return about, constants, launch


def _parse(path: Path) -> dict:
    try:
        return files.read_toml(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not readable as TOML: {files.why(error)}") from None


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _nearest(name: str, known) -> str:
    close = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f": did you mean {close[0]!r}?" if close else f": known are {', '.join(sorted(known))}"
