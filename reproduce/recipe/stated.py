"""What MLPerf asks the head of a log to state of a recipe: written by the engine, checked by whoever reads the log."""

from reproduce.recipe.config import Config
from reproduce.recipe.schedule import Schedule


def stated(config: Config) -> dict[str, object]:
    """By key, the value in force, in the order of a log (open division: the values need not be those of the rules).

    Raises `TypeError` or `ValueError` for a schedule that contradicts itself, as that of a damaged log may.
    """
    o, s, adaptive = config.optimizer, config.schedule, config.optimizer.trust_coefficient is not None
    if not 0 <= s.warmup_epochs <= s.warmup_epochs + (s.decay_epochs or 0) <= s.epochs:  # they are counted through
        raise ValueError(f"{s.warmup_epochs} epochs of warm-up and {s.decay_epochs} of decay in {s.epochs}")
    if s.decay != "step" and (s.decay_epochs is None or s.end_lr_ratio is None):
        raise TypeError(f"schedule.decay = {s.decay!r} without decay_epochs or end_lr_ratio")
    prefix, schedule = "lars_opt" if adaptive else "sgd_opt", Schedule.of(config)
    found: dict[str, object] = {
        "global_batch_size": config.global_batch(), "model_bn_span": config.bn_span,
        "train_samples": config.data.train_images, "eval_samples": config.data.val_images,
        "opt_name": config.optimizer_name, f"{prefix}_base_learning_rate": s.peak_lr,
        f"{prefix}_end_learning_rate": schedule.end_lr,
    }  # fmt: skip
    if s.decay == "step":
        found["opt_learning_rate_decay_boundary_epochs"] = s.decay_milestones
        found["opt_learning_rate_decay_factor"] = s.decay_factor
    else:
        found[f"{prefix}_learning_rate_decay_poly_power"] = schedule.power
        found[f"{prefix}_learning_rate_decay_steps"] = schedule.decay_updates
    found[f"{prefix}_learning_rate_warmup_epochs"] = s.warmup_epochs
    found |= {f"{prefix}_momentum": o.momentum, f"{prefix}_weight_decay": o.weight_decay}
    return found | ({"lars_epsilon": o.epsilon} if adaptive else {})
