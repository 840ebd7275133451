"""The head of a run's log: what MLPerf asks a submission to state, and the config with all its sources."""

from collections.abc import Iterator
from pathlib import Path

from reproduce.engine.data.staged import page_cache_cleared
from reproduce.engine.dist.comm import Comm
from reproduce.events import CONFIG, Event, point
from reproduce.recipe.load import Config
from reproduce.recipe.schedule import Schedule


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
    """The keys the MLPerf rules ask for, with the values in force (open division: they need not be the rules')."""
    o, s, schedule = config.optimizer, config.schedule, Schedule.of(config)
    adaptive = o.trust_coefficient is not None
    yield point("seed", seed)
    yield point("global_batch_size", config.global_batch())
    yield point("gradient_accumulation_steps", config.batch.workers // comm.world_size)
    yield point("model_bn_span", config.bn_span)
    yield point("train_samples", config.data.train_images)
    yield point("eval_samples", config.data.val_images)
    yield point("opt_name", config.optimizer_name)
    prefix = "lars_opt" if adaptive else "sgd_opt"
    yield point(f"{prefix}_base_learning_rate", s.peak_lr)
    yield point(f"{prefix}_end_learning_rate", schedule.end_lr)
    if s.decay == "step":
        yield point("opt_learning_rate_decay_boundary_epochs", s.decay_milestones)
        yield point("opt_learning_rate_decay_factor", s.decay_factor)
    else:
        yield point(f"{prefix}_learning_rate_decay_poly_power", schedule.power)
        yield point(f"{prefix}_learning_rate_decay_steps", schedule.decay_updates)
    yield point(f"{prefix}_learning_rate_warmup_epochs", s.warmup_epochs)
    yield point(f"{prefix}_momentum", o.momentum)
    yield point(f"{prefix}_weight_decay", o.weight_decay)
    if adaptive:
        yield point("lars_epsilon", o.epsilon)
