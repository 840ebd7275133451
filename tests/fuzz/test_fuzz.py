"""A short run of the fuzzer, which finds nothing; and three faults, each of which it finds."""

import os

import pytest

from tests.fuzz import campaign, child
from tests.fuzz.oracle import findings
from tests.fuzz.scene import Entry, Scene, changed, from_json
from tests.helpers import warm

INPUTS = 130
ENV = os.environ | {"OMP_NUM_THREADS": "1"}


def test_bad_inputs_of_every_kind():
    done = warm.run("tests.fuzz", ["--inputs", str(INPUTS), "--seed", "1", "--jobs", "2"], env=ENV)
    assert done.returncode == 0, done.stdout[-5000:]
    lines = done.stdout.splitlines()
    counts = {line.split()[0]: int(line.split()[1].replace(",", "")) for line in lines if line[:1].isalpha() and
              line.split()[1][0].isdigit()}  # fmt: skip
    assert counts.pop("all") >= INPUTS and min(counts.values()) >= 4 and len(counts) >= 12


@pytest.mark.parametrize(("fault", "kind"), [("json", "traceback"), ("whole", "damage"), ("link", "damage")])
def test_a_fault_is_found(fault, kind):
    done = warm.run("tests.fuzz.faulty", [fault], env=ENV)
    assert done.returncode == 0 and kind in {line.partition(":")[0] for line in done.stdout.splitlines()}, done.stderr


def outcome(**changes) -> child.Outcome:
    well = {"code": 2, "out": "", "err": "error: x.toml: no\n", "seconds": 0.1, "hung": False, "memory": 0,
            "damaged": (), "executed": False}  # fmt: skip
    return child.Outcome(**(well | changes))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, ""), ({"code": 1, "err": "Traceback (most recent call last):\n  x\nValueError: y\n"}, "traceback"),
        ({"hung": True, "code": -9}, "hang"), ({"code": -11}, "died"), ({"damaged": ("a",)}, "damage"),
        ({"executed": True}, "execution"), ({"memory": 1 << 40}, "memory"), ({"code": 0}, "accepted"),
        ({"err": "error: x.toml \x1b[2J"}, "control"), ({"code": 3}, "code"), ({"err": "no\n"}, "unclear"),
        ({"err": "error: no\n"}, "unnamed"),
        ({"err": "error: x.toml\nmore\n"}, "unclear"),
    ],
)  # fmt: skip
def test_what_must_never_happen_is_seen(changes, kind):
    scene = Scene("recipes", "value", "reproduce.config", ("x.toml",), must="refuse", names=("x.toml",))
    assert [one.kind for one in findings(scene, outcome(**changes))] == ([kind] if kind else [])


def test_a_scene_is_kept_and_read_again():
    scene = Scene("data", "link", "reproduce.config", ("caf\udce9",), (Entry("a", content=b"\xff"), Entry("b", "fifo")),
                  (("HOME", ""),), codes=(1, 2))  # fmt: skip
    assert from_json(scene.to_json()) == scene


def test_damage_is_what_changed_outside_of_what_may():
    before = {"a": ("x",), "b/c": ("x",), "d": ("x",)}
    after = {"a": ("y",), "b/c": ("y",), "b/new": ("x",), "out": ("x",)}
    assert changed(before, after, ["b/", "out/deep"]) == ["a", "d"]


def test_every_surface_has_scenes():
    assert {"recipes", "clusters", "logs", "results", "claims", "words", "environment", "data", "images", "archives",
            "checkpoints", "outputs"} <= set(campaign.surfaces())  # fmt: skip
