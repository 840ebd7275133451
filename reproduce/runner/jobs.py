"""Which jobs a plan becomes, in what order, how large and how long each is: one per artefact, and one that draws.

Runs for their speed are in jobs of their own, one for each number of workers, which holds no device it does not use.
"""

import math
from dataclasses import dataclass

from reproduce.cluster import files
from reproduce.cluster.run import run
from reproduce.cluster.step import Work
from reproduce.errors import ConfigError
from reproduce.launchers.site import Site
from reproduce.recipe.load import Config
from reproduce.runner import commands
from reproduce.runner.plan import START_SECONDS, Job, Plan

REPORT = "report"
SPARE_SECONDS = 600  # for start and preflight, beside twice the expected time
STAGING_SECONDS = 1200  # for 150 GB to every node's own storage
REPORT_SECONDS = 600


@dataclass(frozen=True)
class ClusterJob:
    """`runs` are its own: no two jobs train the same. `after` names the jobs that have to have ended."""

    name: str
    title: str
    runs: tuple[Job, ...]
    after: tuple[str, ...]
    ranks: int
    nodes: int
    expected: float  # seconds of training
    source: str  # where that is from
    spare: int = SPARE_SECONDS

    @property
    def requested(self) -> int:
        """Seconds asked for: twice the expected, with something to spare, in whole minutes."""
        seconds = 2 * self.expected + self.spare if self.runs else REPORT_SECONDS
        return 60 * math.ceil(seconds / 60)

    @property
    def node_hours(self) -> float:
        return self.nodes * self.expected / 3600

    @property
    def limit(self) -> str:
        """The time asked for, as every scheduler reads it."""
        minutes = self.requested // 60
        return f"{minutes // 60:02d}:{minutes % 60:02d}:00"


def jobs(plan: Plan, site: Site, ranks: int) -> list[ClusterJob]:
    """The jobs for what is still to do; a run that several artefacts need is the first one's.

    Raises `ConfigError` if a job would be longer than the site allows.
    """
    spare = SPARE_SECONDS + (STAGING_SECONDS if site.scratch and plan.tier != "quick" else 0)
    found, taken = [], {str(job) for job in plan.jobs} - {str(job) for job in plan.todo}
    for artefact in plan.artefacts:
        left = [job for job in plan.jobs_for([artefact]) if str(job) not in taken]
        taken |= {str(job) for job in left}
        for name, own in by_size(artefact.name, left).items():
            size = own[0].config.batch.workers if own[0].is_for_speed else ranks
            expected = [estimate(job, plan.tier, site, commands.fit(size, job.config.batch.workers)) for job in own]
            sources = "; ".join(dict.fromkeys(source for _, source in expected))
            found.append(ClusterJob(name, artefact.title, tuple(own), (), size, -(-size // site.ranks_per_node),
                                    sum(seconds for seconds, _ in expected), sources, spare))  # fmt: skip
    for job in found:
        if site.max_hours and job.requested > 3600 * site.max_hours:
            raise ConfigError(
                f"{site.path}: launch.max_hours = {site.max_hours:g}: {job.name} would ask for {job.limit}: "
                "take more ranks, fewer seeds, or --only one artefact at a time"
            )
    names = tuple(job.name for job in found)
    return [*found, ClusterJob(REPORT, "tables and figures", (), names, 1, 1, 0.0, "not timed")]


def by_size(name: str, runs: list[Job]) -> dict[str, list[Job]]:
    """Runs by the job they are in: those for their speed with others of as many workers, the rest together."""
    found: dict[str, list[Job]] = {}
    for one in runs:
        found.setdefault(f"{name}_{one.config.batch.workers}" if one.is_for_speed else name, []).append(one)
    return found


def estimate(job: Job, tier: str, site: Site, ranks: int) -> tuple[float, str]:
    """Seconds of a run and where they are from: the cluster model if every worker has a GPU, else the plan's guess."""
    if tier == "paper" and ranks == job.config.batch.workers:
        seconds = modelled(job.config, site)
        if seconds is not None:
            return seconds + (START_SECONDS[tier] if job.is_for_speed else 0), f"modelled: {site.cluster}"
    return job.expectation(tier)


def modelled(config: Config, site: Site) -> float | None:
    """run_start to run_stop as the cluster model has it; None for a cluster, or a schedule, that is not modelled."""
    if len(config.batch.local_batch) > 1:
        return None
    try:
        cluster = files.load(site.path)
        epochs = range(1, config.schedule.epochs + 1)
        work = Work(config.local_batch(0), config.communication.groups, config.communication.overlap)
        evaluations = sum(map(config.evaluates_after, epochs))
        return run(work, config.batch.workers, cluster, len(epochs), evaluations, config.total_updates).total
    except ConfigError:
        return None


def table(found: list[ClusterJob]) -> list[tuple[str, ...]]:
    """What will be asked for, before anything is submitted."""
    rows: list[tuple[str, ...]] = [
        ("job", "runs", "nodes", "ranks", "expected", "from", "asks for", "node-hours", "after")
    ]
    for job in found:
        cells = (f"{job.expected / 60:.1f} min", job.source, job.limit, f"{job.node_hours:,.1f}")
        rows.append((job.name, str(len(job.runs)), f"{job.nodes:,}", f"{job.ranks:,}", *cells, ", ".join(job.after)))
    asked = sum(job.nodes * job.requested for job in found) / 3600
    rows.append(("in all", str(sum(len(job.runs) for job in found)), "", "",
                 f"{sum(job.expected for job in found) / 60:.1f} min", "", "",
                 f"{sum(job.node_hours for job in found):,.1f} (at most {asked:,.1f})", ""))  # fmt: skip
    return rows
