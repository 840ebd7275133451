"""The one check of a log of ours: does it agree with itself? Before any number of it is used, by every reader.

A log says most things twice: the recipe and its hash, the rate and the recipe's, an accuracy and the images it is
counted from, updates of epochs and of the run. What was changed afterwards, cut, joined or written by a broken clock
contradicts itself somewhere. A log whose recipe, curves and hash were all changed consistently passes here.
"""

import math
from collections.abc import Iterator
from typing import Any

from reproduce.logged import CONFIG, ENVIRONMENT, RESULT, RESUMED, Event, is_count, is_number
from reproduce.recipe import config as recipes
from reproduce.recipe.config import Config
from reproduce.recipe.schema import digest
from reproduce.recipe.stated import stated

Events = list[tuple[float, Event]]
NUMBERS = (AttributeError, KeyError, TypeError, ValueError, IndexError, ArithmeticError, RecursionError)
ONCE = ("run_start", "run_stop", CONFIG, ENVIRONMENT, RESULT)
NEAR = 1e-9
SINCE = 9.4e8  # s: the year 1999; a clock that was never set begins in 1970


def objection(events: Events) -> str:
    """Why the log of a run that says it has ended well must not be used; empty if it agrees with itself."""
    try:
        return next(objections(events), "")
    except NUMBERS as error:
        return f"an event is malformed: {error!r}"[:200]


def objections(events: Events) -> Iterator[str]:
    """All that is wrong with the log, the most basic first. Raises what `NUMBERS` names for events of other forms."""
    yield from once(events)
    yield from clock(events)
    values = {event.key: event.value for _, event in events}
    yield from facts(values, [event.value for _, event in events if event.key in (ENVIRONMENT, RESUMED)])
    about = values[CONFIG]
    if about["hash"] != digest(about["recipe"]):
        yield f"its recipe is not the one of its hash {about['hash']}: it was changed afterwards"
    stops = [event for _, event in events if event.key == "epoch_stop"]
    epochs = about["recipe"]["schedule"]["epochs"]
    if len(stops) != epochs:
        yield f"holds {len(stops)} of {epochs} epochs"
    config = recipes.of_recipe(about["recipe"])
    yield from header(events, config)
    yield from order(events)
    yield from work(stops, config)
    yield from evaluations(events, config)
    yield from result(values.get(RESULT), config)


def once(events: Events) -> Iterator[str]:
    """One run, with one beginning and one end."""
    keys = [event.key for _, event in events]
    for key in ONCE:
        if keys.count(key) > 1:
            yield f"holds {keys.count(key)} events {key}: two runs in one file, or one twice"
    for key in ("run_start", ENVIRONMENT):
        if key not in keys:
            yield f"has no {key}"


def clock(events: Events) -> Iterator[str]:
    """Times never run backwards, but where the run went on elsewhere; and a run takes time."""
    if events[0][0] < SINCE:
        yield "its times are not of a clock that was set"
    for (before, _), (now, event) in zip(events, events[1:]):
        if now < before and event.key != RESUMED:
            yield f"times run backwards at {event.key}, by {before - now:.3f} s"
    begin, end = (next(stamp for stamp, event in events if event.key == key) for key in ("run_start", "run_stop"))
    if end <= begin:
        yield f"its run took {end - begin:.3f} s"
    ends = [(stamp, event.key) for stamp, event in events if event.key in ("epoch_start", "epoch_stop")]
    spans = [b - a for (a, key), (b, _) in zip(ends, ends[1:]) if key == "epoch_start"]
    if sum(span <= 0 for span in spans) > len(spans) / 2:  # a very small one may be shorter than a millisecond
        yield "its epochs took no time"


def facts(values: dict, environments: list) -> Iterator[str]:
    """Types and ranges of what names the run and the machine."""
    about = values[CONFIG]
    if not isinstance(about.get("name", ""), str) or not isinstance(about["hash"], str):
        yield "its config has no name or no hash"
    if not is_count(values.get("seed"), most=2**63):
        yield f"its seed is {values.get('seed')!r}"
    for one in environments:
        for key in ("devices", "world_size"):
            if key in one and not is_count(one[key], 1, 10**7):
                yield f"its environment says {key} = {one[key]!r}"[:100]
        for key in ("device", "hardware", "precision", "backend", "bn_eval", "torch", "revision"):
            if not isinstance(one.get(key), str | None):
                yield f"its environment says {key} = {one[key]!r}"[:100]


