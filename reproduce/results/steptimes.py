"""Step times of group rules on networks of several rates: what `bench comm` writes and `groups.py` draws. No torch."""

import json
import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path

from reproduce import files
from reproduce.errors import LogError
from reproduce.logged import is_number

FILE = "bench/comm.json"  # below a results folder
COMMAND = "python -m reproduce.bench comm"
ABOUT = ("hardware", "place", "model", "local_batch", "image_size", "torch", "python", "revision")  # what is shown
RULES = ("cubic:3", "size:8MB", "layer", "single")
HEADER = ["network", "groups by", "wire", "allreduces", "MB", "overlapped, ms", "after backward, ms", "overlap gains",
          "against DDP"]  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A way to exchange the gradients: rule, whether backward goes on meanwhile, type on the wire.

    Rule "ddp" is PyTorch's DistributedDataParallel with its defaults; "none" exchanges nothing.
    """

    rule: str
    overlap: bool = True
    wire: str = "fp32"

    def __str__(self) -> str:
        after = "" if self.overlap or self.rule == "none" else ", after backward"
        return self.rule + ("" if self.wire == "fp32" else f" {self.wire}") + after


DDP, COMPUTE, HALF = Variant("ddp"), Variant("none", False), Variant("cubic:3", True, "fp16")
ONCE = (HALF, DDP, COMPUTE)  # measured in one way only


def variants(rules=RULES) -> tuple[Variant, ...]:
    """Everything that is measured at one rate: each rule both ways, and what it is compared with."""
    return (*(Variant(rule, overlap) for rule in rules for overlap in (True, False)), *ONCE)


@dataclass(frozen=True)
class Timing:
    """The step times of a variant. `bytes` is what each process puts into the `groups` allreduces of a step."""

    variant: Variant
    seconds: tuple[float, ...]
    groups: int
    bytes: int

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def text(self) -> str:
        """Milliseconds: median, lowest and highest."""
        low, middle, high = (f"{1e3 * s:,.0f}" for s in (min(self.seconds), self.median, max(self.seconds)))
        return f"{middle} ({low} to {high})"

    def facts(self) -> dict:
        v = self.variant
        return {"rule": v.rule, "overlap": v.overlap, "wire": v.wire, "groups": self.groups, "bytes": self.bytes,
                "n": len(self.seconds), "median": self.median, "seconds": list(self.seconds)}  # fmt: skip


@dataclass(frozen=True)
class Network:
    """What was measured at one rate (`mbit` None: unlimited).

    `lead_ms`: how long before the end of backward the first allreduce began, in the traced step of rank 0. `startup`:
    seconds to equal weights everywhere, by "same_seed" and by "broadcast", and of the "check" that they are equal.
    """

    mbit: float | None
    description: str
    timings: tuple[Timing, ...]
    lead_ms: float | None = None
    startup: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def rate(self) -> str:
        return "unlimited" if self.mbit is None else f"{self.mbit:g} Mbit/s"

    def timing(self, variant: Variant) -> Timing | None:
        return next((timing for timing in self.timings if timing.variant == variant), None)

    def speed(self, variant: Variant, over: Variant) -> float | None:
        """How many times as fast `variant` steps as `over`, by the medians; None if one was not measured."""
        one, other = self.timing(variant), self.timing(over)
        return None if one is None or other is None else other.median / one.median

    def facts(self) -> dict:
        return {"mbit": self.mbit, "network": self.description, "lead_ms": self.lead_ms,
                "startup": {how: list(seconds) for how, seconds in self.startup.items()},
                "variants": [timing.facts() for timing in self.timings]}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """A whole benchmark: `about` says what it ran on (hardware, hosts, model, versions, revision, minutes)."""

    about: dict
    networks: tuple[Network, ...]

    def to_json(self) -> str:
        facts = {"benchmark": "comm", "kind": "measured"} | self.about
        return json.dumps(facts | {"rates": [network.facts() for network in self.networks]}, indent=1) + "\n"


def read(results: Path) -> Result | None:
    """The result below a results folder, None if there is none. Raises `LogError` for a file that is not one."""
    path = Path(results) / FILE
    try:
        facts = files.read_json(path)
        if (facts.pop("benchmark"), facts.pop("kind")) != ("comm", "measured"):
            raise ValueError("not a measurement of this benchmark")
        if absent := set(ABOUT) - set(facts):
            raise ValueError(f"does not say its {', '.join(sorted(absent))}")
        return Result({key: facts[key] for key in facts if key != "rates"}, tuple(map(_network, facts["rates"])))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LogError(f"{path}: not readable: {error.strerror}: check its permissions") from None
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise LogError(f"{path}: not a result of '{COMMAND}' ({reason}): delete it and measure again") from None


def _network(facts: dict) -> Network:
    timings = []
    for one in facts["variants"]:
        seconds = tuple(float(s) for s in one["seconds"])
        if not seconds or not all(0 < one < math.inf for one in seconds):
            raise ValueError(f"{one['rule']}: no step times")
        variant = Variant(one["rule"], one["overlap"], one["wire"])
        timings.append(Timing(variant, seconds, int(one["groups"]), int(one["bytes"])))
    startup = {how: tuple(map(float, seconds)) for how, seconds in facts["startup"].items()}
    if not all(0 < one < math.inf for seconds in startup.values() for one in seconds):
        raise ValueError("no times of the start")
    names = (facts["network"], *(one[key] for one in facts["variants"] for key in ("rule", "wire")))
    if not all(isinstance(name, str) for name in names):
        raise ValueError("names that are no text")
    for key in ("mbit", "lead_ms"):
        if facts[key] is not None and not is_number(facts[key]):
            raise ValueError(f"{key} = {facts[key]!r}")
    return Network(facts["mbit"], facts["network"], tuple(timings), facts["lead_ms"], startup)


def cells(network: Network) -> list[list[str]]:
    """The rows of `HEADER`: a rule and wire type each, DDP and the step without exchange last; holes say `missing`."""
    rows = []
    for variant in [*map(Variant, rules_of(network)), HALF, DDP]:
        after = Variant(variant.rule, False, variant.wire)
        timing, control = network.timing(variant), network.timing(after)
        known = timing or control
        sizes = [str(known.groups), f"{known.bytes / 1e6:.1f}"] if known else ["missing", "missing"]
        both_ways = [text_of(control), ratio(network.speed(variant, after))] if variant not in ONCE else ["", ""]
        against = "1" if variant == DDP else ratio(network.speed(variant, DDP))
        rows.append([network.rate, variant.rule, variant.wire, *sizes, text_of(timing), *both_ways, against])
    return [*rows, [network.rate, "no exchange", "", "0", "0", "", text_of(network.timing(COMPUTE)), "", ""]]


def rules_of(network: Network) -> tuple[str, ...]:
    """The rules of the benchmark, measured or not, and any others that were."""
    found = (timing.variant.rule for timing in network.timings if timing.variant not in ONCE)
    return tuple(dict.fromkeys((*RULES, *found)))


def text_of(timing: Timing | None) -> str:
    return timing.text if timing else "missing"


def ratio(value: float | None) -> str:
    return "missing" if value is None else f"{value:.2f}x"


def startup_text(network: Network) -> str:
    """How long the start took, by either way: medians in seconds; `missing` where it was not measured."""

    def seconds(how: str) -> str:
        found = network.startup.get(how)
        return f"{statistics.median(found):.2f} s" if found else "missing"

    ways = f"{seconds('same_seed')} from the same seed, {seconds('broadcast')} by a broadcast"
    return f"equal weights in all processes after {ways}; comparing their checksums {seconds('check')}"
