"""Configs: strict, typed, sourced, hashed; each broken rule gives one line with the file, the value and the rule."""

import re
from pathlib import Path

import pytest

from reproduce.artefacts import ARTEFACTS
from reproduce.engine.data import folders
from reproduce.errors import ConfigError, DataError
from reproduce.recipe import load as configs
from reproduce.recipe.config import Config
from reproduce.recipe.runs import WEAK_SCALING
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
    stated = {f"{s}.{k}" for s in configs.RECIPE for k, value in config.recipe()[s].items() if value is not None}
    unsourced = stated - set(config.sources)
    assert unsourced <= {
        "batch.recalibration_updates",  # read by bn_eval = "recalibrated" alone
        "batch.bn_workers",
        "data.corrupt_images",
        "data.evaluate_on",
        "data.subset",
        "model.zero_gamma",
        "optimizer.nesterov",
        "precision.loss_scale",
        "schedule.decay_milestones",
        "schedule.decay_factor",
        "schedule.decay_ratios",
        "schedule.weight_decay_follows_warmup",
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
        for runs in [*artefact.runs.values(), *artefact.optional.values(), *artefact.speed.values()]:
            for run in runs:
                assert configs.load_run(run).run.name == Path(run).name


def variant(tmp_path, text: str, name="variant_b81920_g2048") -> Path:
    path = tmp_path / f"{name}.toml"
    path.write_text(f'extends = "{HEADLINE}"\n[run]\nname = "{name}"\ntitle = "t"\ntier = "paper"\n{text}')
    return path


def entry(value: str) -> str:
    return f'{{ value = {value}, source = "chosen_here", ref = "test" }}'


def one(section: str, key: str, value: str) -> str:
    return f"[{section}]\n{key} = {entry(value)}"


STEP = one("schedule", "decay", '"step"')
BROKEN = {
    "a shard of fewer images than its batch": (
        f'[batch]\nepoch_rule = {entry(chr(34) + "carry" + chr(34))}\nlocal_batch = {entry("700")}',
        "batch.local_batch = ((0, 700),): must be at most 625, a worker's images, with epoch_rule = 'carry'",
    ),
    "step decay needs its milestones": (STEP, "schedule.decay_milestones = (): must be given for step decay"),
    "milestone after the end": (
        f"{STEP}\ndecay_milestones = {entry('[30, 90]')}",
        "schedule.decay_milestones = (30.0, 90.0): must be between 0 and 90",
    ),
    "polynomial decay needs its power": (
        one("schedule", "decay_power", '"none"'),
        "schedule.decay_power = None: must be given for polynomial decay",
    ),
    "a data set is a folder": (one("data", "dataset", '"../x"'), "data.dataset = '../x': must be the name of a folder"),
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
    "source that is a list": (
        '[optimizer]\nmomentum = { value = 0.9, source = [], ref = "x" }',
        "source = []: must be one of abstract",
    ),
    "hexadecimal without end": (one("model", "name", "0x" + "f" * 5000), "a whole number of more than"),
    "a power for a digit": (one("communication", "groups", '"cubic:\xb2"'), "groups = 'cubic:\xb2': must be cubic:F"),
    "digits without end": (one("communication", "groups", f'"cubic:{"9" * 5000}"'), "must be cubic:F, size:NMB"),
    "groups of any size": (one("communication", "groups", '"size:infMB"'), "communication.groups = 'size:infMB': must"),
    "a scale that is almost 0": (one("precision", "loss_scale", "5e-324"), "loss_scale = 5e-324: must be from 1e-9"),
    "empty ref": (
        '[optimizer]\nmomentum = { value = 0.9, source = "derived", ref = "" }',
        "optimizer.momentum: has no ref",
    ),
    "wrong type": (one("optimizer", "momentum", '"high"'), "optimizer.momentum = 'high': wrong type: must be float"),
    "bool is no number": (one("schedule", "epochs", "true"), "schedule.epochs = True: wrong type: must be int"),
    "not finite": (one("schedule", "peak_lr", "inf"), "schedule.peak_lr = inf: wrong type"),
    "out of range": (one("optimizer", "momentum", "1.2"), "optimizer.momentum = 1.2: must be in [0, 1)"),
    "whole number of 400 digits": (one("data", "train_images", "1" * 400), "a whole number beyond 1,000,000,000,000"),
    "the same for a fraction": (one("schedule", "peak_lr", "1" * 400), "a whole number beyond 1,000,000,000,000"),
    "epochs without end": (one("schedule", "epochs", "1000000000"), "must be from 1 to 10,000"),
    "warm-up too long": (one("schedule", "warmup_epochs", "91"), "schedule.warmup_epochs = 91.0: must be in [0, 90)"),
    "decay of no update": (one("schedule", "decay_epochs", "0.01"), "decay_epochs = 0.01: must be long enough for an"),
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


NEWCOMER = """
extends = "{base}"
[run]
name = "newcomer_b512_g16"
title = "Somebody's recipe"
tier = "paper"
[data]
dataset = {{ value = "imagenette", source = "public", ref = "its page" }}
train_images = {{ value = 9469, source = "public", ref = "its page" }}
val_images = {{ value = 3925, source = "public", ref = "its page" }}
classes = {{ value = 10, source = "public", ref = "its page" }}
[batch]
workers = {{ value = 16, source = "chosen_here", ref = "test" }}
local_batch = {{ value = 32, source = "chosen_here", ref = "test" }}
[optimizer]
preset = {{ value = "sgd", source = "public", ref = "its paper" }}
momentum = {{ value = 0.9, source = "public", ref = "its paper" }}
weight_decay = {{ value = 1e-4, source = "public", ref = "its paper" }}
label_smoothing = {{ value = 0.0, source = "public", ref = "its paper" }}
[schedule]
epochs = {{ value = 90, source = "public", ref = "its paper" }}
peak_lr = {{ value = 0.2, source = "public", ref = "its paper" }}
warmup_epochs = {{ value = 0, source = "public", ref = "its paper" }}
decay = {{ value = "step", source = "public", ref = "its paper" }}
decay_milestones = {{ value = [30, 60, 80], source = "public", ref = "its paper" }}
"""


def test_a_newcomers_recipe_is_one_file_and_inherits_nothing_of_the_headlines(tmp_path):
    """On a data set of its own, and without a word on what step decay does not use."""
    path = tmp_path / "newcomer_b512_g16.toml"
    path.write_text(NEWCOMER.format(base=ROOT / "paper_configs/_base_imagenet.toml"))
    config = configs.load(path)
    assert config.global_batch() == 512 and config.epoch_updates()[0] == 19
    assert config.data.crop_area == (0.08, 1.0) and config.data.unaugmented_epochs == 0
    assert config.batch.bn_eval == "mean" and config.schedule.decay_power is None
    assert "mlperf06" not in {source.kind for source in config.sources.values()}
    for pixels in ("train", "val"):
        for name in "abcdefghij":
            (tmp_path / "imagenette" / pixels / name).mkdir(parents=True)
    with pytest.raises(DataError, match="data.val_images states 3,925"):  # its folder is looked into like any other
        folders.index(tmp_path / "imagenette", config.data)


def test_missing_file_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'headline_b81920_g2048.toml'"):
        configs.load(HEADLINE.with_name("headline_b81920_g2047.toml"))


def test_a_file_must_be_called_what_its_run_is_called(tmp_path):
    path = variant(tmp_path, "")
    with pytest.raises(ConfigError, match="run.name"):
        configs.load(path.rename(tmp_path / "other.toml"))


def test_a_file_without_a_run_section_does_not_pass_as_its_base(tmp_path):
    path = tmp_path / HEADLINE.name
    path.write_text(f'extends = "{HEADLINE}"\n')
    with pytest.raises(ConfigError, match="run.name is missing"):
        configs.load(path)


def test_what_a_file_says_cannot_act_on_the_terminal(tmp_path, capsys):
    text = one("optimizer", "momentum", "0.9").replace('"test"', '"a\\u001b[2Jb"')
    assert configs.main([str(variant(tmp_path, text))]) == 0
    assert "optimizer.momentum = 0.9  [chosen_here] a\\x1b[2Jb\n" in capsys.readouterr().out


def test_updates_are_counted_no_further_than_the_run_goes(monkeypatch):
    config, asked = configs.load(HEADLINE), []
    count = Config.nominal_updates
    monkeypatch.setattr(Config, "nominal_updates", lambda self, epoch: asked.append(epoch) or count(self, epoch))
    last = count(config, config.schedule.epochs - 1)
    within = config.updates_at(config.schedule.epochs)
    assert config.updates_at(config.schedule.epochs + 10_000) == within + 10_000 * last
    assert max(asked) < config.schedule.epochs


def test_extending_in_a_circle_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text('extends = "b.toml"')
    (tmp_path / "b.toml").write_text('extends = "a.toml"')
    with pytest.raises(ConfigError, match="circle"):
        configs.load(tmp_path / "a.toml")


def test_a_base_that_no_file_can_be_is_one_line(tmp_path):
    (tmp_path / "a.toml").write_text('extends = "b\\u0000.toml"')
    (tmp_path / "link.toml").symlink_to("link.toml")
    for name, reason in (("a", "null"), ("link", "Too many levels")):
        with pytest.raises(ConfigError, match=f"not readable as TOML: .*{reason}"):
            configs.load(tmp_path / f"{name}.toml")


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


# ---- variants -------------------------------------------------------------------------------------------------------


def test_a_variant_is_a_run_of_its_own_with_its_changes_in_its_name():
    run = "quick/speed_b40_w1@batch.workers=2,data.train_images=1252"
    varied, plain = configs.load_run(run), configs.load_run("quick/speed_b40_w1")
    assert (varied.batch.workers, varied.data.train_images) == (2, 1252) and varied.hash != plain.hash
    assert (varied.run.name, plain.run.name) == (Path(run).name, "speed_b40_w1")
    assert varied.sources["batch.workers"].kind == "override" and varied.run.purpose == "speed"
    path = ROOT / "paper_configs/quick/speed_b40_w1.toml"
    assert configs.load(path, [], ["batch.workers=2", "data.train_images=1252"]) == varied


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("batch.workers=3,x", "is not a TOML value"),
        ('data.dataset="imagenet"', "becomes part of a folder's name"),
        ("data.crop_area=[0.5, 1.0]", "becomes part of a folder's name"),
        ("batch.wokers=2", "did you mean 'workers'"),
        ("batch.workers=700", "must be at most train_images = 626"),
    ],
)
def test_a_bad_variant_is_one_line(change, says):
    with pytest.raises(ConfigError, match=re.escape(says)) as error:
        configs.load(ROOT / "paper_configs/quick/speed_b40_w1.toml", variant=[change])
    assert "\n" not in str(error.value)


def test_of_a_weak_scaling_every_epoch_has_the_papers_updates():
    headline = configs.load(HEADLINE)
    for run in (run for runs in WEAK_SCALING.values() for run in runs):
        config = configs.load_run(run)
        assert set(config.epoch_updates()) == set(headline.epoch_updates()) == {16}
        assert config.local_batch(0) == 40 and config.shard_size == headline.shard_size
