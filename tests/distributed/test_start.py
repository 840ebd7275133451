"""The same weights in every process without a broadcast, and the first rank that differs by name."""

import json

import pytest

from tests.helpers import warm


def run(how: str, seeds: list[int]) -> list:
    """Of each rank: the weights it starts from and what is told of the start, or the error and None."""
    done = warm.run_ranks("tests.helpers.start_run", [how, json.dumps(seeds)], len(seeds), timeout=120)
    return [json.loads(one.stdout) for one in done]


@pytest.mark.parametrize("how", ["same_seed", "broadcast"])
def test_every_process_starts_from_the_same_weights_and_the_time_is_told(how):
    found = run(how, [5, 5, 5])
    assert len({weights for weights, _ in found}) == 1
    for _, about in found:
        assert about["initialisation"] == how and about["seconds"] > 0 and about["check_seconds"] > 0


def test_a_broadcast_gives_every_process_the_weights_of_rank_0():
    (expected, _), *_ = run("same_seed", [5])
    assert [weights for weights, _ in run("broadcast", [5, 6, 7])] == [expected] * 3


def test_the_first_rank_that_differs_is_named_by_all():
    for message, _ in run("same_seed", [5, 5, 6, 7]):
        assert message.startswith("rank 2 does not hold the weights of rank 0")
