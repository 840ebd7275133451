"""Cluster files: ``paper_configs/clusters/NAME.toml``, read strictly into a `machine.Cluster`.

Every constant is written ``key = { value = V, unit = "U", source = "where", status = "S" }``, an assumed one with
``range = [low, high]`` as well. ``extends`` takes over another file. What `calibrate` solved stands in
``calibrated.toml`` beside them, by software stack, and replaces what a file says of the same constants. How jobs are
started there, ``[launch]``, is for `reproduce.launchers` to read.
"""

import dataclasses
import types
from pathlib import Path
from typing import Any

from reproduce import files
from reproduce.cluster.machine import SECTIONS, STATUSES, About, Cluster, Constant, OneNode
from reproduce.cluster.step import Work, as_fast_as
from reproduce.errors import ConfigError
from reproduce.logged import is_number
from reproduce.nearest import nearest
from reproduce.paths import CLUSTERS, real

FOLDER = CLUSTERS
CALIBRATED, CHOSEN = FOLDER / "calibrated.toml", FOLDER / "chosen.toml"
ACROSS = "software.across"
NODE_RULE = "size:4MB"  # of a node's own sums, which compute hides whatever the rule
RATES = ("FLOP/s", "B/s")  # units of what the model divides by
FIELDS = ("value", "unit", "source", "status", "range")


def names(folder: Path = FOLDER) -> list[str]:
    """The clusters there are; a file that begins with an underscore is only there to be extended."""
    return sorted(p.stem for p in folder.glob("*.toml") if p.stem[0] != "_" and p not in (CALIBRATED, CHOSEN))


def load(name: str, stack: str | None = None, calibrated: Path = CALIBRATED) -> Cluster:
    """A cluster by name, or by the path of its file, with the calibrated constants of a software stack.

    `stack` None: the one its file names. Raises `ConfigError` for an unknown cluster, key, unit, status or stack.
    """
    cluster = bare(name)
    wanted = stack or cluster.about.stack
    if not wanted:
        return as_measured(cluster)
    known = stacks(calibrated)
    if wanted not in known:
        raise ConfigError(f"{calibrated}: no stack {wanted!r}{nearest(wanted, known)}")
    cluster = calibrate(cluster, wanted, known[wanted])
    return as_measured(_with_year(cluster, cluster.constants[ACROSS].status == "assumed"))


def as_measured(cluster: Cluster) -> Cluster:
    """The cluster with the slowdown at which a node is as fast as its owner measured it, where that was done."""
    one = cluster.measured
    return as_fast_as(one.images_per_second, Work(one.local_batch, NODE_RULE), one.gpus, cluster) if one else cluster


def _with_year(cluster: Cluster, assumed: bool) -> Cluster:
    """With what the framework of its year takes across nodes, if that was chosen and the file says nothing itself."""
    entry = across().get(str(cluster.year)) if assumed else None
    if entry is None:
        return cluster
    source = f"{entry['n']} public systems of many nodes of {cluster.year}, the table's second part"
    found = Constant(float(entry["value"]), "s", source, "chosen")
    constants = types.MappingProxyType({**cluster.constants, ACROSS: found})
    return dataclasses.replace(cluster.with_values({ACROSS: found.value}), constants=constants)


def across(path: Path = CHOSEN) -> dict[str, dict]:
    """Chosen seconds (`value`) by the framework's year, and on how many systems (`n`); none before it was chosen."""
    return _parse(path).get("across", {}) if path.is_file() else {}


def bare(name: str) -> Cluster:
    """A cluster as its file alone describes it, before calibration.

    Raises `ConfigError`; all keys that are missing are named in one.
    """
    path = file_of(name)
    about, constants, extra = _read(path, ())
    _complete(path, about, constants)
    parts: dict[str, Any] = {
        section: cls(**{key.name: constants[f"{section}.{key.name}"].value for key in dataclasses.fields(cls)})
        for section, cls in SECTIONS.items()
    }
    if about["name"] != path.stem:
        raise ConfigError(f"{path}: cluster.name = {about['name']!r}: must be the file's name, {path.stem!r}")
    own = not real(path).is_relative_to(FOLDER)
    shown = path if own else real(path).relative_to(FOLDER.parents[1])
    return Cluster(About(**about), **parts, constants=types.MappingProxyType(constants), path=shown.as_posix(),
                   measured=_one_node(path, extra.get("measured")), own=own)  # fmt: skip


def _complete(path: Path, about: dict, constants: dict[str, Constant]) -> None:
    """Raises `ConfigError` with every key that is missing, and with names of a wrong type."""
    keys = dataclasses.fields(About)
    wanted = [f"cluster.{key.name}" for key in keys if key.default is dataclasses.MISSING and key.name not in about]
    wanted += [f"{section}.{key.name}" for section, cls in SECTIONS.items() for key in dataclasses.fields(cls)
               if f"{section}.{key.name}" not in constants]  # fmt: skip
    if wanted:
        raise ConfigError(
            f"{path}: {len(wanted)} missing: {', '.join(wanted)}: add them, or begin with "
            f'extends = "NAME.toml" of one of {FOLDER}, as {", ".join(names())}'
        )
    wrong = [f"cluster.{key.name} must be {getattr(key.type, '__name__', key.type)}" for key in keys
             if key.name in about and type(about[key.name]) is not key.type]  # fmt: skip
    if wrong:
        raise ConfigError(f"{path}: {', '.join(wrong)}")


