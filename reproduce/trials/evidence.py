"""Trains the whole published evidence on the embedded data: Table 1's rows, the ablation, Figure 3, the default runs.

    python -m reproduce.trials.evidence --data data/fashion_mnist --out results/quick [--list] [--jobs 2]

In order of priority; what is done is kept, and an interrupted run goes on from its checkpoint, so the same command
continues at any time. Rates are chosen on 10,000 images of the training set that no run trains on and the test set does
not hold: every recipe or variant gets three, a factor apart, the third beyond the better of two. A row of Table 1 is
tuned on a third of its epochs. What was tried is written to OUT/rates.csv; a search that it holds whole is not
begun again, for the rate adopted from it would be another first one. Needs neither torch nor NumPy itself.
"""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from reproduce.errors import UserError, command
from reproduce.events import RunLog
from reproduce.judge.ablation import TRIED
from reproduce.paths import ROOT
from reproduce.results import rates
from reproduce.results.rates import Rate
from reproduce.trials import one_run
from reproduce.trials.subjects import STAGES, STEP, Job, Stage, Subject, test_job, third_rate, tuning_job
from reproduce.words import Parser

RATE = 4200  # images/s of one process, as seen on one core of an AMD EPYC, before the first run here has been timed


class Campaign:
    """Runs jobs, a few at a time, and says how far it is. `left` is the images that are still to train."""

    def __init__(self, data: Path, out: Path, jobs: int, left: float):
        self.data, self.out, self.jobs, self.left = data, out, jobs, left
        self.rates: dict[str, list[Rate]] = {}
        self._before = rates.read(out)
        self._lock, self._began, self._images = threading.Lock(), time.monotonic(), 0.0

    def train(self, job: Job) -> RunLog:
        """The log of a job, which is trained unless it is there. Raises `UserError` if it fails."""
        log = job.done()
        if log is None:
            _, last = one_run.train(job.words(self.data))
            log = job.done()
            if log is None:
                raise UserError(f"{job.log}: not trained: {last}")
            with self._lock:
                self._images += job.images
        with self._lock:
            self.left -= job.images
            self._say(job, log)
        return log

    def _say(self, job: Job, log: RunLog) -> None:
        seconds = time.monotonic() - self._began
        speed = self._images / seconds if self._images else RATE * self.jobs
        top1 = f"{100 * log.top1:.2f} %" if log.top1 is not None else f"{log.status}: {log.reason}"
        print(f"{job.log.relative_to(self.out)}: {top1}; {seconds / 3600:.2f} h gone, about "
              f"{max(0.0, self.left) / speed / 3600:.1f} h left", flush=True)  # fmt: skip

    def rate_of(self, subject: Subject) -> float:
        """The best of three rates on the held-out images; for a variant that trains as another, that one's."""
        if subject.variant and subject.variant.trains_as:
            return rates.best(self.rates[f"{subject.regime}/{subject.variant.trains_as}"])
        if subject.name not in self.rates and searched(subject, self._before, self.out):
            self.rates[subject.name] = self._before[subject.name]
        if subject.name in self.rates:
            return rates.best(self.rates[subject.name])
        first = (subject.variant and subject.variant.first_rate) or subject.config.schedule.peak_lr
        top1 = {rate: self._try(subject, rate) for rate in (first, float(f"{first * STEP:.3g}"))}
        third = third_rate(top1)
        top1[third] = self._try(subject, third)
        with self._lock:
            self.rates[subject.name] = [Rate(subject.name, rate, top1[rate]) for rate in sorted(top1)]
            every = self._before | self.rates
            rates.write(self.out, [one for found in every.values() for one in found])
        return rates.best(self.rates[subject.name])

    def _try(self, subject: Subject, rate: float) -> float:
        log = self.train(tuning_job(subject, rate, self.out))
        return round(100 * log.top1, 2) if log.top1 is not None else 0.0  # diverged

    def stage(self, stage: Stage) -> None:
        """Choose the rate of each subject, then train the seeds, all subjects and runs of a seed before the next."""
        print(stage, flush=True)
        with ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(self.rate_of, [one for one in stage.subjects if one.tuned]))
            jobs = [job for seed in stage.seeds for job in self._jobs(stage, seed)]
            list(pool.map(self.train, jobs))

    def _jobs(self, stage: Stage, seed: int) -> list[Job]:
        tuned = [test_job(one, self.rate_of(one), seed, self.out) for one in stage.subjects]
        return tuned + [Job(run, (), seed, self.out) for run in stage.runs]


def searched(subject: Subject, tried: dict[str, list[Rate]], out: Path) -> bool:
    """Whether its search has ended, with the recipe as it is now."""
    known = tried.get(subject.name, [])
    return len(known) >= TRIED and all(tuning_job(subject, one.peak_lr, out).done() for one in known)


def expected_images(out: Path) -> int:
    """Training images of everything, with rates guessed."""
    found: dict[Path, Job] = {}
    before = rates.read(out)
    for stage in STAGES:
        for subject in stage.subjects:
            first = subject.config.schedule.peak_lr
            if subject.tuned and not searched(subject, before, out):
                tries = [tuning_job(subject, first * factor, out) for factor in (1, STEP, 1 / STEP)]
                found |= {job.log: job for job in tries}
            found |= {job.log: job for job in (test_job(subject, first, seed, out) for seed in stage.seeds)}
        found |= {job.log: job for job in (Job(run, (), seed, out) for run in stage.runs for seed in stage.seeds)}
    return sum(job.images for job in found.values())


@command
@one_run.stopped_with_us()
def main(argv=None) -> None:
    parser = Parser(prog="python -m reproduce.trials.evidence", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the embedded data set")
    parser.add_argument("--out", type=Path, default=ROOT / "results/quick", help="results folder (results/quick)")
    parser.add_argument("--jobs", type=int, default=2, choices=range(1, 65), metavar="N", help="runs at a time, one "
        "process of one thread each (default: 2)")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="say what would be trained, and how long that takes")
    given = parser.parse_args(argv)
    images = expected_images(given.out)
    hours = images / RATE / given.jobs / 3600
    print(f"{images / 1e6:.0f} million images in all, about {hours:.1f} h with {given.jobs} at a time at {RATE:,} each")
    campaign = Campaign(given.data, given.out, given.jobs, images)
    for stage in STAGES:
        print(stage) if given.list else campaign.stage(stage)


if __name__ == "__main__":
    sys.exit(main())
