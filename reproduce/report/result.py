"""What was found so far, as the lines that README.md begins with. Every number is computed from the published logs."""

from pathlib import Path

from reproduce.judge import techniques
from reproduce.judge.claims import QUICK_PAIR, apart_by_seed
from reproduce.judge.difference import LEVEL, said
from reproduce.recipe.runs import FULL_RECIPE, QUICK_PANEL
from reproduce.results import measured, output
from reproduce.results.measured import Measurement


def result_block(folder: Path) -> str:
    """Markdown, from the published logs under `folder`/TIER."""
    lines = paper_experiment(folder), headline(folder), optimizers(folder), by_word(folder)
    return "".join(f"- {line}\n" for line in lines)


def paper_experiment(folder: Path) -> str:
    """Whether anybody has run the paper's own experiment with this package."""
    found = [(tier, measured.collect(folder / tier, FULL_RECIPE[0])) for tier in ("paper", "node")]
    done = [f"top-1 {m.top1.mean:.2f} % (tier {tier}, n = {m.n})" for tier, m in found if m.top1]
    return f"The paper's own experiment on ImageNet: {'; '.join(done) or 'not run yet, so neither time nor accuracy'}."


def headline(folder: Path) -> str:
    """The headline recipe beside a small-batch baseline, scaled down."""
    large, small = pair = [measured.collect(folder / "quick", run) for run in QUICK_PAIR]
    batches = " and ".join(f"{m.config.global_batch()}" for m in pair)
    said = ", baseline ".join(_spread(m) for m in pair)
    apart = _apart(large, small)
    where = f"{output.data_sets(pair)}, mini-batches {batches}"
    return f"Scaled down ({where}): headline {said}; difference {apart} points."


def optimizers(folder: Path) -> str:
    """LARS beside momentum SGD where updates are scarce."""
    found = [measured.collect(folder / "quick", run) for run in QUICK_PANEL]
    half = len(found) // 2
    cells = [f"{lars.config.global_batch():,}: {_apart(lars, sgd)}" for lars, sgd in zip(found[:half], found[half:])]
    about = f"{100 * (1 - LEVEL):g} % intervals, paired by seed, scaled down"
    what = f"LARS minus momentum SGD in points, by mini-batch ({about})"
    return f"{what}: {'; '.join(cells)}."


def by_word(folder: Path) -> str:
    """The techniques that the paper names, by what our measurements say of them."""
    said = techniques.techniques(folder)
    groups = [(word, [_name(one) for one in said if one.word == word]) for word in techniques.WORDS]
    parts = [f"{word}: {'; '.join(texts)}" for word, texts in groups if texts]
    where = "The paper's techniques, one at a time, with the headline's recipe scaled down and on emulated hosts"
    return f"{where} ([intervals](REPRODUCE.md#techniques)). {'. '.join(part[0].upper() + part[1:] for part in parts)}."


def _name(one: techniques.Said) -> str:
    return one.technique.text + (f" ({one.regime} updates)" if one.regime else "")


def _spread(m: Measurement) -> str:
    if not m.top1:
        return "missing"
    sd = f" ± {m.top1.sd:.2f}" if m.top1.sd is not None else ""
    return f"{m.top1.mean:.2f}{sd} % (n = {m.n})"


def _apart(first: Measurement, second: Measurement) -> str:
    found = apart_by_seed(first, second)
    return said(found) if found else "missing"
