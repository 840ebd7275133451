"""Stored curves: the published logs of this package, and the five public runs, as references for the comparator."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from reproduce.errors import LogError
from reproduce.events import RunLog, read_events, read_log
from reproduce.judge.runs import Facts, Reference, Run
from reproduce.paths import FIGURES
from reproduce.results import public

PUBLISHED = FIGURES / "measured"
Key = tuple[str | None, str | None]  # config hash, device type


def run_of(log: RunLog) -> Run:
    """The curves of a complete log. A run whose data has no accuracy (synthetic) has none."""
    recipe, epochs = log.config["recipe"], {}
    for _, event in read_events(log.path):
        loss = event.metadata.get("train_loss") if event.key == "epoch_stop" else None
        if isinstance(loss, int | float):
            epochs[int(event.metadata["epoch_num"])] = float(loss)
    dataset, device = recipe.get("data", {}).get("dataset"), log.environment.get("device")
    facts = Facts(dataset, log.global_batch, log.config.get("hash"), device)
    timed = not log.interruptions and not any(map(math.isnan, log.epoch_seconds))
    return Run(
        accuracy={one.epoch: 100 * one.top1 for one in log.accuracies}, loss=epochs, facts=facts,
        seconds={one.epoch: one.seconds for one in log.accuracies} if timed else None,
        hardware=log.environment.get("hardware"), seed=log.seed,
    )  # fmt: skip


def is_speed_run(log: RunLog) -> bool:
    """Whether a log is of a run for its speed, which ends before its curves mean anything."""
    return log.config.get("purpose") == "speed"


def logs_in(place: Path) -> list[Path]:
    """The run logs in a results folder, in any folder above or below one, or `place` itself if it is a file.

    Raises `LogError` if there is none.
    """
    try:
        found = [place] if place.is_file() else sorted(place.rglob("result_*.txt"), key=_in_order)
    except OSError as error:
        raise LogError(f"{place}: not readable: {error.strerror}: check its permissions") from None
    if not found:
        what = "holds no logs/NAME/result_SEED.txt" if place.exists() else "no such file or folder"
        raise LogError(f"{place}: {what}: name a results folder, such as results/quick, or log files")
    return found


def _in_order(path: Path) -> tuple:
    return path.parent, len(path.name), path.name  # result_10 after result_9


def references(folder: Path = PUBLISHED) -> dict[Key, Reference]:
    """The stored curves under `folder`, by recipe and device type; logs that are not complete are passed over.

    Elapsed times are not kept: those of published runs are of shared machines.
    """
    groups: dict[Key, list[tuple[RunLog, Run]]] = defaultdict(list)
    for path in sorted(folder.rglob("result_*.txt"), key=_in_order):
        log = read_log(path)
        if log.complete and not is_speed_run(log):
            run = run_of(log)
            groups[run.facts.recipe, run.facts.device].append((log, run))
    return {key: _reference(members) for key, members in groups.items()}


def _reference(members: list[tuple[RunLog, Run]]) -> Reference:
    log, run = members[0]
    runs = tuple(replace(run, seconds=None, hardware=None) for _, run in members)
    peak_epoch = log.config["recipe"]["schedule"].get("warmup_epochs")
    return Reference(str(log.config.get("name")), runs, run.facts, peak_epoch)


def public_reference(folder: Path = public.FOLDER) -> Reference:
    """The five public runs of the paper's team on 2,048 GPUs. No training loss: their logs have none."""
    found = public.runs(folder)
    return Reference(public.LABEL, tuple(map(public_run, found)), PUBLIC_FACTS, found[0].warmup_epochs)


PUBLIC_FACTS = Facts(dataset="imagenet", global_batch=86016)


def public_run(run: public.PublicRun) -> Run:
    seconds = dict(zip(run.epochs, run.seconds, strict=True))
    return Run(dict(zip(run.epochs, run.top1, strict=True)), {}, PUBLIC_FACTS, seconds, public.HARDWARE)


def listed(found: Iterable[Reference]) -> list[str]:
    """A line per reference: name, hash, device type, number of runs, what its curves are of."""
    lines = []
    for one in sorted(found, key=lambda one: (one.name, str(one.facts.recipe))):
        curves = " and ".join(name for name in ("top-1", "train loss") if all(one.curves(name))) or "no curve"
        lines.append(f"{one.name}  recipe {one.facts.recipe}  device {one.facts.device}  n = {len(one.runs)}  {curves}")
    return lines
