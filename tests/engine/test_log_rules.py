"""A log of ours must agree with itself: every way of changing, cutting or joining one that the check has to see."""

import functools
import json
import re
from dataclasses import replace

import pytest
import torch

from reproduce import log_rules
from reproduce.engine.dist.comm import Comm
from reproduce.engine.header import hyper_parameters
from reproduce.events import read_log
from reproduce.logged import PREFIX
from reproduce.paths import CONFIGS, FIGURES
from reproduce.recipe.config import of_recipe
from reproduce.recipe.schema import digest
from reproduce.recipe.variants import REGIMES, variants, with_changes

LOG = FIGURES / "measured/quick/logs/headline_b800_w20/result_1.txt"
TEXT = LOG.read_text()
LINES = TEXT.splitlines()


def edited(key: str, change, only: int | None = None) -> str:
    """The log with `change(event, number)` made to the events of a key, `only` one of them if given."""
    lines, number = [], 0
    for line in LINES:
        event = json.loads(line.removeprefix(PREFIX))
        if event["key"] == key or key == "*":
            if only is None or number == only:
                change(event, number)
            number += 1
        lines.append(PREFIX + json.dumps(event))
    return "\n".join(lines)


def put(*path, value):
    def change(event, _):
        for name in path[:-1]:
            event = event[name]
        event[path[-1]] = value

    return change


def stamp(change):
    def changed(event, number):
        event["time_ms"] = change(event["time_ms"], number)

    return changed


def rehashed(*path_and_value) -> str:
    """The log with another recipe, and the hash of that."""
    *path, value = path_and_value

    def change(event, _):
        put("value", "recipe", *path, value=value)(event, _)
        event["value"]["hash"] = digest(event["value"]["recipe"])

    return edited("reproduce_config", change)


def swapped(a: str, b: str) -> str:
    i, j = (next(n for n, line in enumerate(LINES) if word in line) for word in (a, b))
    lines = list(LINES)
    lines[i], lines[j] = lines[j], lines[i]
    return "\n".join(lines)


def without(key: str, only: int = 0) -> str:
    places = [i for i, line in enumerate(LINES) if f'"key": "{key}"' in line]
    return "\n".join(line for i, line in enumerate(LINES) if i != places[only])


config = functools.partial(edited, "reproduce_config")
environment = functools.partial(edited, "reproduce_environment")
recipe = functools.partial(put, "value", "recipe")
epoch = functools.partial(edited, "epoch_stop", only=5)
accuracy = functools.partial(edited, "eval_accuracy", only=3)
metadata = functools.partial(put, "metadata")

