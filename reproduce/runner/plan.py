"""Which runs a tier needs, which of them are done, and the exact command of everything. Runs and prints nothing.

A run counts as done when its log says so, with today's config hash and the seed asked for; nothing else is remembered.
Imports nothing outside the standard library.
"""

import functools
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reproduce import events, files
from reproduce.artefact import REPEATS, Artefact
from reproduce.launchers import SCHEDULERS
from reproduce.launchers.ranks import Start
from reproduce.paths import PUBLISHED, ROOT, VARIANT_LOGS
from reproduce.recipe.load import Config, file_of, load_run
from reproduce.recipe.runs import parts
from reproduce.runner import commands, machine

MEASURED = PUBLISHED  # published logs: the best guess of how long a run takes
# Where no published log says: the machine a tier is meant for and a training rate (images/s) assumed for it. The
# paper's own rate stands for the paper tier. Only the expected minutes come from these.
ASSUMED = {"quick": ("2 cores", 6000), "node": ("8 GPUs", 20_000), "paper": ("2,048 GPUs", 1_730_000)}
DEVICES = {"quick": 2, "node": 8, "paper": 2048}
# To start a run's processes, which of a run for its speed takes longer than the run.
START_SECONDS = {"quick": 4.0, "node": 60.0, "paper": 60.0}

EMBEDDED = "fashion_mnist"  # made by reproduce.engine.data.embedded
USUAL = {"quick": EMBEDDED, "node": "imagenet", "paper": "imagenet"}  # the data set of a tier without runs


@dataclass(frozen=True)
class Job:
    """One training run: a config, named below paper_configs, with a seed."""

    name: str
    seed: int
    config: Config

    def __str__(self) -> str:
        return f"{self.name} seed {self.seed}"

    @property
    def is_for_speed(self) -> bool:
        """Whether it needs a device for each of its workers; others are emulated where there are fewer."""
        return self.config.run.purpose == "speed"

    @property
    def recipe(self) -> list[str]:
        """The engine's words for its config, from the root of the checkout."""
        file, variant = parts(self.name)
        return [commands.short(file_of(file)), *(word for one in variant for word in ("--variant", one))]

    def state(self, out: Path) -> str:
        """"done", "stale" (ended well, but under another config or seed) or "missing"."""
        log = events.read_log(events.log_path(out, self.config.run.name, self.seed))
        if not log.complete:
            return "missing"
        return "done" if log.is_of(self.config.hash, self.seed) else "stale"

    def newest_update(self, out: Path) -> int | None:
        """Updates taken in its newest checkpoint, by the name of the file."""
        return events.newest_update(events.checkpoint_folder(out, self.config.run.name, self.seed))

    def device_hours(self, tier: str) -> float:
        """Expected: a run for its speed holds a device per worker, any other all that the tier has."""
        devices = self.config.batch.workers if self.is_for_speed else DEVICES[tier]
        return devices * self.expected_seconds(tier) / 3600

    def expected_seconds(self, tier: str) -> float:
        return self.expectation(tier)[0]

    def expectation(self, tier: str) -> tuple[float, str]:
        """Seconds, and where they are from: the quickest published log of this config, as others may have shared
        their machine; else a rate assumed."""
        folder = events.log_path(MEASURED / tier, self.config.run.name, self.seed).parent
        quickest = _quickest(tuple(sorted(folder.glob("result_*.txt"))))
        first = START_SECONDS[tier] if self.is_for_speed else 0.0
        if quickest is not None:
            return first + quickest, "published log"
        images, rate = self.config.schedule.epochs * self.config.data.train_images, ASSUMED[tier][1]
        share = self.config.batch.workers / DEVICES[tier] if self.is_for_speed else 1
        return first + images / (rate * share), f"assumed: {rate:,} images/s"


@functools.cache  # the same for every seed
def _quickest(paths: tuple[Path, ...]) -> float | None:
    """The fewest seconds of a complete log; None if there is none."""
    logs = map(events.read_log, paths)
    return min((log.run_seconds for log in logs if log.complete and not log.interruptions), default=None)


def jobs_of(artefacts, tier: str, seeds: int, with_optional: bool, devices: int, nodes: int = 1) -> list[Job]:
    """Every run the artefacts need, shared ones once; all runs of a seed before the next seed.

    Of the runs for their speed, those with a device for each worker, the same number on each of `nodes`.
    """
    names = [name for a in artefacts for name in a.runs.get(tier, ())]
    if with_optional:
        names += [name for a in artefacts for name in a.optional.get(tier, ())]
    found = _seeds(names, seeds)
    timed = _seeds([name for a in artefacts for name in a.speed.get(tier, ())], max(seeds, REPEATS))
    return found + [job for job in timed if job.config.batch.workers <= devices
                    and job.config.batch.workers % nodes == 0]  # fmt: skip


def _seeds(names: Iterable[str], seeds: int) -> list[Job]:
    configs = {name: load_run(name) for name in names}
    return [Job(name, seed, config) for seed in range(1, seeds + 1) for name, config in configs.items()]


