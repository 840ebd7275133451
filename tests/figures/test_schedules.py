"""The schedules of Table 1's rows as drawn: where they change their form, and the line between."""

import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

from reproduce import schedules
from reproduce.results import output
from tests.helpers import ROOT
from tests.helpers.row_joints import JOINTS

OF_RECIPE = {config.run.name: config for config in schedules.recipes().values() if config}


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schedules")
    assert schedules.main(["--draw", "--results", str(folder), "--out", str(folder)]) == 0
    return json.loads((folder / "schedules.json").read_text())


def test_every_row_of_table_1_is_there_and_the_one_without_a_recipe_says_so(facts):
    assert [one["work"].split()[0] for one in facts["rows"]] == [
        "He", "Goyal", "Smith", "Akiba", "Jia", "Ying", "Mikami", "This"
    ]  # fmt: skip
    assert [one["recipe"] for one in facts["rows"]] == [None, *JOINTS, "headline_b81920_g2048"]
    assert all(one["kind"] == "setting" for one in facts["rows"] if one["recipe"])


def test_the_published_figure_is_of_the_recipes():
    published = json.loads((ROOT / "figures/modelled/schedules.json").read_text())
    assert published["rows"] == json.loads(output.to_json(schedules.data()))["rows"]


@pytest.mark.parametrize("row", JOINTS)
def test_the_line_goes_through_the_sources_values(row):
    """Those at whole epochs at least; between two the line has no other corner."""
    config = OF_RECIPE[row]
    course = schedules.Course(config)
    line = {round(point.epoch, 6): point for point in course.line()}
    last = max(line)
    for epoch, rate, batch in JOINTS[row]:
        point = line.get(float(epoch)) or (line[last] if epoch == 90 else course.at(config.updates_at(epoch)))
        assert point.batch == batch
        assert rate is None or epoch == 90 or point.rate == pytest.approx(rate, rel=1e-3)


def test_joints_are_where_the_papers_schedules_change(facts):
    found = {one["recipe"]: [p["epoch"] for p in one["joints"][:-1]] for one in facts["rows"]}
    assert found["goyal_b8192_g256"] == found["smith_b8192_g256"] == [0, 5, 30, 60, 80]
    assert found["akiba_b32768_g1024"] == [0, 40, 70, 85]
    assert found["jia_b65536_g2048"] == found["ying_b65536_g2048"] == [0, 33]
    assert found["mikami_b34560_g3456"] == [0, 29, 30]
    assert found["headline_b81920_g2048"][:2] == [0, 36]
    batches = {one["recipe"]: sorted({p["batch"] for p in one["joints"]}) for one in facts["rows"]}
    assert batches["smith_b8192_g256"] == [8192, 16384] and batches["mikami_b34560_g3456"] == [34560, 55296]


def test_what_is_drawn_is_the_schedule_and_says_what_it_is():
    config = OF_RECIPE["smith_b8192_g256"]
    figure, ax = plt.subplots()
    schedules.panel(ax, "Smith et al.", config)
    drawn = {round(x, 6): y for x, y in zip(*ax.lines[0].get_data())}
    assert drawn[30.0] == pytest.approx(0.64) and drawn[80.0] == pytest.approx(0.0064)
    (text,) = [one.get_text() for one in ax.texts]
    assert text == "momentum SGD\n8,192 images, 16,384 from epoch 30\nvalues: recalled, derived"
    plt.close(figure)


def test_the_page_has_a_row_per_joint_and_refuses_those_of_other_recipes(facts):
    (table,) = schedules.section(SimpleNamespace(), facts).tables
    assert len(table.rows) == 1 + sum(len(one["joints"]) for one in facts["rows"])
    changed = json.loads(output.to_json(facts))
    changed["rows"][1]["joints"][1]["rate"] = 3.1
    with pytest.raises(ValueError, match="not of the recipes that are here now"):
        schedules.section(SimpleNamespace(), changed)
