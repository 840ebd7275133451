"""The cluster model's inputs: layers equal to the engine's network, and cluster files read strictly."""

from pathlib import Path

import pytest

from reproduce.cluster import files, layers
from reproduce.cluster.machine import SECTIONS, STATUSES
from reproduce.engine.dist.groups import tensors_of
from reproduce.engine.model import build_model
from reproduce.errors import ConfigError
from reproduce.recipe import load as configs
from reproduce.recipe.grouping import divide
from tests.helpers import ROOT

NAMES = {"abci", "dgx1v", "dgx2h", "dgx-a100", "dgx-h100", "hgx-h200", "local"}
RULES = ("cubic:3", "size:4MB", "size:8MB", "layer", "single")


@pytest.mark.parametrize("config", ["headline_b81920_g2048", "mlperf06_b86016_g2048"])
def test_tensors_and_groups_are_the_engines(config):
    """The same names, sizes and order, with three input channels and with four; so every rule gives the same groups."""
    run = configs.load(ROOT / f"paper_configs/{config}.toml")
    ours = layers.tensors(layers.resnet50(channels=run.model.input_channels))
    engine = tensors_of(build_model(run))
    assert ours == engine and len(ours) == 161
    for rule in RULES:
        assert divide(ours, rule) == divide(engine, rule)


def test_the_work_of_an_image_is_the_published_one():
    """Counted on a network by hooks: 4.089 GMAC, 11.11 million elements out of convolutions, 25,557,032 parameters."""
    found = layers.resnet50()
    assert sum(layer.macs for layer in found) == pytest.approx(4.089e9, rel=2e-4)
    assert sum(layer.outputs for layer in found if layer.kind == "conv") == pytest.approx(11.114e6, rel=1e-4)
    assert sum(layer.weights for layer in found) == 25_557_032
    assert [layer.kind for layer in found].count("conv") == 53 and len(found) == 107


def test_a_gradient_is_ready_when_backward_has_passed_its_layer():
    found = layers.resnet50()
    places, tensors = layers.places(found), layers.tensors(found)
    assert len(places) == len(tensors) and places == sorted(places)
    assert all(tensor in found[place].tensors for place, tensor in zip(places, tensors))


# ---- files ----------------------------------------------------------------------------------------------------------


def test_the_clusters_are_there():
    assert set(files.names()) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_constant_has_value_unit_source_and_status(name):
    cluster = files.load(name)
    expected = {f"{section}.{key}" for section, cls in SECTIONS.items() for key in cls.__dataclass_fields__}
    assert set(cluster.constants) == expected
    for key, constant in cluster.constants.items():
        assert constant.status in STATUSES and constant.source.strip() and constant.unit
        assert cluster.get(key) == constant.value
        assert (constant.range is not None) == (constant.status == "assumed"), key
    assert cluster.path == f"paper_configs/clusters/{name}.toml"


def test_what_was_calibrated_says_so_and_replaces_what_was_assumed():
    bare, cluster = files.bare("abci"), files.load("abci")
    assert bare.constants["software.slowdown"].status == "assumed" and not bare.stack
    assert cluster.constants["software.slowdown"].status == "calibrated" and cluster.stack == "V100 NGC 18.11"
    later = files.load("abci", "V100 NGC 19.05")
    assert later.software.slowdown < cluster.software.slowdown, "the later software was the quicker one"


def constant(value="1", unit="count", status="datasheet", rest="", source="test"):
    return f'{{ value = {value}, unit = "{unit}", status = "{status}", source = "{source}"{rest} }}'


def own(tmp_path, text, name="mine", about=""):
    path = tmp_path / f"{name}.toml"
    head = f'name = "{name}"\ntitle = "t"\ngpu = "g"\ncpu = "c"\nadapter = "a"\nstack = ""\nmost_gpus = 8\n{about}'
    path.write_text(f'extends = "{files.FOLDER / "abci.toml"}"\n[cluster]\n{head}\n{text}')
    return str(path)


def test_a_file_of_ones_own_takes_over_the_rest(tmp_path):
    cluster = files.load(own(tmp_path, f"[node]\ngpus = {constant('2')}"))
    assert cluster.node.gpus == 2 and cluster.network.adapters == 2 and cluster.about.title == "t"


