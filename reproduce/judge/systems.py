"""What the paper's techniques of the system are worth, from benchmarks: seconds that each saves, by network."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reproduce import files
from reproduce.errors import LogError
from reproduce.judge.difference import Difference, difference
from reproduce.results import steptimes
from reproduce.results.steptimes import Network, Variant

RULE = "cubic:3"  # the headline's
NORMS = "LARS over all tensors at once, not timm's tensor by tensor"


@dataclass(frozen=True)
class Saving:
    """`saved` seconds: without the technique minus with it. `ratio`: how many times as fast, by the medians."""

    technique: str
    text: str
    place: str
    saved: Difference
    ratio: float
    source: str

    @property
    def word(self) -> str:
        if self.saved.interval is None or self.saved.interval[0] <= 0 <= self.saved.interval[1]:
            return "none"
        return "helps" if self.saved.mean > 0 else "hurts"

    @property
    def said(self) -> str:
        low, high = self.saved.interval or (float("nan"), float("nan"))
        return (f"{self.ratio:.2f}x, {1e3 * self.saved.mean:+,.0f} ms ({1e3 * low:+,.0f} to {1e3 * high:+,.0f}; "
                f"n = {' and '.join(map(str, self.saved.n))})")  # fmt: skip


def savings(results: Path) -> list[Saving]:
    """From the benchmark of group rules below a tier's results folder; empty if it was not run."""
    result = steptimes.read(results)
    return [one for network in (result.networks if result else ()) for one in _of(network)]


def _of(network: Network) -> list[Saving]:
    after, each = Variant(RULE, False), Variant("layer")
    pairs = [("overlap", "groups sent during backward, not after it", Variant(RULE), after),
             ("data_size", "groups of layers, not one allreduce a layer", Variant(RULE), each)]  # fmt: skip
    found = []
    for technique, text, ours, other in pairs:
        one, two = network.timing(ours), network.timing(other)
        if one and two:
            found.append(_saving(technique, text, network.rate, one.seconds, two.seconds, steptimes.FILE))
    start = network.startup
    if start.get("same_seed") and start.get("broadcast"):
        text = "weights from the same seed, not by a broadcast"
        found.append(_saving("same_seed", text, network.rate, start["same_seed"], start["broadcast"], steptimes.FILE))
    return found


def _saving(
    technique: str, text: str, place: str, ours: Sequence[float], other: Sequence[float], source: str
) -> Saving:
    ratio = statistics.median(other) / statistics.median(ours)
    return Saving(technique, text, place, difference(other, ours), ratio, source)


def norms(bench: Path) -> Saving | None:
    """LARS over all tensors at once against a public one, tensor by tensor, on a CPU; None if it was not run."""
    path = Path(bench) / "lars.json"
    try:
        rows = {row["name"]: row["values"] for table in files.read_json(path)["tables"] for row in table["rows"]}
        ours, other = ([value / 1e3 for value in rows[name]] for name in ("ours, native", "timm Lars"))
        return _saving("batched_norms", NORMS, "on a CPU", ours, other, f"bench/{path.name}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise LogError(f"{path}: not a result of this benchmark ({error!r}): measure again") from None
