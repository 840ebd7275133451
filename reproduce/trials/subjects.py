"""What the evidence is made of: subjects that get a rate of their own, and the runs that choose and test it."""

import functools
from dataclasses import dataclass
from pathlib import Path

from reproduce.events import RunLog, log_path, read_log
from reproduce.judge.techniques import TECHNIQUES
from reproduce.recipe import variants
from reproduce.recipe.load import Config, file_of
from reproduce.recipe.runs import EARLIER_ROWS, QUICK_PAIR, QUICK_PANEL, QUICK_SWEEP
from reproduce.recipe.variants import REFERENCE, REGIMES, Variant, at_rate, shortened, with_changes
from reproduce.results import rates

SEED = 0  # of the search; no published run has it
HELD_OUT = ('data.evaluate_on="held_out"', "data.val_images=10000")
STEP = 2.5  # between the rates tried
SINGLE = ("quick/mlperf06_b840_w20", "quick/regression_b160_w4")  # of no artefact, or of one that may lack it
PARTS = 3  # a row is tuned on 1 / PARTS of its epochs


@dataclass(frozen=True)
class Subject:
    """What gets a rate of its own: a row of Table 1, or a variant of a regime."""

    run: str
    variant: Variant | None = None  # None: a row
    regime: str = ""

    @property
    def name(self) -> str:
        return f"{self.regime}/{self.variant.name}" if self.variant else Path(self.run).name

    @property
    def tuned(self) -> bool:
        """Whether it has a search of its own, or takes another's rate."""
        return not (self.variant and self.variant.trains_as)

    @property
    def changes(self) -> tuple[str, ...]:
        return self.variant.changes if self.variant else ()

    @property
    def config(self) -> Config:
        return with_changes(self.run, self.changes)

    def logs_below(self, out: Path) -> Path:
        return rates.folder_of(out, self.regime, self.variant.name) if self.variant else out


@dataclass(frozen=True)
class Job:
    """One run: overrides of a config, a seed, and the folder its log goes to."""

    run: str
    changes: tuple[str, ...]
    seed: int
    out: Path

    @property
    def config(self) -> Config:
        return with_changes(self.run, self.changes)

    @property
    def log(self) -> Path:
        return log_path(self.out, self.config.run.name, self.seed)

    @functools.cached_property
    def images(self) -> int:
        """Trained on in all."""
        return self.config.total_images

    def done(self) -> RunLog | None:
        """Its log if it has ended: well, or by diverging, which is a result too."""
        log = read_log(self.log)
        return log if (log.complete or log.diverged) and log.is_of(self.config.hash, self.seed) else None

    def words(self, data: Path) -> list[str]:
        """Of `reproduce.engine.train`."""
        words = [str(file_of(self.run)), "--data", str(data), "--seed", str(self.seed), "--out", str(self.out)]
        words += ["--checkpoint-every", "60", "--device", "cpu"]
        return words + [word for one in self.changes for word in ("--set", one)]


def rows() -> list[Subject]:
    """The quickest first: a small mini-batch makes many updates."""
    found = [Subject(run) for run in EARLIER_ROWS]
    return sorted(found, key=lambda one: -one.config.global_batch())


def regime(name: str) -> list[Subject]:
    run = REGIMES[name]
    return [Subject(run, one, name) for one in variants.variants(with_changes(run))]


def of_techniques(name: str) -> list[Subject]:
    """Of a regime: the reference, and the variants that a technique of the paper is judged by."""
    wanted = {REFERENCE, *(variant for technique in TECHNIQUES for variant in technique.variants)}
    return [one for one in regime(name) if one.variant and one.variant.name in wanted]


def tuning_job(subject: Subject, rate: float, out: Path) -> Job:
    config = subject.config
    short = () if subject.variant else shortened(config, PARTS)
    last = with_changes(subject.run, (*subject.changes, *short)).schedule.epochs
    once = (f"evaluation.every={last}", f"evaluation.offset={last}")
    changes = (*subject.changes, *short, *at_rate(config, rate), *HELD_OUT, *once)
    return Job(subject.run, changes, SEED, out / "tuning" / subject.name / f"peak_lr_{rate:g}")


def test_job(subject: Subject, rate: float, seed: int, out: Path) -> Job:
    return Job(subject.run, (*subject.changes, *at_rate(subject.config, rate)), seed, subject.logs_below(out))


def third_rate(top1: dict[float, float]) -> float:
    """The rate beyond the better of two."""
    low, high = sorted(top1)
    return float(f"{high * STEP if top1[high] > top1[low] else low / STEP:.3g}")


# ---- in which order -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """Subjects, each at its own best rate, and runs at the rate in their files; the seeds of all."""

    name: str
    subjects: list[Subject]
    seeds: range
    runs: tuple[str, ...] = ()

    def __str__(self) -> str:
        names = [*(one.name for one in self.subjects), *self.runs]
        return f"{self.name}: seeds {', '.join(map(str, self.seeds))} of {', '.join(names)}"


# In order of priority: what the shortest time shows most of. The default runs are run_all.sh's, with six seeds.
STAGES = (
    Stage("Table 1", rows(), range(1, 2)),
    Stage("techniques, scarce updates", of_techniques("scarce"), range(1, 4)),
    Stage("ablation, scarce updates", regime("scarce"), range(1, 4)),
    Stage("default runs", [], range(1, 7), (*QUICK_PAIR, *QUICK_PANEL, *SINGLE)),
    Stage("ablation, scarce updates", regime("scarce"), range(4, 6)),
    Stage("Table 1", rows(), range(2, 4)),
    Stage("Figure 3", [], range(1, 4), QUICK_SWEEP),
    Stage("Table 1", rows(), range(4, 6)),
    Stage("techniques, headline", of_techniques("headline"), range(1, 4)),
)
