"""Contract 1: a TOML file says what was run; this module turns it into a frozen, checked, hashed `Config`.

A config names *workers* (the paper's GPUs) and a *local batch* (images per worker and step), not devices: the same
file runs on 2,048 GPUs, on eight, or on a CPU with the same mathematics. How many devices there are is the launcher's
business.

Every recipe value is written ``key = { value = V, source = S, ref = "where" }`` with S one of `SOURCES`, so that each
number on a page can be followed to where it came from. Only ``[run]`` (names and titles) holds plain values. A file
may extend another and state only what differs; ``python -m reproduce.config FILE`` prints the whole, with sources.
Imports neither torch nor NumPy: the report reads configs on machines that have neither.
"""

import argparse
import dataclasses
import difflib
import hashlib
import json
import math
import sys
import tomllib
import types
import typing
from dataclasses import dataclass
from pathlib import Path

from reproduce.errors import ConfigError, command

SOURCES = {
    "abstract": "printed in the paper's abstract",
    "secondary": "read in a public translation of, or article about, the paper",
    "recalled": "known from memory of the paper; not re-read",
    "mlperf06": "the same team's public MLPerf v0.6 submission, June 2019; not the paper's run",
    "derived": "arithmetic from other values, shown in ref",
    "public": "another public source, named in ref",
    "tuned_here": "tuned on the embedded data set; ref says how",
    "chosen_here": "a choice of this package; ref says why",
    "override": "given on the command line",
}

LARS_PRESETS = ("fujitsu_mlperf06", "mlperf_tf2", "apex_larc", "timm", "nus")
SGD_PRESETS = ("sgd",)


@dataclass(frozen=True)
class Run:
    """Names and labels; not part of the recipe hash, so a better title does not make a run stale."""

    name: str
    title: str
    tier: str  # "paper" (ImageNet; also what --tier node runs) or "quick" (embedded data)
    scales_down: str | None = None  # quick only: the paper-tier config this one stands for
    note: str = ""


@dataclass(frozen=True)
class Data:
    """The data set and the one pipeline every back-end executes. Pixel statistics are on the 0-255 scale."""

    dataset: str  # "imagenet" | "fashion_mnist" | "synthetic"
    train_images: int
    val_images: int
    classes: int
    image_size: int  # pixels, square, after the crop
    eval_resize: int  # shorter side before the centre crop, pixels
    crop_area: tuple[float, float]  # fraction of the image's area
    crop_aspect: tuple[float, float]  # width / height
    flip_probability: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    unaugmented_epochs: int  # the last N epochs train on centre crops without flip
    corrupt_images: str = "error"  # "error" | "skip"


@dataclass(frozen=True)
class Model:
    name: str  # "resnet50" | "resnet8"
    input_channels: int  # 4: a zero plane is appended, as the team did for Tensor Cores
    bn_momentum: float  # of the running statistics: new = momentum * old + (1 - momentum) * batch
    bn_epsilon: float


@dataclass(frozen=True)
class Batch:
    """Workers and what each of them holds. Global batch = workers * local batch."""

    workers: int
    local_batch: tuple[tuple[int, int], ...]  # phases: (first epoch, zero-based; images per worker)
    epoch_rule: str  # "ceil": a whole number of updates per epoch; "carry": the team's, the rest carries over
    bn_eval: str  # whose running statistics evaluate: "mean" over workers | "rank0"


@dataclass(frozen=True)
class Optimizer:
    preset: str  # one of LARS_PRESETS or SGD_PRESETS: momentum convention, trust ratio, who is skipped
    momentum: float
    momentum_end: float | None  # reached linearly at the last update; None: constant
    weight_decay: float
    trust_coefficient: float | None  # LARS only
    epsilon: float | None  # LARS only
    label_smoothing: float  # MXNet's alpha: gold class 1 - alpha, every other class alpha / (classes - 1)


