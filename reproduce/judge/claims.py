"""The claims of the paper and what speaks to each: evidence, verdict, and the runs behind it.

Paper numbers come from ``paper_configs/paper.toml``, measured ones from logs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reproduce.artefact import TIERS
from reproduce.judge.difference import Difference, effect, paired, said
from reproduce.judge.public_evidence import Finding, findings
from reproduce.judge.verdict import Verdict
from reproduce.recipe.runs import FULL_RECIPE, PAPER_SWEEP, QUICK_PAIR, QUICK_PANEL, QUICK_SWEEP
from reproduce.results import measured, output, paper
from reproduce.results.measured import Measurement, Spread
from reproduce.results.paper import Claim, Paper

HEADLINE = FULL_RECIPE[0]
ELAPSED = ("seconds", "images_per_second")  # quantities of the machine, which an emulation says nothing about
SCALED_DOWN = Verdict("not comparable", "scaled-down evidence only")
SHOWN = {"helps": "LARS is better", "hurts": "LARS is worse"}
DECIMALS = {"seconds": 1, "images_per_second": 0, "top1": 2}


@dataclass(frozen=True)
class Judged:
    """A claim, the paper's number with its status, what was measured, and what follows from it.

    `shown`: the runs behind the evidence. `public`: what others' runs say; it never enters the verdict.
    """

    claim: Claim
    paper: str
    evidence: str
    verdict: Verdict
    shown: tuple[Measurement, ...]
    public: tuple[Finding, ...]


def by_tier(folder: Path) -> dict[str, Path]:
    """The results folder of every tier in a folder that holds one per tier, as the published logs lie."""
    return {tier: Path(folder) / tier for tier in TIERS}


def judged(results: Mapping[str, Path]) -> list[Judged]:
    """Every claim of the paper, compared with the logs in the results folders of one tier or several, `by_tier`."""
    known, found = paper.load(), []
    for claim in known.claims:
        number = known.values[claim.value].text if claim.value else "in words"
        evidence, verdict, shown = judge(claim, known, results)
        text = f"{number} ({known.claim_status(claim)})"
        found.append(Judged(claim, text, evidence, verdict, tuple(shown), findings(claim, known)))
    return found


def judge(claim: Claim, known: Paper, results: Mapping[str, Path]) -> tuple[str, Verdict, list[Measurement]]:
    """What was measured, in words, the verdict, and the runs behind it.

    Evidence on the paper's own experiment goes before scaled-down.
    """
    if claim.evidence in ("sweep", "panel"):
        return judge_figure3(claim, results)
    if claim.evidence != "none":
        for tier in present(results, "paper", "node"):
            m = measured.collect(results[tier], HEADLINE)
            spread = quantity(m, claim.evidence)
            if spread is not None and not m.is_rehearsal:
                text = described(spread, claim.evidence, known.values[claim.value].unit, tier, m.hardware)
                return text, verdict(spread, known, claim, tier, m.hardware), [m]
        quick = [measured.collect(results[tier], run) for tier in present(results, "quick") for run in QUICK_PAIR]
        if claim.evidence == "top1" and quick and quick[0].top1:
            large, small = (f"{m.top1.mean:.2f} %" if m.top1 else "missing" for m in quick)
            text = f"headline recipe {large}, small-batch baseline {small} ({where(quick, 'quick')})"
            return text, SCALED_DOWN, quick
    return nothing(claim)


def present(results: Mapping[str, Path], *tiers: str) -> list[str]:
    """Those of `tiers` whose results folder is given, in that order."""
    return [tier for tier in tiers if tier in results]


def nothing(claim: Claim) -> tuple[str, Verdict, list[Measurement]]:
    return "missing", Verdict("missing", f"needs {claim.needs}"), []


def quantity(m: Measurement, name: str) -> Spread | None:
    """A quantity of a run, by name; the elapsed ones only where every worker had a device."""
    return None if m.emulated and name in ELAPSED else getattr(m, name)


def verdict(spread: Spread, known: Paper, claim: Claim, tier: str, hardware: tuple[str, ...]) -> Verdict:
    """Compare a mean with the paper's number: elapsed quantities only on the paper's machine, by what the logs name."""
    value = known.values[claim.value]
    if tier not in value.tiers:
        return Verdict("not comparable", value.tolerance_reason)
    if claim.evidence in ELAPSED and not all(known.machine.is_named(one) for one in hardware):
        other = f"{' and '.join(hardware)} is not the paper's {known.machine.text}"
        return Verdict("not comparable", f"{other}; the ratio to the paper's number is {spread.mean / value.value:.2f}")
    difference = spread.mean - value.value
    margin = f"±{value.tolerance:,g} {value.unit}"
    if (-difference if value.qualifier == "over" else abs(difference)) <= value.tolerance:
        return Verdict("reproduced", f"within {margin}")
    return Verdict("outside", f"{apart(difference, claim.evidence, value.unit)} the paper's number, tolerance {margin}")


def apart(difference: float, name: str, unit: str) -> str:
    """A difference in words: ``0.31 points below``."""
    size = f"{abs(difference):,.{DECIMALS[name]}f} {'points' if unit == '%' else unit}"
    return f"{size} {'below' if difference < 0 else 'above'}"


def described(spread: Spread, name: str, unit: str, tier: str, hardware: tuple[str, ...]) -> str:
    machine = f", {' and '.join(hardware)}" if name in ELAPSED else ""
    return f"{spread.mean:,.{DECIMALS[name]}f} {unit} (tier {tier}, n = {len(spread.values)}{machine})"


def judge_figure3(claim: Claim, results: Mapping[str, Path]) -> tuple[str, Verdict, list[Measurement]]:
    """The sweep is shown, not judged: but for one point the paper's numbers are not known, so none can be missed."""
    if claim.evidence == "sweep":
        for tier in present(results, "paper", "node", "quick"):
            found = [measured.collect(results[tier], run) for run in (QUICK_SWEEP if tier == "quick" else PAPER_SWEEP)]
            cells = [f"{m.config.global_batch():,}: {m.top1.mean:.2f}" for m in found if m.top1]
            if len(cells) == len(found) and not any(m.is_rehearsal for m in found):
                text = f"top-1 in %, by mini-batch: {'; '.join(cells)} ({where(found, tier)})"
                shown = Verdict("not comparable", "the paper's numbers are not known; shown in Figure 3")
                return text, SCALED_DOWN if tier == "quick" else shown, found
    else:
        found = [measured.collect(results[tier], run) for tier in present(results, "quick") for run in QUICK_PANEL]
        if any(m.top1 for m in found):
            pairs = list(zip(found[: len(found) // 2], found[len(found) // 2 :]))
            cells = [f"{lars.config.global_batch():,}: {gap(lars, sgd)}" for lars, sgd in pairs]
            where_ = where(found, "quick")
            text = f"LARS minus momentum SGD in points, by mini-batch: {'; '.join(cells)} ({where_}): {shown_by(pairs)}"
            return text, SCALED_DOWN, found
    return nothing(claim)


def where(found: list[Measurement], tier: str) -> str:
    counts = sorted({m.n for m in found if m.n})
    return f"tier {tier}, {output.data_sets(found)}, n = {' or '.join(map(str, counts))}"


def apart_by_seed(first: Measurement, second: Measurement) -> Difference | None:
    """First minus second in points, paired by seed; None where no seed is on both sides."""
    ours, theirs = first.top1_by_seed, second.top1_by_seed
    return paired(ours, theirs) if ours.keys() & theirs.keys() else None


def gap(lars: Measurement, sgd: Measurement) -> str:
    found = apart_by_seed(lars, sgd)
    return said(found) if found else "missing"


def shown_by(pairs: list[tuple[Measurement, Measurement]]) -> str:
    """Where the intervals show that LARS is better or worse, and where they show nothing."""
    words: dict[str, list[str]] = {}
    for lars, sgd in pairs:
        found = apart_by_seed(lars, sgd)
        known = found and SHOWN.get(effect(found).split()[0], "a difference is not shown")
        word = known or "nothing is measured"
        words.setdefault(word, []).append(f"{lars.config.global_batch():,}")
    return "; ".join(f"{word} at {', '.join(batches)}" for word, batches in words.items())
