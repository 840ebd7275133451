"""The top of the report page: what was found in this tier, in three lines and a picture."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from reproduce.judge.claims import Judged, apart_by_seed
from reproduce.judge.difference import LEVEL, said
from reproduce.judge.verdict import WORDS
from reproduce.page.evidence import Given, StoredCurve, logs_of
from reproduce.page.figures import FigureData
from reproduce.page.view import Cell, Gap, Number, Section
from reproduce.recipe.runs import QUICK_PANEL
from reproduce.results import runs
from reproduce.results.measured import Measurement

LEAD = "figure3"  # the artefact whose picture is at the top


@dataclass(frozen=True)
class AnswerData:
    lines: tuple[Cell, ...]
    lead: FigureData


def answer_section(given: Given, stored: Iterable[StoredCurve], judged: Iterable[Judged], lead: FigureData) -> Section:
    lines = (completed(given, stored), optimizers(given), verdicts(given, judged))
    return Section("answer", "What was found", AnswerData(lines, lead))


def completed(given: Given, stored: Iterable[StoredCurve]) -> Cell:
    """How many runs the tier needs, how many of them there are, and how many lie inside the band of stored ones."""
    names = runs.needed(given.tier, given.artefacts)
    found = [m for m in runs.collect(given.results, given.tier, given.artefacts) if m.n]
    words = Counter(one.verdict.word for one in stored)
    compared = words["reproduced"] + words["outside"]
    inside: Cell = Gap("missing: none was compared with stored runs", given.folder)
    if compared:
        source = f"{given.folder}/logs against figures/measured: see Stored curves below"
        inside = (Number(f"{words['reproduced']} of {compared}", "measured", source),
                  " seeds compared with stored runs of the same recipe are inside their band")  # fmt: skip
    logs = f"{given.folder}/logs"
    if not found:
        return ("Runs complete: ", Gap(f"missing: none of {len(names)}", logs), ".")
    done, seeds = f"{sum(m.run in names for m in found)} of {len(names)}", f"{sum(m.n for m in found)}"
    return ("Runs complete: ", Number(done, "measured", logs), ", with ", Number(seeds, "measured", logs),
            " seeds in all; ", inside, ".")  # fmt: skip


def optimizers(given: Given) -> Cell:
    """LARS minus momentum SGD at each mini-batch, with the interval and the numbers of seeds."""
    lead = "LARS minus momentum SGD, final top-1: "
    if given.tier != "quick":
        why = f"missing: tier {given.tier} has no runs with momentum SGD; tier quick has"
        return (lead, Gap(why, given.folder), ".")
    found = given.measure(QUICK_PANEL)
    pairs = list(zip(found[: len(found) // 2], found[len(found) // 2 :]))
    cells: list[Cell] = [lead]
    for lars, sgd in pairs:
        cells += [_apart(lars, sgd), "; "]
    about = f"points, with {100 * (1 - LEVEL):g} % intervals (paired by seed, Student's t)"
    return (*cells[:-1], ". In ", Number(about, "setting", "reproduce/judge/difference.py"), ", by mini-batch.")


def _apart(lars: Measurement, sgd: Measurement) -> Cell:
    batch = f"{lars.config.global_batch():,}"
    found = apart_by_seed(lars, sgd)
    if found is None:
        return Gap(f"missing at {batch}", f"logs/{lars.name}, logs/{sgd.name}")
    return Number(f"{batch}: {said(found)}", "measured", logs_of([lars, sgd]))


def verdicts(given: Given, judged: Iterable[Judged]) -> Cell:
    """How many claims of the paper came to which verdict."""
    counts = Counter(one.verdict.word for one in judged)
    source = f"{given.folder}/logs: see Claims below"
    parts = [part for word in WORDS for part in (_count(word, counts[word], source), f" {word}, ")]
    return ("Claims of the paper: ", *parts[:-1], f" {WORDS[-1]}.")


def _count(word: str, count: int, source: str) -> Cell:
    """A number of verdicts. That something is missing is not measured."""
    if not count:
        return "none"
    return Gap(str(count), source) if word == "missing" else Number(str(count), "measured", source)