def header(events: Events, config: Config) -> Iterator[str]:
    """What MLPerf asks a log to state is what the recipe says."""
    due = stated(config)
    for _, event in events:
        if event.key in due and not agree(event.value, due[event.key]):
            yield f"says {event.key} = {event.value!r}, its recipe {due[event.key]!r}"[:160]
    seeds = {repr(event.value) for _, event in events if event.key == "seed"}
    if len(seeds) > 1:
        yield f"names {len(seeds)} seeds"
    for environment in (event.value for _, event in events if event.key == ENVIRONMENT):
        world, each = environment.get("world_size", 1), environment.get("workers_per_process")
        if each is not None and world * each != config.batch.workers:
            yield f"says {world} x {each} workers, its recipe {config.batch.workers}"


def agree(said: Any, due: Any) -> bool:
    if is_number(said) and is_number(due):
        return math.isclose(said, due, rel_tol=NEAR)
    return type(said) is type(due) and said == due


def order(events: Events) -> Iterator[str]:
    """Epochs one after the other, each begun before it ends; evaluations after the epoch that they are of."""
    done, begun = 0, None
    for stamp, event in events:
        number = event.metadata.get("epoch_num")
        if event.key == "epoch_start":
            begun = stamp
            if number != done + 1:
                yield f"epoch {number!r} begins after epoch {done}"
        elif event.key == "epoch_stop":
            if number != done + 1 or begun is None:
                yield f"epoch {number!r} ends after epoch {done}"
            done, begun = done + 1, None
        elif event.key == "eval_accuracy" and number != done:
            yield f"the evaluation of epoch {number!r} comes after epoch {done}"


def work(stops: list[Event], config: Config) -> Iterator[str]:
    """Updates and images of each epoch are the recipe's; the loss, where there is one, is a number."""
    for epoch, (stop, due) in enumerate(zip(stops, config.epoch_updates())):
        images, updates = stop.metadata["images"], stop.metadata.get("updates", due)
        if not is_count(updates) or updates != due:
            yield f"epoch {epoch + 1} took {updates!r} updates, its recipe has {due}"
        whole = due * config.global_batch(epoch)
        if not is_count(images, 1) or images not in (whole, config.data.train_images):
            yield f"epoch {epoch + 1} took {images!r} images, its recipe has {whole}"
        loss = stop.metadata.get("train_loss")
        if loss is not None and not (is_number(loss) and 0 <= loss < 1e6):
            yield f"the loss of epoch {epoch + 1} is {loss!r}"[:100]


def evaluations(events: Events, config: Config) -> Iterator[str]:
    """Those that the recipe has, each once, with the accuracy that its count says."""
    found = [event for _, event in events if event.key == "eval_accuracy"]
    for event in found:
        epoch, top1, correct, images = event.metadata["epoch_num"], event.value, *counted(event)
        if not is_number(top1) or not 0 <= top1 <= 1:
            yield f"the accuracy of epoch {epoch} is {top1!r}, no fraction of 1"[:100]
        if images is not None and not (is_count(images, 1, config.data.val_images) and is_count(correct, 0, images)):
            yield f"epoch {epoch} has {correct!r} of {images!r} images right"
        elif images is not None and not math.isclose(top1, correct / images, abs_tol=NEAR):
            yield f"the accuracy of epoch {epoch} is {top1:.6g}, but {correct} of {images} are {correct / images:.6g}"
    due = [epoch for epoch in range(1, config.schedule.epochs + 1) if config.evaluates_after(epoch)]
    if config.data.dataset != "synthetic" and [event.metadata["epoch_num"] for event in found] != due:
        yield f"its {len(found)} evaluations are not the {len(due)} of the config"


def counted(event: Event) -> tuple[Any, Any]:
    """(correct, images) of an evaluation; (None, None) where the log counts none."""
    keys = ("correct", "images")
    both = event.metadata.get(keys[0]), event.metadata.get(keys[1])
    return both if any(key in event.metadata for key in keys) else (None, None)


def result(said: Any, config: Config) -> Iterator[str]:
    if not isinstance(said, dict):
        yield f"has no {RESULT}"
        return
    if said["updates"] != config.total_updates or not is_count(said["updates"]):
        yield f"its result has {said['updates']!r} updates, its recipe {config.total_updates}"
    digest = said.get("weights_sha256", "")
    if not isinstance(digest, str) or (digest and len(digest) != 64):
        yield f"its result names no digest of weights: {digest!r}"[:100]
