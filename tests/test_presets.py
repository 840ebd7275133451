"""Presets of how a run is computed: what they stand for, and what is refused."""

import pytest

from reproduce import presets
from reproduce.engine.execution import chosen
from reproduce.engine.optim import BACKENDS
from reproduce.errors import ConfigError
from tests.helpers import ROOT


def execution(text, device="cpu", workers=20, **changes):
    made, data = chosen(text, device, workers, changes)
    return made.preset, made.lars, made.batch_norm, made.cuda_graph, data


@pytest.mark.parametrize(
    ("text", "device", "workers", "expected"),
    [
        (None, "cpu", 20, ("reference", "auto", "split", False, "auto")),
        (None, "cuda", 1, ("fast", "compiled", "split", True, "auto")),
        (None, "cuda", 256, ("fast", "compiled", "vectorised", True, "auto")),
        ("reference", "cuda", 256, ("reference", "foreach", "split", False, "auto")),
        ("fast", "cpu", 20, ("fast", "auto", "vectorised", False, "auto")),
        ("fast,lars=foreach", "cuda", 8, ("fast", "foreach", "vectorised", False, "auto")),
        ("fast,cuda-graph=off,data=dali", "cuda", 8, ("fast", "compiled", "vectorised", False, "dali")),
        ("lars=foreach", "cpu", 1, ("reference", "foreach", "split", False, "auto")),
        ("fast,batch-norm=vectorised", "cuda", 1, ("fast", "compiled", "vectorised", True, "auto")),
    ],
)
def test_a_preset_is_what_the_table_says(text, device, workers, expected):
    assert execution(text, device, workers) == expected


def test_an_option_of_its_own_wins():
    assert execution("reference,lars=foreach", lars="native")[1] == "native"


@pytest.mark.parametrize(
    ("text", "says"),
    [("quick", "must be reference or fast"), ("fast,lars=best", "known are auto, foreach"),
     ("fast,x=1", "known are lars,"), ("fast,", "no such choice"),
     ("fast,lars=foreach,cuda-graph=on", "needs --lars compiled"),
     ("fast,lars=compiled,cuda-graph=on", "needs a GPU")],
)  # fmt: skip
def test_what_cannot_be_is_one_line(text, says):
    with pytest.raises(ConfigError, match=says) as error:
        chosen(text, "cpu" if "GPU" in says else "cuda", 8, {})
    assert "\n" not in str(error.value)


def test_the_choices_are_the_engines_and_the_document_has_the_table():
    assert presets.CHOICES["lars"] == BACKENDS
    assert all(set(choices) == set(presets.CHOICES) == set(presets.MEANING) for choices in presets.PRESETS.values())
    assert presets.table() in (ROOT / "reproduce" / "engine" / "README.md").read_text()
