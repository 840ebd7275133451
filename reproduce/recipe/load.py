"""Contract 1: a TOML file says what was run; this module turns it into a frozen, checked, hashed `Config`.

Every recipe value is written ``key = { value = V, source = S, ref = "where" }`` with S one of `SOURCES`, so that each
number on a page can be followed to where it came from. Only ``[run]`` (names and titles) holds plain values. A file
may extend others and state only what differs; ``python -m reproduce.config FILE`` prints the whole, with sources.
Imports neither torch nor NumPy.
"""

import dataclasses
import functools
import sys
import types
import typing
from pathlib import Path

from reproduce import environ, files
from reproduce.errors import ConfigError, command, shown
from reproduce.logged import is_number
from reproduce.nearest import nearest
from reproduce.paths import CONFIGS, real
from reproduce.recipe.config import Config
from reproduce.recipe.rules import check
from reproduce.recipe.runs import VARIANT, name_of, parts
from reproduce.recipe.schema import RECIPE, SECTIONS, SOURCES, Source
from reproduce.words import Parser

LARGEST = 10**12  # of a whole number


def load(path: str | Path, overrides: typing.Sequence[str] = (), variant: typing.Sequence[str] = ()) -> Config:
    """Read a config file.

    `overrides` are ``"section.key=VALUE"`` with VALUE in TOML syntax; each gets the source "override" and changes
    the hash. Those in `variant` are also part of the run's name, so that it has a log of its own. Raises `ConfigError`
    on an unreadable file, an unknown key, a wrong type, a broken rule or a value without a source.
    """
    table = _read(Path(path), ())
    for text in (*variant, *overrides):
        _override(table, text, str(path))
    return _named(_build(table, str(path)), variant)


def load_run(run: str, folder: Path | None = None, overrides: typing.Sequence[str] = ()) -> Config:
    """The config of a run by its name, as in ``quick/speed_b40_w1@batch.workers=2``: see `runs.parts`.

    `folder` None: see `file_of`.
    """
    file, variant = parts(run)
    return load(folder / f"{file}.toml" if folder else file_of(file), overrides, variant)


def file_of(name: str) -> Path:
    """The file of a config by its name: in the folder that REPRODUCE_RECIPES names, else in paper_configs."""
    own = environ.recipes()
    if own and (own / f"{name}.toml").is_file():
        return own / f"{name}.toml"
    return CONFIGS / f"{name}.toml"


def _named(config: Config, variant: typing.Sequence[str]) -> Config:
    for text in variant:
        if not VARIANT.fullmatch(text):
            raise ConfigError(f"--variant {text}: must read SECTION.KEY=VALUE, VALUE a number, true or false: it "
                              "becomes part of a folder's name")  # fmt: skip
    if not variant:
        return config
    run = dataclasses.replace(config.run, name=name_of(config.run.name, variant),
                              title=f"{config.run.title}: {', '.join(variant)}")  # fmt: skip
    return dataclasses.replace(config, run=run)


# ---- reading ------------------------------------------------------------------------------------------------------


def _read(path: Path, seen: tuple[Path, ...]) -> dict:
    """The merged tables of a file and of what it extends: ``{section: {key: (value, Source | None)}}``."""
    try:
        text, own = files.read_text(path), real(path)  # a name that no file can have is refused by the first
        bases, sections = _parsed(path, text)
    except FileNotFoundError:
        known = sorted(p.name for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        raise ConfigError(f"{path}: no such config file{nearest(path.name, known)}") from None
    except (OSError, ValueError) as error:
        by = f" (which {seen[-1].name} extends)" if seen else ""
        raise ConfigError(f"{path}{by}: not readable as TOML: {files.why(error)}") from None
    if own in seen:
        raise ConfigError(f"{path}: 'extends' goes in a circle: remove one of the links")
    merged: dict = {}
    for base in bases:
        for section, inherited in _read(path.parent / base, (*seen, own)).items():
            if section != "run":  # names are never inherited: a file that forgot its own must not pass as its base
                merged.setdefault(section, {}).update(inherited)
    for section, entries in sections.items():
        merged.setdefault(section, {}).update(entries)
    return merged


@functools.lru_cache(256)  # a plan asks for the recipes of every artefact, and most extend the same few files
def _parsed(path: Path, text: str) -> tuple[list[str], dict]:
    """What one file extends, and its own tables. Shared between callers: not to be changed."""
    raw = files.parse_toml(text)
    bases, sections = _bases(raw.pop("extends", []), path), {}
    for section, entries in raw.items():
        if section not in SECTIONS:
            raise ConfigError(f"{path}: unknown section [{section}]{nearest(section, SECTIONS)}")
        if not isinstance(entries, dict):
            raise ConfigError(f"{path}: {section} must be a table: write [{section}] on a line of its own")
        sections[section] = {
            key: _entry(f"{path}: {section}.{key}", section, key, entry) for key, entry in entries.items()
        }
    return bases, sections


def _bases(extends, path: Path) -> list[str]:
    """The files that `path` extends: of two that state a value, the later one counts."""
    bases = [extends] if isinstance(extends, str) else extends
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{path}: extends = {extends!r}: must be a file name relative to this file, or several")
    return bases


def _entry(where: str, section: str, key: str, entry):
    fields = {field.name for field in dataclasses.fields(SECTIONS[section])}
    if key not in fields:
        raise ConfigError(f"{where}: unknown key{nearest(key, fields)}")
    if section == "run":
        return entry, None
    if not isinstance(entry, dict) or "value" not in entry:
        raise ConfigError(f'{where}: has no source: write {key} = {{ value = ..., source = "...", ref = "..." }}')
    extra = set(entry) - {"value", "source", "ref"}
    if extra:
        raise ConfigError(f"{where}: unknown field {sorted(extra)[0]!r}: only value, source and ref are allowed")
    if not isinstance(entry.get("source"), str) or entry["source"] not in SOURCES or entry["source"] == "override":
        allowed = ", ".join(kind for kind in SOURCES if kind != "override")
        raise ConfigError(f"{where}: source = {entry.get('source')!r}: must be one of {allowed}")
    if not isinstance(entry.get("ref"), str) or not entry["ref"].strip():
        raise ConfigError(f"{where}: has no ref: say where in the source the value stands, or why it was chosen")
    return entry["value"], Source(entry["source"], entry["ref"])


def _override(table: dict, text: str, path: str) -> None:
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot) or section not in RECIPE:
        raise ConfigError(f"--set {text}: must read SECTION.KEY=VALUE with SECTION one of {', '.join(RECIPE)}")
    fields = {field.name for field in dataclasses.fields(SECTIONS[section])}
    if key not in fields:
        raise ConfigError(f"--set {text}: unknown key{nearest(key, fields)}")
    try:
        parsed = files.parse_toml(f"value = {value}")["value"]
    except ValueError:
        raise ConfigError(f"--set {text}: {value!r} is not a TOML value: put strings in double quotes") from None
    table.setdefault(section, {})[key] = (parsed, Source("override", f"--set {name.strip()}"))


