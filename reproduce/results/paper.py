"""The paper's numbers, read strictly from ``paper_configs/paper.toml``. Every one carries how well it is known."""

import dataclasses
import functools
import re
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path

from reproduce import files
from reproduce.artefact import TIERS
from reproduce.errors import ConfigError
from reproduce.nearest import nearest
from reproduce.paths import CONFIGS

PATH = CONFIGS / "paper.toml"
MOST = 10**15
STATUSES = ("abstract", "secondary", "recalled", "derived")
EVIDENCE = ("seconds", "images_per_second", "top1", "sweep", "panel", "none")


@dataclass(frozen=True)
class About:
    title: str
    authors: str
    reference: str


@dataclass(frozen=True)
class Value:
    """One number. `tolerance` is in `unit`; None when `tiers`, where it may be compared, is empty."""

    value: float
    unit: str
    place: str
    status: str
    tiers: tuple[str, ...]
    tolerance_reason: str
    tolerance: float | None = None
    qualifier: str = ""  # "over": the paper gives a lower bound
    note: str = ""
    inputs: tuple[str, ...] = ()  # of a derived value

    @property
    def text(self) -> str:
        """The number with its unit, without its status: print it beside a status only."""
        number = f"{self.value:,.0f}" if self.value == int(self.value) and self.unit != "%" else f"{self.value:,}"
        return f"{self.qualifier} {number} {self.unit}".strip()


@dataclass(frozen=True)
class Machine:
    """What the paper's elapsed times were measured on: so many GPUs, whose driver calls them `gpu`.

    A log names the GPUs and their number, not the network between them.
    """

    text: str
    devices: int
    gpu: str
    names: tuple[str, ...]  # the other words its name may have
    place: str

    def is_named(self, hardware: str) -> bool:
        """Whether the description of hardware in a log, such as "2048 x Tesla V100-SXM2-16GB, one process each", fits.

        A name with a word the paper's machine does not have (V100S, PCIE, SXM3) is another GPU.
        """
        found = re.fullmatch(r"([\d,]+) x (.+?)(, one process each)?", hardware)
        if not found:
            return False
        words = set(re.split(r"[-\s]+", found[2]))
        return int(found[1].replace(",", "")) == self.devices and {self.gpu} <= words <= {self.gpu, *self.names}


@dataclass(frozen=True)
class Row:
    """A row of Table 1. `top1` in percent; `cell_status` names the cells known better than the row."""

    work: str
    cites: str
    mini_batch: str
    processors: str
    library: str
    time: str
    top1: float
    status: str
    check: str
    cell_status: dict[str, str] = field(default_factory=dict)

    @property
    def status_text(self) -> str:
        """The row's status, or the statuses of its cells: ``abstract (time, top-1); secondary (mini-batch)``."""
        if not self.cell_status:
            return self.status
        groups: dict[str, list[str]] = {}
        for cell, status in self.cell_status.items():
            groups.setdefault(status, []).append({"mini_batch": "mini-batch", "top1": "top-1"}.get(cell, cell))
        parts = [f"{status} ({', '.join(groups[status])})" for status in STATUSES if status in groups]
        return "; ".join([*parts, f"wording {self.status}"])