def _one_node(path: Path, entry: dict | None) -> OneNode | None:
    """The section [measured]. Raises `ConfigError`."""
    if entry is None:
        return None
    keys = [key.name for key in dataclasses.fields(OneNode)]
    good = isinstance(entry, dict) and set(entry) == set(keys)
    if not good or not all(is_number(entry[key]) and entry[key] > 0 for key in keys):
        raise ConfigError(f"{path}: [measured] needs {', '.join(keys)}, each a number above 0, and nothing else")
    return OneNode(float(entry["images_per_second"]), int(entry["gpus"]), int(entry["local_batch"]))


def launching(name: str) -> tuple[Path, int, dict]:
    """The file of a cluster, the GPUs of a node (0 where the file does not say), and ``[launch]`` as it stands there.

    Raises `ConfigError`.
    """
    path = file_of(name)
    _, constants, extra = _read(path, ())
    gpus = constants.get("node.gpus")
    return path, int(gpus.value) if gpus else 0, extra.get("launch", {})


def file_of(name: str) -> Path:
    """The file of a cluster: of a name in `FOLDER`, else of the user's own, with or without its ending."""
    written = Path(name if name.endswith(".toml") else f"{name}.toml")
    for path in (written,) if name.endswith(".toml") else (FOLDER / written, written):
        if path.is_file():
            return path
    raise ConfigError(f"{name}: no such cluster{nearest(name, names())}; a file of your own is {written} here, "
                      "or its path")  # fmt: skip


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
        raise ConfigError(f"{where}: unknown key{nearest(key, fields)}")
    if not isinstance(entry, dict) or "value" not in entry:
        raise ConfigError(f'{where}: write {key} = {{ value = ..., unit = "...", source = "...", status = "..." }}')
    for extra in set(entry) - set(FIELDS):
        raise ConfigError(f"{where}: unknown field {extra!r}{nearest(extra, FIELDS)}")
    unit = fields[key].metadata["unit"]
    if entry.get("unit") != unit:
        raise ConfigError(f"{where}: unit = {entry.get('unit')!r}: must be {unit!r}")
    if not isinstance(entry.get("status"), str) or entry["status"] not in STATUSES:
        raise ConfigError(f"{where}: status = {entry.get('status')!r}{nearest(str(entry.get('status')), STATUSES)}")
    if not isinstance(entry.get("source"), str) or not entry["source"].strip():
        raise ConfigError(f"{where}: has no source: say where the value stands, or why it was assumed")
    value, span = entry["value"], entry.get("range")
    if not is_number(value) or value < 0 or (unit in RATES and not value):
        raise ConfigError(f"{where} = {value!r}: must be a number, {'above' if unit in RATES else 'at least'} 0")
    if (span is not None) != (entry["status"] == "assumed"):
        raise ConfigError(f"{where}: range: an assumed constant has one, no other does")
    good = span is None or (isinstance(span, list) and len(span) == 2 and all(map(is_number, span)))
    if not good or (span is not None and not 0 <= span[0] <= value <= span[1]):
        raise ConfigError(f"{where}: range = {span!r}: must be [low, high] with 0 <= low <= value <= high")
    limits = (float(span[0]), float(span[1])) if span is not None else None
    return Constant(float(value), unit, entry["source"], entry["status"], limits)


def _read(path: Path, seen: tuple[Path, ...]) -> tuple[dict, dict[str, Constant], dict]:
    """The names, the constants and the other sections of a file and of what it extends; names are never inherited."""
    raw, own = _parse(path), real(path)
    if own in seen:
        raise ConfigError(f"{path}: 'extends' goes in a circle: remove one of the links")
    base = raw.pop("extends", "")
    if not isinstance(base, str):
        raise ConfigError(f"{path}: extends = {base!r}: must be the name of a file")
    for section in raw.keys() - {"measured"}:
        if not isinstance(raw[section], dict):
            raise ConfigError(f"{path}: {section} must be a table: write [{section}] on a line of its own")
    _, constants, extra = _read(_base(path, base), (*seen, own)) if base else ({}, {}, {})
    about = raw.pop("cluster", {})
    extra = {"launch": extra.get("launch", {}) | raw.pop("launch", {})} | {key: raw.pop(key) for key in ("measured",)
                                                                           if key in raw}  # fmt: skip
    known = [key.name for key in dataclasses.fields(About)]
    for key in set(about) - set(known):
        raise ConfigError(f"{path}: cluster.{key}: unknown key{nearest(key, known)}")
    for section, entries in raw.items():
        if section not in SECTIONS:
            raise ConfigError(f"{path}: unknown section [{section}]{nearest(section, ['cluster', *SECTIONS])}")
        for key, entry in entries.items():
            name = f"{section}.{key}"
            constants[name] = constant(f"{path}: {name}", name, entry)
    return about, constants, extra


def _base(path: Path, name: str) -> Path:
    """A file that another extends: beside it, else one of ours."""
    beside = path.parent / name
    return beside if beside.is_file() or not (FOLDER / name).is_file() else FOLDER / name


def _parse(path: Path) -> dict:
    try:
        return files.read_toml(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not readable as TOML: {files.why(error)}") from None
