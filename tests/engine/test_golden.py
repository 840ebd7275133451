"""The first updates of the quick regression's recipe are the stored ones, to a stated tolerance, on each device."""

import copy

import pytest
import torch

from reproduce.recipe import load as configs
from tests import make_golden

DEVICES = [d for d in ("cpu", "cuda") if make_golden.path(d).exists() and (d == "cpu" or torch.cuda.is_available())]


@pytest.mark.parametrize("device", DEVICES)
def test_first_updates(device):
    stored = make_golden.read(device)
    assert stored["tolerance"] == make_golden.TOLERANCE
    name, deviation = make_golden.worst(make_golden.first_steps(device), stored["updates"])
    assert deviation <= make_golden.TOLERANCE, (
        f"{name}: {deviation:.1e}: the mathematics changed; if that was meant, python -m tests.make_golden"
    )


@pytest.mark.parametrize("device", DEVICES)
def test_the_stored_numbers_say_what_they_were_made_of(device):
    about = make_golden.read(device)["about"]
    assert about["hash"] == configs.load(make_golden.ROOT / make_golden.CONFIG, make_golden.OVERRIDES).hash
    assert about["device"] == device and about["torch"] and about["hardware"]
    assert "dirty" not in about["revision"]


@pytest.mark.parametrize("key", ["loss", "gradient_norm", "moved", "statistics"])
def test_every_number_is_compared(key):
    stored = make_golden.read()["updates"]
    changed, last = copy.deepcopy(stored), 3
    if key == "moved":
        changed[last]["moved"]["layer2.conv1.weight"][1] += 0.01 * stored[last]["moved"]["layer2.conv1.weight"][0]
    elif key == "statistics":
        changed[last]["statistics"][1] *= 1.01
    else:
        changed[last][key] *= 1.01
    assert make_golden.worst(stored, stored)[1] == 0
    assert make_golden.worst(changed, stored)[1] > make_golden.TOLERANCE
    changed[last]["loss"] = float("nan")
    assert not make_golden.worst(changed, stored)[1] <= make_golden.TOLERANCE