@dataclass(frozen=True)
class Figure3Point:
    """A known point of Figure 3; `top1` in percent."""

    mini_batch: int
    mini_batch_status: str
    top1: float
    top1_status: str
    place: str

    @property
    def status_text(self) -> str:
        return f"top-1 {self.top1_status}, mini-batch {self.mini_batch_status}"


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper and which measurement speaks to it; either `value` or `status` is given.

    `id`: C1, C2, ..., what documents and the page call it by.
    """

    id: str
    name: str
    text: str
    evidence: str
    needs: str
    value: str = ""
    status: str = ""


@dataclass(frozen=True)
class Paper:
    about: About
    machine: Machine
    values: types.MappingProxyType  # name -> Value
    table1: tuple[Row, ...]
    figure3: tuple[Figure3Point, ...]
    claims: tuple[Claim, ...]

    def status_text(self, name: str) -> str:
        """The status of a value; a derived one names the recalled values it rests on."""
        value = self.values[name]
        recalled = sorted(self._recalled(name) - {name})
        return value.status + (f" from recalled {', '.join(recalled)}" if recalled else "")

    def claim_status(self, claim: Claim) -> str:
        return self.status_text(claim.value) if claim.value else claim.status

    def _recalled(self, name: str) -> set[str]:
        own = {name} if self.values[name].status == "recalled" else set()
        return own.union(*(self._recalled(source) for source in self.values[name].inputs))


@functools.lru_cache
def load(path: Path = PATH) -> Paper:
    """Read the file. Raises `ConfigError` on an unknown or missing key, a wrong type or an unknown status."""
    try:
        raw = files.read_toml(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not readable as TOML: {files.why(error)}") from None
    sections = [section.name for section in dataclasses.fields(Paper)]
    _keys(str(path), raw, sections, sections)
    values = {name: _build(Value, entry, f"{path}: values.{name}") for name, entry in _table(path, raw, "values")}
    paper = Paper(
        about=_build(About, raw["about"], f"{path}: about"),
        machine=_build(Machine, raw["machine"], f"{path}: machine"),
        values=types.MappingProxyType(values),
        table1=tuple(_build(Row, row, f"{path}: {where}") for where, row in _rows(path, raw, "table1")),
        figure3=tuple(_build(Figure3Point, row, f"{path}: {where}") for where, row in _rows(path, raw, "figure3")),
        claims=tuple(_build(Claim, row, f"{path}: {where}") for where, row in _rows(path, raw, "claims")),
    )
    _check(paper, str(path))
    return paper


def _table(path, raw: dict, section: str):
    if not isinstance(raw[section], dict):
        raise ConfigError(f"{path}: {section} must be a table: write [{section}.NAME]")
    return raw[section].items()


def _rows(path, raw: dict, section: str):
    if not isinstance(raw[section], list):
        raise ConfigError(f"{path}: {section} must be a list of tables: write [[{section}]]")
    return [(f"{section}[{index}]", row) for index, row in enumerate(raw[section])]


def _keys(where: str, entry: dict, known, required) -> None:
    for key in entry:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}{nearest(key, known)}")
    for key in required:
        if key not in entry:
            raise ConfigError(f"{where}: {key} is missing: add it")


def _build(cls, entry, where: str):
    """An instance of dataclass `cls` from a TOML table, every key and type checked."""
    if not isinstance(entry, dict):
        raise ConfigError(f"{where} = {entry!r}: must be a table")
    fields = dataclasses.fields(cls)
    required = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    _keys(where, entry, [f.name for f in fields], required)
    hints = typing.get_type_hints(cls)
    built = cls(**{key: _convert(f"{where}.{key}", value, hints[key]) for key, value in entry.items()})
    for key, value in entry.items():
        statuses = value.values() if key == "cell_status" else [value] if key.endswith("status") else []
        for status in statuses:
            if status not in STATUSES:
                raise ConfigError(f"{where}.{key}: {status!r} is no status: must be one of {', '.join(STATUSES)}")
    return built


def _convert(where: str, value, hint):
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and hint in (int, float, float | None) and not 0 < value <= MOST:
        raise ConfigError(f"{where} = {value!r}: must be a number above 0 and at most 10^15")
    if hint in (float, float | None) and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is str and isinstance(value, str) and value.strip():
        return value
    if hint == tuple[str, ...] and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if hint == dict[str, str] and isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return value
    raise ConfigError(f"{where} = {value!r}: wrong type: must be {getattr(hint, '__name__', hint)}, not empty")


def _check(paper: Paper, path: str) -> None:
    def rule(ok: bool, where: str, must: str) -> None:
        if not ok:
            raise ConfigError(f"{path}: {where}: must {must}")

    above: set[str] = set()  # inputs may only point upwards, so they cannot go in a circle
    for name, value in paper.values.items():
        rule(set(value.tiers) <= set(TIERS), f"values.{name}.tiers", f"hold only {', '.join(TIERS)}")
        rule((value.tolerance is None) == (not value.tiers), f"values.{name}.tolerance",
             "be given where tiers names a tier, and only there")  # fmt: skip
        rule((value.tolerance or 0) <= value.value, f"values.{name}.tolerance", "be at most the value")
        rule(set(value.inputs) <= above, f"values.{name}.inputs", "name values that stand above it")
        above.add(name)
        rule(bool(value.inputs) == (value.status == "derived"), f"values.{name}.inputs",
             "be given for a derived value, and only for one")  # fmt: skip
    cells = {"mini_batch", "processors", "library", "time", "top1"}
    for index, row in enumerate(paper.table1):
        rule(set(row.cell_status) <= cells, f"table1[{index}].cell_status", f"name cells: {', '.join(sorted(cells))}")
    for top1 in [row.top1 for row in paper.table1] + [point.top1 for point in paper.figure3]:
        rule(top1 <= 100, f"top1 = {top1:g}", "be at most 100 %")
    ids = [claim.id for claim in paper.claims]
    for index, claim in enumerate(paper.claims):
        rule(re.fullmatch("C[1-9][0-9]?", claim.id) is not None, f"claims[{index}].id", "be C1 to C99")
        rule(ids.count(claim.id) == 1, f"claims[{index}].id", "be of this claim alone")
        rule(claim.evidence in EVIDENCE, f"claims[{index}].evidence", f"be one of {', '.join(EVIDENCE)}")
        rule(bool(claim.value) or claim.evidence in ("sweep", "panel", "none"), f"claims[{index}].value",
             f"be given for evidence {claim.evidence!r}")  # fmt: skip
        rule(bool(claim.value) != bool(claim.status), f"claims[{index}]", "give either value or status")
        rule(not claim.value or claim.value in paper.values, f"claims[{index}].value", "name one of [values]")
