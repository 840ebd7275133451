"""What is compared: runs with their curves, the known runs of a recipe, and what a test found."""

from dataclasses import dataclass, fields

from reproduce.judge.bands import Curve, Interval

UNITS = {"top-1": " %", "train loss": ""}


@dataclass(frozen=True)
class Facts:
    """What must agree before curves are compared. None: not known, or of no influence; then it is not asked for.

    `recipe` is a config hash. `device` (cpu, cuda) belongs to references whose rounding shows in the values.
    """

    dataset: str | None = None
    global_batch: int | None = None
    recipe: str | None = None
    device: str | None = None

    def differences(self, other: "Facts") -> list[str]:
        words = {"dataset": "data set", "global_batch": "global batch", "recipe": "recipe", "device": "device type"}
        pairs = [(words[field.name], getattr(self, field.name), getattr(other, field.name)) for field in fields(self)]
        return [f"{word} {ours}, not {theirs}" for word, ours, theirs in pairs if None not in (ours, theirs)
                and ours != theirs]  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run's curves by one-based epoch: top-1 in percent, mean training loss, seconds since run_start; {}: unknown."""

    accuracy: Curve
    loss: Curve
    facts: Facts = Facts()
    seconds: Curve | None = None
    hardware: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Reference:
    """Known runs of one recipe. `peak_epoch` is where the warm-up ends; None leaves the test of the shape out."""

    name: str
    runs: tuple[Run, ...]
    facts: Facts = Facts()
    peak_epoch: float | None = None

    def curves(self, quantity: str) -> list[Curve]:
        return [curve_of(run, quantity) for run in self.runs]


@dataclass(frozen=True)
class Finding:
    """A test that a run failed.

    `epoch`: the first one outside, the farthest from the mean, or, for tests of the whole curve, the last. `lies`:
    where the curve is, "below", "above" or, nearer to the mean than any run, "smooth".
    """

    test: str
    quantity: str
    epoch: int
    value: float
    expected: Interval
    more: str = ""
    lies: str | None = None  # None: as `value` to `expected`

    @property
    def side(self) -> str:
        return self.lies or ("below" if self.value < self.expected.low else "above")

    def __str__(self) -> str:
        unit = UNITS.get(self.quantity, "")
        place = f" at epoch {self.epoch}" if self.test in ("same seed", "band", "final") else ""
        value, expected = f"{self.value:.5g}{unit}", f"{self.expected}{unit}"
        return f"{self.quantity}{place}: {value}, expected {expected}{self.more} ({self.test})"


def curve_of(run: Run, quantity: str) -> Curve:
    return run.accuracy if quantity == "top-1" else run.loss


def quantities(reference: Reference) -> list[str]:
    """Those that every known run has."""
    return [quantity for quantity in UNITS if all(reference.curves(quantity))]