BROKEN = {
    "unknown key": (f"[network]\nadapter = {constant()}", "network.adapter: unknown key: did you mean 'adapters'"),
    "unknown section": (f"[nodes]\ngpus = {constant()}", "unknown section [nodes]: did you mean 'node'"),
    "no unit": ('[node]\ngpus = { value = 2, source = "x", status = "datasheet" }', "unit = None: must be 'count'"),
    "other unit": (f"[node]\ngpus = {constant(unit='B/s')}", "unit = 'B/s': must be 'count'"),
    "bare number": ("[node]\ngpus = 2", 'node.gpus: write gpus = { value = ..., unit = "..."'),
    "status": (f"[node]\ngpus = {constant(status='data sheet')}", "status = 'data sheet': did you mean 'datasheet'"),
    "no source": (f"[node]\ngpus = {constant(source=' ')}", "node.gpus: has no source"),
    "negative": (f"[node]\ngpus = {constant('-1')}", "node.gpus = -1: must be a number, at least 0"),
    "text": (f"[node]\ngpus = {constant('true')}", "node.gpus = True: must be a number"),
    "assumed without range": (f"[node]\ngpus = {constant(status='assumed')}", "an assumed constant has one"),
    "known with range": (f"[node]\ngpus = {constant(rest=', range = [1, 2]')}", "no other does"),
    "outside": (f"[node]\ngpus = {constant(status='assumed', rest=', range = [2, 3]')}", "low <= value <= high"),
    "field": (f"[node]\ngpus = {constant(rest=', sources = 1')}", "unknown field 'sources': did you mean 'source'"),
    "not TOML": ("[node", "not readable as TOML"),
    "status of no text": ('[node]\ngpus = { value = 2, unit = "count", source = "x", status = [] }', "status = []"),
    "range of no list": (f"[node]\ngpus = {constant(rest=', range = 3')}", "range"),
    "beyond a float": (f"[node]\ngpus = {constant('1' * 400)}", "must be a number"),
    "divided by": (f"[node]\nlink_bandwidth = {constant('0', 'B/s')}", "must be a number, above 0"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_gives_one_clear_line(tmp_path, case):
    text, expected = BROKEN[case]
    with pytest.raises(ConfigError) as caught:
        files.load(own(tmp_path, text))
    message = str(caught.value)
    assert expected in message and "mine.toml" in message and "\n" not in message


@pytest.mark.parametrize("line", ["cluster = 3", "gpu = 3", "launch = 3", "extends = 3"])
def test_what_is_no_table_or_name_is_refused(tmp_path, line):
    path = tmp_path / "mine.toml"
    path.write_text(f"{line}\n")
    with pytest.raises(ConfigError, match=line.partition(" ")[0]):
        files.load(str(path))


def test_names_are_checked_and_never_inherited(tmp_path):
    with pytest.raises(ConfigError, match=r"cluster\.stak: unknown key: did you mean 'stack'"):
        files.load(own(tmp_path, "", about='stak = ""'))
    (tmp_path / "other.toml").write_text(f'extends = "{files.FOLDER / "abci.toml"}"\n')
    with pytest.raises(ConfigError, match=r"7 missing: cluster\.name, cluster\.title"):
        files.load(str(tmp_path / "other.toml"))
    renamed = Path(own(tmp_path, "")).rename(tmp_path / "renamed.toml")
    with pytest.raises(ConfigError, match="must be the file's name, 'renamed'"):
        files.load(str(renamed))


def test_all_that_is_missing_is_named_at_once(tmp_path):
    path = tmp_path / "empty.toml"
    path.write_text('[cluster]\nname = "empty"\ntitle = "t"\n')
    with pytest.raises(ConfigError) as caught:
        files.load(str(path))
    said = str(caught.value)
    for name in ("cluster.stack", "cluster.most_gpus", "gpu.tensor_peak", "network.launch", "software.refill"):
        assert name in said
    assert "cluster.title" not in said and "cluster.year" not in said and "41 missing" in said and "\n" not in said
    assert 'begin with extends = "NAME.toml"' in said


def test_a_name_alone_finds_a_file_here_but_ours_first(tmp_path, monkeypatch):
    own(tmp_path, "")
    own(tmp_path, "", name="abci")
    monkeypatch.chdir(tmp_path)
    assert files.load("mine").path == "mine.toml" and files.load("mine").own
    assert files.load("abci").path == "paper_configs/clusters/abci.toml" and files.load("abci.toml").own


def test_a_base_that_no_file_can_be_is_one_line(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "b\\u0000.toml"')
    with pytest.raises(ConfigError, match="not readable as TOML: .*null"):
        files.load(str(path))


def test_ours_are_extended_by_name(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(Path(own(tmp_path, "")).read_text().replace(str(files.FOLDER / "abci.toml"), "abci.toml"))
    assert files.load(str(path)).network.adapters == 2


def test_extending_in_a_circle_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text('extends = "b.toml"')
    (tmp_path / "b.toml").write_text('extends = "a.toml"')
    with pytest.raises(ConfigError, match="circle"):
        files.load(str(tmp_path / "a.toml"))


def test_what_is_not_there_names_the_nearest():
    with pytest.raises(ConfigError, match="abc: no such cluster: did you mean 'abci'"):
        files.load("abc")
    with pytest.raises(ConfigError, match="no stack 'V100 NGC 18.12': did you mean 'V100 NGC 18.11'"):
        files.load("abci", "V100 NGC 18.12")
