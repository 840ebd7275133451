"""The head of a run's log: what MLPerf asks a submission to state, and the config with all its sources."""

from collections.abc import Iterator
from pathlib import Path

from reproduce.engine.data.staged import page_cache_cleared
from reproduce.engine.dist.comm import Comm
from reproduce.events import CONFIG, Event, point
from reproduce.recipe.load import Config
from reproduce.recipe.stated import stated


def submission(config: Config, data: Path) -> Iterator[Event]:
    """What the run is; `data` is the folder it reads, which says whether the page cache was cleared."""
    cleared, comment = page_cache_cleared(data)
    yield point("cache_clear", cleared, comment=comment)
    yield point("submission_benchmark", "resnet")
    yield point("submission_division", "open")
    yield point("submission_org", "reproduction of arXiv 1903.12650")
    yield point("submission_platform", "see reproduce_environment")
    yield point("submission_status", "research")
    sources = {key: [source.kind, source.ref] for key, source in config.sources.items()}
    about: dict[str, object] = {"name": config.run.name, "title": config.run.title, "tier": config.run.tier}
    about |= {"purpose": config.run.purpose, "scales_down": config.run.scales_down}
    about |= {"hash": config.hash, "recipe": config.recipe(), "sources": sources}
    yield point(CONFIG, about)


def hyper_parameters(config: Config, seed: int, comm: Comm) -> Iterator[Event]:
    """The keys the MLPerf rules ask for."""
    yield point("seed", seed)
    yield point("gradient_accumulation_steps", config.batch.workers // comm.world_size)
    for key, value in stated(config).items():
        yield point(key, value)