@dataclass(frozen=True)
class Schedule:
    epochs: int
    peak_lr: float
    warmup_epochs: float
    decay: str  # "polynomial" | "linear" | "step"
    decay_epochs: float  # length of the decay after warm-up; the rest runs at the end rate
    decay_power: float  # polynomial
    end_lr_ratio: float  # of the peak
    decay_milestones: tuple[float, ...] = ()  # step: epochs at which the rate is multiplied by decay_factor
    decay_factor: float = 0.1
    weight_decay_follows_warmup: bool = False  # the team's: decay rises with the warm-up (see engine/schedule.py)


@dataclass(frozen=True)
class Precision:
    compute: str  # "auto" | "fp32" | "bf16" | "fp16"; weights, momenta and statistics stay fp32
    loss_scale: float = 1.0


@dataclass(frozen=True)
class Evaluation:
    every: int  # epochs
    offset: int  # first evaluation follows this epoch, one-based as in the MLPerf log


@dataclass(frozen=True)
class Source:
    """Where a value came from: a key of `SOURCES` and a place or reason."""

    kind: str
    ref: str


@dataclass(frozen=True)
class Config:
    run: Run
    data: Data
    model: Model
    batch: Batch
    optimizer: Optimizer
    schedule: Schedule
    precision: Precision
    evaluation: Evaluation
    sources: types.MappingProxyType  # "section.key" -> Source
    path: str  # as given; for messages only

    def recipe(self) -> dict:
        """Everything that determines the run's mathematics, as plain JSON values."""
        return {name: dataclasses.asdict(getattr(self, name)) for name in RECIPE}

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical JSON of `recipe`; the seed is not part of it."""
        text = json.dumps(self.recipe(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    # ---- derived values -------------------------------------------------------------------------------------------

    def local_batch(self, epoch: int) -> int:
        """Images per worker and update in a zero-based epoch."""
        return [batch for first, batch in self.batch.local_batch if first <= epoch][-1]

    def global_batch(self, epoch: int = 0) -> int:
        return self.batch.workers * self.local_batch(epoch)

    @property
    def shard_size(self) -> int:
        """Images a worker sees per epoch: rounded up, or down as the team's iterator did (facts h)."""
        per_worker = self.data.train_images / self.batch.workers
        return math.ceil(per_worker) if self.batch.epoch_rule == "ceil" else math.floor(per_worker)

    def nominal_updates(self, epoch: int) -> int:
        """Updates of a zero-based epoch as the schedules count them."""
        return math.ceil(self.shard_size / self.local_batch(epoch))

    def epoch_updates(self) -> list[int]:
        """Updates executed in each epoch.

        With "carry", the last batch of an epoch is filled from the next one and the over-run shortens a later epoch:
        86,016 at 2,048 workers gives 14 updates in ten epochs and 15 in the others, 1,340 in all (facts h). The
        un-augmented tail has an iterator, so a counter, of its own.
        """
        if self.batch.epoch_rule == "ceil":
            return [self.nominal_updates(epoch) for epoch in range(self.schedule.epochs)]
        updates, seen = [], 0
        for epoch in range(self.schedule.epochs):
            if epoch == self.first_unaugmented_epoch:
                seen = 0
            batch = self.local_batch(epoch)
            updates.append(math.ceil((self.shard_size - seen) / batch))
            seen += updates[-1] * batch - self.shard_size
        return updates

    @property
    def total_updates(self) -> int:
        return sum(self.epoch_updates())

    def updates_at(self, epochs: float) -> int:
        """Nominal updates in the first `epochs` epochs (may be fractional), rounded to the nearest update."""
        whole = int(epochs)
        count = sum(self.nominal_updates(epoch) for epoch in range(whole))
        return round(count + (epochs - whole) * self.nominal_updates(min(whole, self.schedule.epochs - 1)))

    @property
    def first_unaugmented_epoch(self) -> int:
        return self.schedule.epochs - self.data.unaugmented_epochs

    def evaluates_after(self, epoch: int) -> bool:
        """Whether an evaluation follows this one-based epoch; the last epoch is always evaluated."""
        due = epoch >= self.evaluation.offset and (epoch - self.evaluation.offset) % self.evaluation.every == 0
        return due or epoch == self.schedule.epochs


