"""Figures as SVG: every point of a series says its value, where it is drawn; nothing of the day or machine is in it."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from reproduce.figures import plot, svg
from tests.helpers import ROOT

NS = {"svg": "http://www.w3.org/2000/svg"}


@pytest.fixture
def axes():
    figure, ax = plot.plt.subplots(figsize=(6, 4))
    yield ax
    plot.plt.close(figure)


def groups(ax):
    root = ET.fromstring(svg.render(ax.figure))
    return root.findall("svg:g[@class='values']", NS)


def titles(group):
    return [title.text for title in group.iterfind("svg:circle/svg:title", NS)]


def test_points_say_name_value_and_unit_and_the_group_says_the_kind(axes):
    axes.plot([480, 1280], [91.25, float("nan")], label="LARS <b>: measured, n = 5", **plot.look("measured", plot.BLUE))
    axes.plot([480], [90], label="not a series")
    axes.set(xlabel="mini-batch, images", ylabel="top-1 accuracy, %")
    (group,) = groups(axes)
    assert group.get("data-kind") == "measured"
    assert titles(group) == ["LARS <b>: mini-batch 480 images; top-1 accuracy 91.25 %"]


def test_circles_are_where_the_markers_are(axes):
    axes.plot([1, 2, 3], [1, 4, 2], **plot.look("measured", plot.BLUE))
    text = svg.render(axes.figure).decode()
    drawn = re.findall(r'<use xlink:href="#\w+" x="([\d.]+)" y="([\d.]+)" style="fill: #0072b2', text)
    said = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', text)
    assert len(said) == 3
    for one, other in zip(drawn, said, strict=True):
        assert [float(x) for x in one] == pytest.approx([float(x) for x in other], abs=0.01)


def test_words_at_the_ticks_are_said_and_so_are_labels_that_the_legend_leaves_out(axes):
    axes.plot([-0.13], [36.5], label="_overlapped", **plot.look("measured", plot.BLUE))
    axes.plot([1.1], [40], **plot.look("modelled", plot.BLUE))
    axes.set(ylabel="step, ms", title="two\nlines")
    axes.set_xticks([0, 1], ["cubic:3\nfp16", "equal"])
    assert [titles(one) for one in groups(axes)] == [
        ["overlapped: cubic:3; step 36.50 ms"], ["two lines: equal; step 40 ms"],
    ]  # fmt: skip


def test_no_two_elements_share_the_id_of_a_kind(axes):
    for _ in range(2):
        axes.plot([1, 2], [1, 2], **plot.look("measured", plot.BLUE))
    assert b'id="measured"' not in svg.render(axes.figure)


def test_neither_date_nor_version_is_written(axes):
    axes.plot([1, 2], [1, 2])
    first, second = (svg.render(axes.figure) for _ in range(2))
    assert first == second and b"dc:date" not in first and b"Matplotlib v" not in first


def test_a_name_with_a_dollar_or_a_control_character_is_drawn_letter_by_letter(axes, tmp_path):
    """Each of these would be a formula that does not parse; the powers of ten along an axis are one that does."""
    foreign = "a $\\frac$ b\x1b[2J"
    axes.plot([1, 10, 1000], [1, 2, 3], label=foreign)
    axes.set(xscale="log", title=foreign, xlabel=foreign)
    axes.set_yticks([1, 2], [foreign, "$x^$"])
    axes.annotate(foreign, (1, 1))
    axes.legend()
    axes.figure.suptitle(f"{foreign}\nsecond line")
    axes.figure.legend(loc="outside lower center")
    plot.save(axes.figure, tmp_path, "a", {})
    assert axes.get_title() == "a $\\frac$ b\\x1b[2J" and axes.figure.get_suptitle().count("\n") == 1
    assert "$\\mathdefault{10^{1}}$" in [text.get_text() for text in axes.get_xticklabels()]
    assert all(text.get_parse_math() for text in axes.get_xticklabels())


@pytest.mark.parametrize("there", ["MATPLOTLIBRC", "the current folder"])
@pytest.mark.parametrize("what", ["damaged", "a pipe"])
def test_no_settings_of_the_users_are_read(tmp_path, there, what):
    path = tmp_path / "matplotlibrc"
    path.write_bytes(b"font.family: caf\xe9\n") if what == "damaged" else os.mkfifo(path)
    place = {"MATPLOTLIBRC": str(path)} if there == "MATPLOTLIBRC" else {}
    folder = ROOT if place else tmp_path
    env = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "module://nowhere"} | place
    command = [sys.executable, "-c", "from reproduce.figures import plot; print(plot.plt.get_backend())"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.lower()) == (0, "agg\n"), done.stderr
