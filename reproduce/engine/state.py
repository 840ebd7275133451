"""What a run goes on from must be of that very run, before any of it is copied: a check of a checkpoint's state."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from reproduce.engine.data.listing import few
from reproduce.errors import CheckpointError
from reproduce.logged import is_count
from reproduce.recipe.load import Config

REMEDY = "take a checkpoint that this version of the program wrote, or start afresh with --restart"


def check(state: dict, config: Config, own: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Raise `CheckpointError` unless a state's place in the run and all of its tensors are of a run of `config`.

    `own` has the tensors of each part of the state by name, of the shapes and types they must have.
    """
    for complaint in (*place(state, config), *tensors(state, own)):
        raise CheckpointError(f"{config.path}: the checkpoint does not fit: {complaint}: {REMEDY}")


def place(state: dict, config: Config) -> Iterable[str]:
    """What is wrong with where in the run a state says that it is."""
    update, epoch, losses = state.get("update"), state.get("epoch"), state.get("losses")
    if not (is_count(update, most=config.total_updates) and is_count(epoch, most=config.schedule.epochs)):
        yield f"update {update!r} in epoch {epoch!r}"[:100]
        return
    if not isinstance(losses, Tensor) or losses.ndim != 1 or losses.dtype != torch.float32:
        yield f"losses are {kind(losses)}, must be float32 [updates]"
    elif update != sum(config.epoch_updates()[:epoch]) + len(losses):
        yield f"update {update} is not {len(losses)} updates after epoch {epoch}"


def tensors(state: dict, own: Mapping[str, Mapping[str, Tensor]]) -> Iterable[str]:
    """What is wrong with the tensors of a state."""
    for part, due in own.items():
        found = state.get(part)
        if not isinstance(found, dict):
            yield f"has no {part}"
            continue
        if differing := sorted(map(str, found.keys() ^ due.keys())):
            yield f"{part} of {few(differing)} are in one of the two only"
            continue
        for name, one in due.items():
            theirs = "of no content" if getattr(found[name], "is_meta", False) else kind(found[name])
            if theirs != kind(one):
                yield f"{part} {name} is {theirs}, must be {kind(one)}"


def kind(value: object) -> str:
    """Type and shape of a tensor in words."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    layout = "" if value.layout == torch.strided else f"{value.layout} "
    return f"{layout}{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def of_log(state: dict) -> str:
    """What is wrong with the log that a state holds, and with the images it has left out; empty if nothing is."""
    log, bad = state.get("log"), state.get("bad")
    if not isinstance(log, str) or log.count('"key": "epoch_stop"') != state.get("epoch"):
        return "its log is not one of as many epochs"
    if not (isinstance(bad, list) and len(bad) == 2 and all(isinstance(part, list) for part in bad)):
        return "its list of corrupt images cannot be read"
    return "" if all(is_count(number) for part in bad for number in part) else "its corrupt images are no numbers"
