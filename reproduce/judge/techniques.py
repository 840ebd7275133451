"""The nine techniques that the paper names: for each, in one sentence, what our measurements say of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reproduce.judge import systems
from reproduce.judge.ablation import COMMAND, Effect, effects
from reproduce.judge.systems import Saving
from reproduce.recipe.variants import REGIMES

WORDS = ("supported", "contradicted", "cannot be tested at this scale", "not yet measured")


@dataclass(frozen=True)
class Technique:
    """`variants` test it: `expected` is what the paper lets one expect of all of them, or of `some`; of those in
    `opposite`, which do what the paper warns of, the other way round. `best`: one better variant contradicts it."""

    name: str
    text: str
    variants: tuple[str, ...] = ()
    expected: str = "helps"
    some: bool = False
    opposite: tuple[str, ...] = ()
    best: bool = False

    def word_of(self, e: Effect) -> str:
        """helps, hurts or none, as if the variant did what the paper recommends."""
        return {"helps": "hurts", "hurts": "helps"}.get(e.word, e.word) if e.variant.name in self.opposite else e.word


TECHNIQUES = (
    Technique("warmup", "a high rate, made stable by warm-up", ("warmup_none",)),
    Technique("lars", "LARS", ("lars_off", "nesterov_sgd")),
    Technique("decay", "the best of several decay patterns", ("decay_step", "decay_linear", "decay_power_2"),
              some=True, best=True),
    Technique("label_smoothing", "label smoothing", ("smoothing_off",)),
    Technique("bn_averages", "that moving averages of batch norm are inaccurate at a large mini-batch",
              ("bn_recalibrated", "bn_momentum_05", "bn_momentum_09"), "hurts", some=True,
              opposite=("bn_momentum_09",)),
    Technique("same_seed", "initialisation from the same seed, without a broadcast"),
    Technique("batched_norms", "all norms of LARS in one kernel"),
    Technique("data_size", "several megabytes per allreduce"),
    Technique("overlap", "static groups of layers, sent during backward"),
)  # fmt: skip


@dataclass(frozen=True)
class Said:
    """A technique with one of `WORDS`, and why. `regime`: the one of the ablation that decides, if one does."""

    technique: Technique
    word: str
    why: str
    regime: str = ""

    def __str__(self) -> str:
        return f"{self.technique.text}: {self.word}: {self.why}."


def techniques(folder: Path) -> list[Said]:
    """In the paper's order, from what is published below `folder`: one tier's results each, and bench/."""
    quick = Path(folder) / "quick"
    found = [one for regime in REGIMES for one in effects(quick, regime)]
    saved = systems.savings(quick)
    norms = systems.norms(Path(folder) / "bench")
    return [_said(one, found, saved, norms) for one in TECHNIQUES]


def _said(one: Technique, found: Sequence[Effect], saved: Sequence[Saving], norms: Saving | None) -> Said:
    if one.variants:
        return accuracy(one, [e for e in found if e.variant.name in one.variants])
    if one.name == "batched_norms":
        why = f"; {norms.text}: {norms.said} {norms.place}" if norms else ""
        return Said(one, "cannot be tested at this scale", f"the claim is of a kernel on a GPU, and none ran this{why}")
    return system(one, [s for s in saved if s.technique == one.name])


def accuracy(one: Technique, found: Sequence[Effect]) -> Said:
    """By regime: the word of the first regime where all of its variants were measured and anything shows.

    `found`: the effects of its variants, each in the regimes that have it.
    """
    seen = [e for e in found if e.word != "missing"]
    if not seen:
        return Said(one, "not yet measured", COMMAND)
    whole = {regime: [e for e in found if e.regime == regime] for regime in REGIMES}
    words = {regime: judged(one, [one.word_of(e) for e in of]) for regime, of in whole.items()
             if of and all(e in seen for e in of)}  # fmt: skip
    regime = next((regime for regime, word in words.items() if word in WORDS[:2]), "")
    word = words[regime] if regime else next(iter(words.values()), "not yet measured")
    why = "; ".join(f"{e.variant.text}, {e.regime} updates: {e.said}, so it {_shows(e)}" for e in seen)
    return Said(one, word, f"top-1 of the recipe minus that with {why}", regime)


def _shows(e: Effect) -> str:
    return {"helps": "is worse", "hurts": "is better"}.get(e.word, f"shows {e.text}")


def judged(one: Technique, words: Sequence[str]) -> str:
    """One of `WORDS`, from helps, hurts and none of each variant."""
    against = "hurts" if one.expected == "helps" else "helps"
    agree = [word == one.expected for word in words]
    if all(word == against for word in words) if one.some and not one.best else against in words:
        return "contradicted"
    if any(agree) if one.some else all(agree):
        return "supported"
    return "cannot be tested at this scale"


def system(one: Technique, found: Sequence[Saving]) -> Said:
    """Supported where it saves time on some network and costs on none; contradicted the other way round."""
    if not found:
        return Said(one, "not yet measured", "python -m reproduce.bench comm")
    words = {s.word for s in found}
    word = "cannot be tested at this scale"
    if words & {"helps", "hurts"} and not {"helps", "hurts"} <= words:
        word = "supported" if "helps" in words else "contradicted"
    shown = sum(s.word != "none" for s in found)
    where = f"a difference on {shown} of {len(found)} links of four emulated hosts"
    return Said(one, word, f"{found[0].text}, {where}: {'; '.join(f'{s.place} {s.said}' for s in found)}")


def block(folder: Path) -> str:
    """Markdown: a numbered line a technique."""
    return "".join(f"{n}. {one}\n" for n, one in enumerate(techniques(folder), 1))