SECTIONS = {
    "run": Run, "data": Data, "model": Model, "batch": Batch, "optimizer": Optimizer,
    "schedule": Schedule, "precision": Precision, "evaluation": Evaluation,
}  # fmt: skip
RECIPE = tuple(name for name in SECTIONS if name != "run")


def load(path: str | Path, overrides: typing.Sequence[str] = ()) -> Config:
    """Read a config file.

    `overrides` are ``"section.key=VALUE"`` with VALUE in TOML syntax; each gets the source "override" and changes
    the hash. Raises `ConfigError` on an unreadable file, an unknown key, a wrong type, a broken rule or a value
    without a source.
    """
    table = _read(Path(path), ())
    for text in overrides:
        _override(table, text, str(path))
    return _build(table, str(path))


def parse_value(section: str, key: str, value, where: str = "value"):
    """Check and convert one plain value for ``section.key``; raises `ConfigError`. Used by tests and tools."""
    hints = typing.get_type_hints(SECTIONS[section])
    return _convert(f"{where}: {section}.{key}", value, hints[key])


# ---- reading ------------------------------------------------------------------------------------------------------


def _read(path: Path, seen: tuple[Path, ...]) -> dict:
    """The merged tables of a file and of what it extends: ``{section: {key: (value, Source | None)}}``."""
    if path.resolve() in seen:
        raise ConfigError(f"{path}: 'extends' goes in a circle: remove one of the links")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = sorted(p.name for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        hint = difflib.get_close_matches(path.name, known, 1)
        raise ConfigError(f"{path}: no such config file" + (f": did you mean {hint[0]}?" if hint else "")) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not readable as TOML: {error}") from None
    base = raw.pop("extends", None)
    if base is not None and not isinstance(base, str):
        raise ConfigError(f"{path}: extends = {base!r}: must be a file name relative to this file")
    merged = _read(path.parent / base, (*seen, path.resolve())) if base else {}
    for section, entries in raw.items():
        if section not in SECTIONS:
            raise ConfigError(f"{path}: unknown section [{section}]{_nearest(section, SECTIONS)}")
        if not isinstance(entries, dict):
            raise ConfigError(f"{path}: {section} must be a table: write [{section}] on a line of its own")
        if section == "run":  # names are never inherited: a file that forgot its own must not pass as its base
            merged["run"] = {}
        for key, entry in entries.items():
            merged.setdefault(section, {})[key] = _entry(f"{path}: {section}.{key}", section, key, entry)
    return merged


def _entry(where: str, section: str, key: str, entry):
    fields = {field.name for field in dataclasses.fields(SECTIONS[section])}
    if key not in fields:
        raise ConfigError(f"{where}: unknown key{_nearest(key, fields)}")
    if section == "run":
        return entry, None
    if not isinstance(entry, dict) or "value" not in entry:
        raise ConfigError(f"{where}: has no source: write {key} = {{ value = ..., source = \"...\", ref = \"...\" }}")
    extra = set(entry) - {"value", "source", "ref"}
    if extra:
        raise ConfigError(f"{where}: unknown field {sorted(extra)[0]!r}: only value, source and ref are allowed")
    if entry.get("source") not in SOURCES or entry["source"] == "override":
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
        raise ConfigError(f"--set {text}: unknown key{_nearest(key, fields)}")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        raise ConfigError(f"--set {text}: {value!r} is not a TOML value: put strings in double quotes") from None
    table.setdefault(section, {})[key] = (parsed, Source("override", f"--set {name.strip()}"))


def _nearest(name: str, known) -> str:
    close = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f": did you mean {close[0]!r}?" if close else f": known are {', '.join(sorted(known))}"


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
    _check(config)
    return config


def _convert(where: str, value, hint):
    """`value` as type `hint`; local_batch may be a single number. Raises `ConfigError` naming the expected type."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(None) in options and value == "none":  # TOML has no null; lets a file unset what it inherits
        return None
    for option in options:
        if option is type(None):
            continue
        if typing.get_origin(option) is tuple:
            inner = typing.get_args(option)
            if where.endswith("batch.local_batch") and isinstance(value, int) and not isinstance(value, bool):
                return ((0, value),)
            if isinstance(value, list) and (inner[-1] is Ellipsis or len(value) == len(inner)):
                inner = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
                return tuple(_convert(f"{where}[{i}]", v, t) for i, (v, t) in enumerate(zip(value, inner)))
        elif option is float and isinstance(value, int | float) and not isinstance(value, bool):
            if math.isfinite(value):
                return float(value)
        elif isinstance(value, option) and (option is bool or not isinstance(value, bool)):
            return value
    wanted = str(getattr(options[0], "__name__", options[0])) if not typing.get_args(options[0]) else str(options[0])
    raise ConfigError(f"{where} = {value!r}: wrong type: must be {wanted}")


def _check(c: Config) -> None:
    """The rules between and on values. One line each: what, where, the rule; the remedy where it is not the rule."""

    def rule(ok: bool, key: str, must: str) -> None:
        if not ok:
            section, _, name = key.partition(".")
            raise ConfigError(f"{c.path}: {key} = {getattr(getattr(c, section), name)!r}: must be {must}")

    def one_of(key: str, *allowed: str) -> None:
        section, _, name = key.partition(".")
        rule(getattr(getattr(c, section), name) in allowed, key, "one of " + ", ".join(allowed))

    one_of("run.tier", "paper", "quick")
    rule(c.run.name == Path(c.path).stem or c.path == "", "run.name", f"the file's name, {Path(c.path).stem!r}")
    one_of("data.dataset", "imagenet", "fashion_mnist", "synthetic")
    one_of("data.corrupt_images", "error", "skip")
    for key in ("train_images", "val_images", "classes", "image_size"):
        rule(getattr(c.data, key) >= 1, f"data.{key}", "at least 1")
    rule(c.data.eval_resize >= c.data.image_size, "data.eval_resize", f"at least image_size = {c.data.image_size}")
    low, high = c.data.crop_area
    rule(0 < low <= high <= 1, "data.crop_area", "[low, high] with 0 < low <= high <= 1")
    low, high = c.data.crop_aspect
    rule(0 < low <= high, "data.crop_aspect", "[low, high] with 0 < low <= high")
    rule(0 <= c.data.flip_probability <= 1, "data.flip_probability", "in [0, 1]")
    rule(len(c.data.mean) in (1, 3), "data.mean", "one number per channel: 1 or 3")
    rule(len(c.data.std) == len(c.data.mean), "data.std", f"as long as data.mean: {len(c.data.mean)}")
    rule(min(c.data.std) > 0, "data.std", "positive")
    rule(0 <= c.data.unaugmented_epochs <= c.schedule.epochs, "data.unaugmented_epochs", "in [0, schedule.epochs]")
    one_of("model.name", "resnet50", "resnet8")
    channels = len(c.data.mean)
    rule(c.model.input_channels in (channels, 4), "model.input_channels", f"{channels}, or 4 to append a zero plane")
    rule(0 <= c.model.bn_momentum < 1, "model.bn_momentum", "in [0, 1)")
    rule(c.model.bn_epsilon > 0, "model.bn_epsilon", "positive")
    rule(c.batch.workers >= 1, "batch.workers", "at least 1")
    rule(c.batch.workers <= c.data.train_images, "batch.workers", f"at most train_images = {c.data.train_images}")
    firsts = [first for first, _ in c.batch.local_batch]
    rule(bool(firsts) and firsts[0] == 0 and firsts == sorted(set(firsts)), "batch.local_batch",
         "a number, or phases [[first_epoch, images], ...] that begin at epoch 0 and rise")  # fmt: skip
    rule(all(batch >= 2 for _, batch in c.batch.local_batch), "batch.local_batch",
         "at least 2: batch norm needs more than one image per worker")  # fmt: skip
    one_of("batch.epoch_rule", "ceil", "carry")
    one_of("batch.bn_eval", "mean", "rank0")
    one_of("optimizer.preset", *LARS_PRESETS, *SGD_PRESETS)
    rule(0 <= c.optimizer.momentum < 1, "optimizer.momentum", "in [0, 1)")
    rule(0 <= (c.optimizer.momentum_end or 0) < 1, "optimizer.momentum_end", "in [0, 1)")
    rule(c.optimizer.weight_decay >= 0, "optimizer.weight_decay", "at least 0")
    rule(0 <= c.optimizer.label_smoothing < 1, "optimizer.label_smoothing", "in [0, 1)")
    if c.optimizer.preset in LARS_PRESETS:
        rule((c.optimizer.trust_coefficient or 0) > 0, "optimizer.trust_coefficient", "given and positive for LARS")
        rule((c.optimizer.epsilon or 0) >= 0, "optimizer.epsilon", "at least 0")
    else:
        rule(c.optimizer.trust_coefficient is None, "optimizer.trust_coefficient", "absent: momentum SGD has none")
    rule(c.schedule.epochs >= 1, "schedule.epochs", "at least 1")
    rule(firsts[-1] < c.schedule.epochs, "batch.local_batch", f"phases that begin before epoch {c.schedule.epochs}")
    rule(c.schedule.peak_lr > 0, "schedule.peak_lr", "positive")
    rule(0 <= c.schedule.warmup_epochs < c.schedule.epochs, "schedule.warmup_epochs",
         f"in [0, {c.schedule.epochs}): warm-up may not be longer than the run")  # fmt: skip
    one_of("schedule.decay", "polynomial", "linear", "step")
    rule(c.schedule.decay_epochs > 0, "schedule.decay_epochs", "positive")
    rule(c.schedule.warmup_epochs + c.schedule.decay_epochs <= c.schedule.epochs, "schedule.decay_epochs",
         f"at most {c.schedule.epochs} - warmup_epochs = {c.schedule.epochs - c.schedule.warmup_epochs:g}")  # fmt: skip
    rule(c.schedule.decay_power > 0, "schedule.decay_power", "positive")
    rule(0 <= c.schedule.end_lr_ratio <= 1, "schedule.end_lr_ratio", "in [0, 1]")
    rule(list(c.schedule.decay_milestones) == sorted(c.schedule.decay_milestones), "schedule.decay_milestones",
         "in rising order")  # fmt: skip
    rule(0 < c.schedule.decay_factor <= 1, "schedule.decay_factor", "in (0, 1]")
    one_of("precision.compute", "auto", "fp32", "bf16", "fp16")
    rule(c.precision.loss_scale > 0, "precision.loss_scale", "positive")
    rule(c.evaluation.every >= 1, "evaluation.every", "at least 1")
    rule(c.evaluation.offset >= 1, "evaluation.offset", "at least 1")


# ---- python -m reproduce.config FILE ------------------------------------------------------------------------------


@command
def main(argv=None) -> None:
    """Print a config with everything it inherits: one line per value, with its source."""
    parser = argparse.ArgumentParser(prog="python -m reproduce.config", description=main.__doc__)
    parser.add_argument("file", type=Path)
    config = load(parser.parse_args(argv).file)
    print(f"{config.run.name}  hash {config.hash}  global batch {config.global_batch()}  updates {config.total_updates}")
    for section in RECIPE:
        for key, value in dataclasses.asdict(getattr(config, section)).items():
            source = config.sources.get(f"{section}.{key}", Source("default", "not stated; the field's default"))
            print(f"{section}.{key} = {value}  [{source.kind}] {source.ref}")


if __name__ == "__main__":
    sys.exit(main())