TAMPERED = {
    "rate": (config(recipe("schedule", "peak_lr", value=4.6)), "not the one of its hash"),
    "decay": (config(recipe("optimizer", "weight_decay", value=-5e-05)), "not the one of its hash"),
    "hash": (config(put("value", "hash", value="0" * 12)), "not the one of its hash"),
    "recipe is a list": (config(put("value", "recipe", value=[])), "not the one of its hash"),
    "recipe gone": (config(lambda event, _: event["value"].pop("recipe")), "malformed"),
    "config twice": ("\n".join([*LINES[:7], LINES[6], *LINES[7:]]), "holds 2 events reproduce_config"),
    "logged rate": (edited("lars_opt_base_learning_rate", put("value", value=4.6)), "says lars_opt_base_learning_rate"),
    "logged end rate": (edited("lars_opt_end_learning_rate", put("value", value=0.5)), "says lars_opt_end_learning"),
    "logged power": (edited("lars_opt_learning_rate_decay_poly_power", put("value", value=2.0)), "decay_poly_power"),
    "logged steps": (edited("lars_opt_learning_rate_decay_steps", put("value", value=900)), "decay_steps"),
    "logged batch": (edited("global_batch_size", put("value", value=8000)), "says global_batch_size"),
    "logged batch in words": (edited("global_batch_size", put("value", value="800")), "says global_batch_size"),
    "optimizer": (edited("opt_name", put("value", value="sgd")), "says opt_name"),
    "seed true": (edited("seed", put("value", value=True)), "its seed is True"),
    "seed in words": (edited("seed", put("value", value="1")), "its seed is '1'"),
    "seed below 0": (edited("seed", put("value", value=-1)), "its seed is -1"),
    "no seed": (without("seed"), "its seed is None"),
    "two seeds": ("\n".join(LINES[:9] + [LINES[8].replace('"value": 1', '"value": 2')] + LINES[9:]), "names 2 seeds"),
    "evaluations twice": ("\n".join(x for s in LINES for x in [s] * (1 + ("eval_accuracy" in s))), "are not the 23"),
    "evaluations differ": (edited("eval_accuracy", lambda e, _: e.update(value=e["value"] - 0.1)), "but 3250 of 10000"),
    "count differs": (accuracy(metadata("correct", value=9000)), "but 9000 of 10000 are 0.9"),
    "more right than there are": (accuracy(metadata("correct", value=10001)), "10001 of 10000 images"),
    "no image": (accuracy(metadata("images", value=0)), "of 0 images"),
    "half the images": (accuracy(metadata("images", value=10**9)), "images right"),
    "accuracy true": (accuracy(put("value", value=True)), "is True, no fraction"),
    "accuracy in words": (accuracy(put("value", value="0.9")), "no fraction"),
    "accuracy in percent": (accuracy(put("value", value=83.1)), "no fraction"),
    "accuracy NaN": (accuracy(put("value", value=float("nan"))), "are not the 23"),
    "no epoch of an evaluation": (accuracy(metadata("epoch_num", value=None)), "the evaluation of epoch None"),
    "an evaluation of another epoch": (accuracy(metadata("epoch_num", value=15)), "the evaluation of epoch 15"),
    "an evaluation less": (without("eval_accuracy", 4), "22 evaluations are not the 23"),
    "no evaluation": ("\n".join(line for line in LINES if "eval_accuracy" not in line), "0 evaluations"),
    "times reversed": (edited("*", stamp(lambda t, n: 3591167639272 - t)), "times run backwards"),
    "times equal": (edited("*", stamp(lambda t, n: 1795383725477)), "its run took 0.000 s"),
    "times of epochs equal": (edited("*", stamp(lambda t, n: t if n > len(LINES) - 3 else 1795383725477)), "no time"),
    "one time back": (edited("epoch_stop", stamp(lambda t, n: t - 50_000), only=50), "backwards at epoch_stop"),
    "times of 1970": (edited("*", stamp(lambda t, n: t - 1795383725477)), "not of a clock"),
    "times as text": (edited("*", stamp(lambda t, n: str(t))), "holds no MLPerf event"),
    "times of 400 digits": (edited("*", stamp(lambda t, n: 10**400)), "holds no MLPerf event"),
    "time NaN": (edited("run_start", stamp(lambda t, n: float("nan"))), "no run_start"),
    "fewer updates": (edited("reproduce_result", put("value", "updates", value=1400)), "1400 updates, its recipe 1440"),
    "updates in words": (edited("reproduce_result", put("value", "updates", value="1440")), "its recipe 1440"),
    "no result": (without("reproduce_result"), "has no reproduce_result"),
    "fewer updates of an epoch": (epoch(metadata("updates", value=8)), "epoch 6 took 8 updates"),
    "fewer images": (epoch(metadata("images", value=6400)), "epoch 6 took 6400 images"),
    "images below 0": (epoch(metadata("images", value=-12800)), "took -12800 images"),
    "images in words": (epoch(metadata("images", value="12800")), "took '12800' images"),
    "images infinite": (epoch(metadata("images", value=float("inf"))), "holds 89 of 90 epochs"),
    "loss below 0": (epoch(metadata("train_loss", value=-1.0)), "the loss of epoch 6 is -1.0"),
    "loss NaN": (epoch(metadata("train_loss", value=float("nan"))), "holds 89 of 90 epochs"),
    "loss in words": (epoch(metadata("train_loss", value="low")), "the loss of epoch 6"),
    "epoch number gone": (epoch(metadata("epoch_num", value=None)), "epoch None ends after epoch 5"),
    "epoch number again": (epoch(metadata("epoch_num", value=5)), "epoch 5 ends after epoch 5"),
    "epochs exchanged": (swapped('"epoch_num": 20, "images"', '"epoch_num": 21, "images"'), "backwards"),
    "epoch gone": (without("epoch_stop", 3), "holds 89 of 90 epochs"),
    "no beginning": (without("run_start"), "has no run_start"),
    "two runs": (TEXT + "\n" + TEXT, "holds 2 events run_start"),
    "cut in the middle": (TEXT[: len(TEXT) // 2], "before run_stop"),
    "packed twice": ("\n".join(x for line in LINES for x in (line, line)), "holds 2 events"),
    "devices": (environment(put("value", "devices", value=-3)), "says devices = -3"),
    "devices true": (environment(put("value", "devices", value=True)), "says devices = True"),
    "device a list": (environment(put("value", "device", value=["cpu"])), "says device = ['cpu']"),
    "hardware a table": (environment(put("value", "hardware", value={})), "says hardware"),
    "workers": (environment(put("value", "world_size", value=4)), "says 4 x 10 workers, its recipe 20"),
    "environment a text": (environment(put("value", value="x")), "malformed"),
    "metadata a list": (epoch(put("metadata", value=[1])), "holds 89 of 90 epochs"),
    "key a number": (edited("run_start", put("key", value=7)), "has no run_start"),
    "deep": (TEXT.replace(LINES[25], PREFIX + '{"a": ' + "[" * 100_000), "has no reproduce_environment"),
    "a warm-up without end": (rehashed("schedule", "warmup_epochs", 10**12), "1000000000000 epochs of warm-up"),
    "epochs for ever": (config(recipe("schedule", "epochs", value=10**9)), "not the one of its hash"),
    "no text": ("", "holds no MLPerf event"),
}  # fmt: skip


def test_the_log_itself_is_whole(tmp_path):
    for text in (TEXT, edited("*", lambda event, number: None), "\ufeff" + TEXT.replace("\n", "\r\n")):
        path = tmp_path / "result_1.txt"
        path.write_text(text, newline="")
        log = read_log(path)
        assert log.complete and log.top1 == 0.9063, log.reason


@pytest.mark.parametrize("name", TAMPERED)
def test_a_changed_log_is_not_complete_and_says_why(tmp_path, name):
    text, reason = TAMPERED[name]
    path = tmp_path / "result_1.txt"
    path.write_text(text)
    log = read_log(path)
    assert not log.complete and reason in log.reason, log.reason
    assert log.top1 is None and "\n" not in log.reason


def test_every_published_log_agrees_with_itself():
    logs = sorted((FIGURES / "measured").rglob("result_*.txt"))
    assert len(logs) >= 30
    assert [(path, read_log(path).reason) for path in logs if not read_log(path).complete] == []


def test_a_run_that_went_on_where_the_clock_is_behind_is_whole(tmp_path):
    """What lies between is not timed."""
    moved = json.dumps({"time_ms": 1795383800000, "event_type": "POINT_IN_TIME", "key": "reproduce_resumed",
                        "value": {"hardware": "another machine"}, "metadata": {"update": 800}})  # fmt: skip
    at = next(i for i, line in enumerate(LINES) if '"epoch_stop"' in line and '"epoch_num": 60,' in line)
    lines = [*LINES[:at], PREFIX + moved, *LINES[at:]]
    lines[at + 1 :] = [re.sub(r'"time_ms": (\d+)', lambda found: f'"time_ms": {int(found[1]) + 10**6}', line)
                       for line in lines[at + 1 :]]  # fmt: skip
    path = tmp_path / "result_1.txt"
    path.write_text("\n".join(lines))
    log = read_log(path)
    assert log.complete and log.interruptions == 1 and log.moved, log.reason


def test_what_is_printed_of_a_log_holds_no_control_characters(tmp_path):
    path = tmp_path / "result_1.txt"
    odd = '"status": "aborted", "reason": "\\u001b[2J\\nstatus: success"'
    path.write_text(TEXT.replace('"status": "success"', odd))
    assert read_log(path).reason == "\\x1b[2J\\nstatus: success"


def test_a_packed_or_odd_file_says_so(tmp_path):
    path = tmp_path / "result_1.txt"
    path.write_bytes(b"\x1f\x8b\x08\x00rest")
    assert read_log(path).reason == "not readable: packed with gzip: unpack it"
    assert read_log(tmp_path).reason == "not readable: Is a directory"


RECIPES = sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.glob("**/[!_]*_b*.toml"))
VARIED = [(run, one.changes) for run in REGIMES.values() for one in variants(with_changes(run))]


def as_logged(run: str, changes: tuple = ()):
    """The head of a run's log and the config of its recipe, as they are read from a file."""
    config = with_changes(run, changes)
    written = hyper_parameters(config, 1, Comm(torch.device("cpu")))
    events = [(0, replace(event, value=json.loads(json.dumps(event.value)))) for event in written]
    return events, of_recipe(json.loads(json.dumps(config.recipe())))


@pytest.mark.parametrize(("run", "changes"), [*((run, ()) for run in RECIPES), *VARIED])
def test_the_head_of_every_recipes_log_agrees_with_its_recipe(run, changes):
    """Else a run would end well, and its log count for nothing."""
    events, config = as_logged(run, changes)
    assert list(log_rules.header(events, config)) == []


@pytest.mark.parametrize("run", ["quick/goyal_b80_w2", "quick/smith_b80_w2", "quick/headline_b800_w20"])
def test_every_value_that_the_head_states_is_checked(run):
    events, config = as_logged(run)
    for at, (_, event) in enumerate(events):
        if event.key not in ("seed", "gradient_accumulation_steps"):  # no part of a recipe
            changed = replace(event, value="other" if isinstance(event.value, str) else [event.value, 1])
            found = list(log_rules.header([*events[:at], (0, changed), *events[at + 1 :]], config))
            assert len(found) == 1 and found[0].startswith(f"says {event.key} = "), event.key
