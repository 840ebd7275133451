"""A broken optimizer turns the quick regression red: each of tests/mutations.py, and by what it is caught.

The regression is two things: the golden first updates, and a run of seconds compared with stored curves. pytest -s
prints the table.
"""

import os

import pytest

from reproduce.judge import stored
from reproduce.recipe import load as configs
from tests import make_golden, mutations
from tests.helpers import mutation_run, warm
from tests.helpers.fashion_mnist import fashion_mnist
from tests.helpers.mutation_run import NONE

STEP = "golden step"
MUST = ["sign of decay", "epsilon 1e-3", "LARS on batch norm", "convention B instead of A", "label smoothing off"]
TRAINED = [NONE, *(mutation.name for mutation in mutations.MUTATIONS if mutation.trained)]
SHORT_OF_THE_STEP = ["augmentation left out", "evaluated with fresh batch-norm statistics"]


def caught_by_golden() -> list[str]:
    _, deviation = make_golden.worst(make_golden.first_steps(), make_golden.read()["updates"])
    return [] if deviation <= make_golden.TOLERANCE else [STEP]


@pytest.fixture(scope="module")
def golden() -> dict[str, list[str]]:
    """By mutation, whether the first updates give it away."""
    found = {NONE: caught_by_golden()}
    for mutation in mutations.MUTATIONS:
        with mutation.applied():
            found[mutation.name] = caught_by_golden()
    return found


@pytest.fixture(scope="module")
def curves(tmp_path_factory) -> dict[str, list[str]]:
    """By mutation, which tests of its run's curves fail; two processes of one thread train them."""
    config, out = configs.load(mutation_run.CONFIG), tmp_path_factory.mktemp("mutations")
    data = fashion_mnist(config, tmp_path_factory.mktemp("data") / "fashion_mnist")
    env, where = os.environ | {"OMP_NUM_THREADS": "1"}, ["--data", str(data), "--out", str(out)]
    halves = [warm.Warm("tests.helpers.mutation_run", [*where, *TRAINED[i::2]], env) for i in range(2)]
    for half in halves:
        _, err = half.communicate()
        assert half.returncode == 0, err[-2000:]
    references = stored.references()
    return {name: mutation_run.caught_by(name, out, references) for name in TRAINED}


def test_the_intact_first_updates_are_the_stored_ones(golden):
    assert golden[NONE] == []


def test_every_mutation_of_an_update_shows_in_the_first_ones(golden):
    """Those that cannot: the augmentation and the evaluation are not in them."""
    assert [name for name, by in golden.items() if not by] == [NONE, *SHORT_OF_THE_STEP]


def test_the_intact_run_is_within_the_stored_curves(curves):
    assert curves[NONE] == []


def test_every_mutation_is_caught(golden, curves):
    by = {name: golden[name] + curves.get(name, ["not trained here"]) for name in golden if name != NONE}
    for name, tests in by.items():
        print(f"{name:45s} {', '.join(tests) or 'not caught'}")
    assert set(MUST) <= set(by)
    assert [name for name in by if not (golden[name] or curves[name])] == []


@pytest.mark.parametrize("name", [*SHORT_OF_THE_STEP, "sign of decay"])
def test_the_curves_show_what_the_first_updates_cannot_and_an_optimizer_that_is_broken(curves, name):
    assert curves[name]
