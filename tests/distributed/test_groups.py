"""Static groups: the published table, and rules that send every tensor once, from the end of the network backwards."""


import pytest

from reproduce.engine.dist.groups import table, tensors_of
from reproduce.engine.model import build_model
from reproduce.errors import ConfigError
from reproduce.recipe import load as configs
from reproduce.recipe.grouping import divide
from tests.helpers import ROOT


@pytest.fixture(scope="module")
def resnet50():
    return tensors_of(build_model(configs.load(ROOT / "paper_configs/mlperf06_b86016_g2048.toml")))


def test_cubic_groups_equal_the_published_ones(resnet50):
    """Tensors put together, tensors sent, elements and MB of facts e; four input channels, as the team ran."""
    found = [(g.span, len(g.ids), g.elements, round(g.megabytes(2), 2)) for g in divide(resnet50, "cubic:3")]
    assert found == [
        (3, 2, 2_049_000, 4.10), (21, 7, 11_010_048, 22.02), (57, 19, 10_027_008, 20.05), (80, 27, 2_420_992, 4.84),
        (106, 106, 53_120, 0.21),
    ]  # fmt: skip
    assert "11,010,048" in table(resnet50, divide(resnet50, "cubic:3"))


@pytest.mark.parametrize("rule", ["cubic:3", "cubic:1", "size:8MB", "size:0.5MB", "layer", "single"])
def test_each_tensor_is_sent_once_and_from_the_end_backwards(resnet50, rule):
    groups = divide(resnet50, rule)
    assert sorted(i for group in groups for i in group.ids) == list(range(161))
    *weights, batch_norm = groups
    assert batch_norm.batch_norm and not any(group.batch_norm for group in weights)
    starts = [group.ids[0] for group in weights]
    assert starts == sorted(starts, reverse=True)
    assert all(later.ids[-1] < earlier.ids[0] for earlier, later in zip(weights, weights[1:]))


def test_a_size_rule_closes_a_group_once_it_holds_enough(resnet50):
    *weights, last, _ = divide(resnet50, "size:8MB")
    for group in weights:
        assert group.megabytes(2) >= 8
        assert group.megabytes(2) - resnet50[group.ids[0]].elements * 2e-6 < 8


@pytest.mark.parametrize("rule", ["cubic", "cubic:0", "cubic:\xb2", "size:8", "size:infMB", "size:xMB", "ring"])
def test_an_unknown_rule_is_refused(resnet50, rule):
    with pytest.raises(ConfigError, match="must be cubic:F, size:NMB, layer or single"):
        divide(resnet50, rule)