def artefact_state(jobs: list[Job], out: Path) -> str:
    """What its runs are, taken together; "done" for one that needs none."""
    if not jobs:
        return "done"
    states = [job.state(out) for job in jobs]
    if len(set(states)) == 1:
        return states[0]
    if "done" in states:
        return f"partial ({states.count('done')} of {len(states)} runs done)"
    return "stale"


def benchmark_state(path: Path) -> str:
    """"done" or "missing", by the file a benchmark writes when it has ended well."""
    try:
        return "done" if files.read_json(path)["kind"] == "measured" else "missing"
    except (OSError, ValueError, KeyError, TypeError):
        return "missing"


class Plan:
    """The options, resolved: which artefacts and runs, and the exact command of everything."""

    def __init__(
        self, tier: str, artefacts: Sequence[Artefact], only: Sequence[str] | None = None, data: Path | None = None,
        out: Path | None = None, seeds: int = 1, processes: int | None = None, with_optional: bool = False,
        start: Start | None = None, device: str | None = None, engine: Sequence[str] = (),
    ):  # fmt: skip
        self.tier, self.seeds, self.with_optional = tier, seeds, with_optional
        self.artefacts = [a for a in artefacts if tier in a.runs and (not only or a.name in only)]
        self.out = (out or ROOT / "results" / tier).absolute()
        self.engine = tuple(engine)  # options that go to the engine as they are
        self.device = device or machine.default_device(tier)
        self.processes, self.start = processes or machine.default_processes(self.device), start
        self.data_option = data.absolute() if data else None
        self.jobs = self.jobs_for(self.artefacts)

    @property
    def data(self) -> Path:
        """The data folder of the tier's runs; which data set that is, their recipes say."""
        datasets = [job.config.data.dataset for job in self.jobs]
        return self.folder_of(datasets[0] if datasets else USUAL[self.tier])

    def folder_of(self, dataset: str) -> Path:
        """Where a data set is: ImageNet in the folder that --data names, any other in a folder of its name below it."""
        if dataset == "imagenet":
            return self.data_option or ROOT / "data" / dataset
        return (self.data_option or ROOT / "data") / dataset

    @property
    def needs_embedded(self) -> bool:
        """Whether a run still to be done trains on the data set that the package carries."""
        return any(job.config.data.dataset == EMBEDDED for job in self.todo)

    @property
    def todo(self) -> list[Job]:
        return [job for job in self.jobs if job.state(self.out) != "done"]

    @property
    def most_processes(self) -> int:
        """The most processes that any of its runs has."""
        return max((commands.fit(self.processes, job.config.batch.workers) for job in self.jobs), default=1)

    def fill(self) -> None:
        """Take as many processes as the largest run has workers, so that all runs have a device for each."""
        every = jobs_of(self.artefacts, self.tier, 1, self.with_optional, sys.maxsize)
        self.processes = max((job.config.batch.workers for job in every), default=1)
        self.jobs = self.jobs_for(self.artefacts)

    def jobs_for(self, artefacts) -> list[Job]:
        nodes = self.start.nodes if self.start and self.start.launcher not in SCHEDULERS else 1
        return jobs_of(artefacts, self.tier, self.seeds, self.with_optional, self.processes, nodes)

    def state(self, artefact: Artefact) -> str:
        if artefact.benchmark:
            return benchmark_state(self.out / "bench" / f"{artefact.benchmark}.json")
        if artefact.trial:
            return "done" if any(self.out.glob(VARIANT_LOGS)) else "missing"
        return artefact_state(self.jobs_for([artefact]), self.out)

    def files(self, artefact: Artefact) -> list[str]:
        return sorted(path.name for path in self.out.glob(f"{artefact.name}.*"))

    def data_command(self, python: str):
        return [python, "-m", "reproduce.engine.data.embedded", "--out", commands.short(self.folder_of(EMBEDDED))], {}

    def train_command(self, job: Job, python: str):
        processes = commands.fit(self.processes, job.config.batch.workers)
        every = commands.CHECKPOINT_SECONDS[self.tier]
        data = self.folder_of(job.config.data.dataset)
        return commands.train_command(job.recipe, job.seed, self.out, data, processes, python, every, self.start,
                                    self.device, self.engine)  # fmt: skip

    def report_command(self, artefact: Artefact, python: str):
        return [python, artefact.script, "--tier", self.tier, "--results", commands.short(self.out)], {}

    def page_command(self, python: str):
        return [python, "-m", "reproduce.report.page", "--tier", self.tier, "--results", commands.short(self.out)], {}

    def publish_command(self, python: str, only: Sequence[str]):
        argv = [python, "-m", "reproduce.report.publish", "--tier", self.tier, "--results", commands.short(self.out)]
        return [*argv, *(word for name in only for word in ("--only", name))], {}

    def report_commands(self, python: str) -> list[tuple]:
        """What draws, each with its name: the artefacts, and the page that shows them all."""
        return [*((a.script, self.report_command(a, python)) for a in self.artefacts),
                ("index.html", self.page_command(python))]  # fmt: skip