# ---- building and checking ----------------------------------------------------------------------------------------


def _build(table: dict, path: str) -> Config:
    sources, parts = {}, {}
    for section, cls in SECTIONS.items():
        entries, hints, values = table.get(section, {}), typing.get_type_hints(cls), {}
        for field in dataclasses.fields(cls):
            if field.name in entries:
                value, source = entries[field.name]
                where = f"{path}: {section}.{field.name}"
                values[field.name] = _convert(where, value, hints[field.name])
                if source is not None:
                    sources[f"{section}.{field.name}"] = source
            elif field.default is dataclasses.MISSING and type(None) not in typing.get_args(hints[field.name]):
                raise ConfigError(f"{path}: {section}.{field.name} is missing: add it to [{section}]")
            elif field.default is dataclasses.MISSING:
                values[field.name] = None
        parts[section] = cls(**values)
    config = Config(**parts, sources=types.MappingProxyType(sources), path=path)
    check(config)
    return config


def _convert(where: str, value, hint):
    """`value` as type `hint`; local_batch may be a single number. Raises `ConfigError` naming the expected type."""
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union  # Literals join to the latter
    options = typing.get_args(hint) if union else (hint,)
    literals = [option for option in options if typing.get_origin(option) is typing.Literal]
    allowed = [text for literal in literals for text in typing.get_args(literal)]
    if allowed and value not in allowed:
        raise ConfigError(f"{where} = {value!r}: must be one of {', '.join(allowed)}")
    if allowed:
        return value
    if type(None) in options and value == "none":  # TOML has no null; lets a file unset what it inherits
        return None
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ConfigError(f"{where}: is a whole number beyond {LARGEST:,}")
    for option in options:
        if option is type(None):
            continue
        if typing.get_origin(option) is tuple:
            inner = typing.get_args(option)
            if where.endswith("batch.local_batch") and isinstance(value, int) and not isinstance(value, bool):
                return ((0, value),)
            if isinstance(value, list) and (inner[-1] is Ellipsis or len(value) == len(inner)):
                inner = (inner[0],) * len(value) if inner[-1] is Ellipsis else inner
                return tuple(_convert(f"{where}[{i}]", v, t) for i, (v, t) in enumerate(zip(value, inner)))
        elif option is float:
            if is_number(value):
                return float(value)
        elif isinstance(value, option) and (option is bool or not isinstance(value, bool)):
            return value
    wanted = str(getattr(options[0], "__name__", options[0])) if not typing.get_args(options[0]) else str(options[0])
    raise ConfigError(f"{where} = {value!r}: wrong type: must be {wanted}")


# ---- python -m reproduce.config FILE ------------------------------------------------------------------------------


@command
def main(argv=None) -> None:
    """Print a config with everything it inherits: one line per value, with its source."""
    parser = Parser(prog="python -m reproduce.config", description=main.__doc__)
    parser.add_argument("file", type=Path)
    config = load(parser.parse_args(argv).file)
    numbers = f"global batch {config.global_batch()}  updates {config.total_updates}"
    print(shown(f"{config.run.name}  hash {config.hash}  {numbers}"))
    for section in RECIPE:
        for key, value in dataclasses.asdict(getattr(config, section)).items():
            source = config.sources.get(f"{section}.{key}", Source("default", "not stated; the field's default"))
            print(shown(f"{section}.{key} = {value}  [{source.kind}] {source.ref}"))


if __name__ == "__main__":
    sys.exit(main())
