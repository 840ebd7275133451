"""What each thing that is changed about the headline recipe is worth, from the logs of its variants, paired by seed."""

from dataclasses import dataclass
from pathlib import Path

from reproduce.judge.difference import Difference, effect, paired, said
from reproduce.recipe.variants import REFERENCE, REGIMES, Variant, at_rate, variants, with_changes
from reproduce.results import measured, rates
from reproduce.results.measured import Measurement
from reproduce.results.rates import Rate

COMMAND = "python -m reproduce.trials.evidence --data data/fashion_mnist"
TRIED = 3  # rates of each variant


@dataclass(frozen=True)
class Effect:
    """One variant of a regime. `difference`: the recipe's top-1 minus the variant's, in points; None: missing.

    So "helps" says that what the recipe does is better than what the variant does instead.
    """

    regime: str
    variant: Variant
    rate: float | None
    at_edge: bool  # the best rate is the lowest or the highest tried: a better one may lie beyond
    found: Measurement | None
    difference: Difference | None

    @property
    def word(self) -> str:
        """helps, hurts, none (no effect seen), or missing: one pair of seeds shows nothing."""
        if self.difference is None or self.difference.interval is None:
            return "missing"
        return effect(self.difference).split()[0].replace("no", "none")

    @property
    def text(self) -> str:
        return f"missing: {COMMAND}" if self.difference is None else effect(self.difference)

    @property
    def said(self) -> str:
        """With interval and number of pairs."""
        return "missing" if self.difference is None else said(self.difference, "points")


def effects(results: Path, regime: str) -> list[Effect]:
    """Every variant of a regime, the recipe itself first; those without logs, or without rates, are holes."""
    tried = rates.read(results)
    found = [(one, *_measured(results, regime, one, tried)) for one in variants(with_changes(REGIMES[regime]))]
    reference = found[0][3].top1_by_seed if found[0][3] else {}
    return [_effect(regime, *one, reference) for one in found]


def _measured(
    results: Path, regime: str, one: Variant, tried: dict[str, list[Rate]]
) -> tuple[float | None, bool, Measurement | None]:
    """(rate, whether it is at the edge, measurement)."""
    known = tried.get(f"{regime}/{one.trains_as or one.name}", [])
    if len(known) < TRIED:
        return None, False, None
    rate, run = rates.best(known), REGIMES[regime]
    edge = rate in (min(r.peak_lr for r in known), max(r.peak_lr for r in known))
    changes = (*one.changes, *at_rate(with_changes(run, one.changes), rate))
    return rate, edge, measured.collect(rates.folder_of(results, regime, one.name), run, changes=changes)


def _effect(
    regime: str, one: Variant, rate: float | None, edge: bool, found: Measurement | None, reference: dict[int, float]
) -> Effect:
    ours = found.top1_by_seed if found else {}
    common = one.name != REFERENCE and bool(ours.keys() & reference.keys())
    return Effect(regime, one, rate, edge, found, paired(reference, ours) if common else None)
