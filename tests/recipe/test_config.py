"""Configs: strict, typed, sourced, hashed; each broken rule gives one line with the file, the value and the rule."""

import re
from pathlib import Path

import pytest

from reproduce.artefacts import ARTEFACTS
from reproduce.errors import ConfigError
from reproduce.recipe import load as configs
from tests.helpers import ROOT

CONFIGS = sorted(p for p in ROOT.glob("paper_configs/**/*.toml") if (ROOT / "paper_configs/clusters") not in p.parents)
RUNS = [p for p in CONFIGS if not p.name.startswith("_") and p.name != "paper.toml"]
HEADLINE = ROOT / "paper_configs/headline_b81920_g2048.toml"


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.stem)
def test_every_run_loads_and_its_name_decodes(path):
    config = configs.load(path)
    batch = int(re.search(r"_b(\d+)_", path.stem)[1])
    workers = int(re.search(r"_[gw](\d+)$", path.stem)[1])
    assert config.global_batch() == batch and config.batch.workers == workers
    assert config.run.tier == ("quick" if path.parent.name == "quick" else "paper")
    if config.run.scales_down:
        assert (ROOT / f"paper_configs/{config.run.scales_down}.toml").exists()


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.stem)
def test_every_recipe_value_has_a_source(path):
    """Values left at a field's default are not part of the recipe as published; they must be harmless ones."""
    config = configs.load(path)
    unsourced = {f"{s}.{k}" for s in configs.RECIPE for k in config.recipe()[s]} - set(config.sources)
    assert unsourced <= {
        "batch.recalibration_updates",  # read by bn_eval = "recalibrated" alone
        "data.corrupt_images",
        "precision.loss_scale",
        "schedule.decay_milestones",
        "schedule.decay_factor",
        "communication.overlap",
        "communication.initialisation",
    }
    assert all(source.kind in configs.SOURCES and source.ref for source in config.sources.values())


def test_the_headline_says_which_values_are_not_the_papers():
    sources = configs.load(HEADLINE).sources
    for key in ("schedule.peak_lr", "schedule.decay_power", "optimizer.trust_coefficient", "optimizer.momentum"):
        assert sources[key].kind == "mlperf06"


def test_every_run_an_artefact_needs_has_a_config():
    for artefact in ARTEFACTS:
        for runs in [*artefact.runs.values(), *artefact.optional.values()]:
            for run in runs:
                assert (ROOT / f"paper_configs/{run}.toml").is_file(), run


def variant(tmp_path, text: str, name="variant_b81920_g2048") -> Path:
    path = tmp_path / f"{name}.toml"
    path.write_text(f'extends = "{HEADLINE}"\n[run]\nname = "{name}"\ntitle = "t"\ntier = "paper"\n{text}')
    return path


def entry(value: str) -> str:
    return f'{{ value = {value}, source = "chosen_here", ref = "test" }}'


def one(section: str, key: str, value: str) -> str:
    return f"[{section}]\n{key} = {entry(value)}"


BROKEN = {
    "unknown key, nearest named": (
        one("optimizer", "momentun", "0.9"),
        "optimizer.momentun: unknown key: did you mean 'momentum'",
    ),
    "unknown section": (one("optimiser", "momentum", "0.9"), "unknown section [optimiser]: did you mean 'optimizer'"),
    "no source": ("[optimizer]\nmomentum = 0.9", "optimizer.momentum: has no source"),
    "unknown source": (
        '[optimizer]\nmomentum = { value = 0.9, source = "me", ref = "x" }',
        "source = 'me': must be one of abstract",
    ),
    "empty ref": (
        '[optimizer]\nmomentum = { value = 0.9, source = "derived", ref = "" }',
        "optimizer.momentum: has no ref",
    ),
    "wrong type": (one("optimizer", "momentum", '"high"'), "optimizer.momentum = 'high': wrong type: must be float"),
    "bool is no number": (one("schedule", "epochs", "true"), "schedule.epochs = True: wrong type: must be int"),
    "not finite": (one("schedule", "peak_lr", "inf"), "schedule.peak_lr = inf: wrong type"),
    "out of range": (one("optimizer", "momentum", "1.2"), "optimizer.momentum = 1.2: must be in [0, 1)"),
    "warm-up too long": (one("schedule", "warmup_epochs", "91"), "schedule.warmup_epochs = 91.0: must be in [0, 90)"),
    "decay too long": (one("schedule", "decay_epochs", "60"), "schedule.decay_epochs = 60.0: must be at most 90 - war"),
    "phases must start at 0": (one("batch", "local_batch", "[[5, 40]]"), "batch.local_batch = ((5, 40),): must be"),
    "sgd has no trust": (one("optimizer", "preset", '"sgd"'), "optimizer.trust_coefficient = 0.0025: must be absent"),
    "bad choice": (one("batch", "bn_eval", '"best"'), "batch.bn_eval = 'best': must be one of mean, local, rank0, "),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_gives_one_clear_line(tmp_path, case):
    text, expected = BROKEN[case]
    path = variant(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        configs.load(path)
    message = str(caught.value)
    assert expected in message and str(path) in message and "\n" not in message


def test_missing_file_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean headline_b81920_g2048.toml"):
        configs.load(HEADLINE.with_name("headline_b81920_g2047.toml"))


def test_a_file_must_be_called_what_its_run_is_called(tmp_path):
    path = variant(tmp_path, "")
    with pytest.raises(ConfigError, match="run.name"):
        configs.load(path.rename(tmp_path / "other.toml"))


def test_extending_in_a_circle_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text('extends = "b.toml"')
    (tmp_path / "b.toml").write_text('extends = "a.toml"')
    with pytest.raises(ConfigError, match="circle"):
        configs.load(tmp_path / "a.toml")


def test_hash_follows_the_recipe_and_nothing_else(tmp_path):
    headline = configs.load(HEADLINE)
    assert configs.load(variant(tmp_path, "")).hash == headline.hash  # another name and title only
    assert configs.load(HEADLINE, ["precision.loss_scale=1.0"]).hash == headline.hash  # stating a default is no change
    changed = configs.load(HEADLINE, ["optimizer.momentum=0.95"])
    assert changed.hash != headline.hash and changed.sources["optimizer.momentum"].kind == "override"


def test_overrides_are_checked_like_files():
    for text, expected in {
        "optimizer.momentun=0.9": "did you mean 'momentum'", "momentum=0.9": "SECTION.KEY=VALUE",
        "optimizer.preset=sgd": "put strings in double quotes", "optimizer.momentum=2": "must be in [0, 1)",
    }.items():  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            configs.load(HEADLINE, [text])
        assert expected in str(caught.value)


def test_no_number_of_the_paper_is_in_the_engine():
    """Imports are checked by the contracts in pyproject.toml; a file can also be read by its name."""
    for path in ROOT.glob("reproduce/engine/**/*.py"):
        assert "paper.toml" not in path.read_text(), path
