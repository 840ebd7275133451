"""The report page as a file: well-formed, accessible, escaped, without a network, and no number without a source."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from jinja2 import UndefinedError

from reproduce.artefact import named
from reproduce.artefacts import ARTEFACTS
from reproduce.errors import UserError
from reproduce.judge.verdict import Verdict
from reproduce.kinds import KINDS
from reproduce.page import build as page
from reproduce.page import figures as page_figures
from reproduce.page import picture
from reproduce.page import recipe as page_recipe
from reproduce.page.evidence import Given, StoredCurve
from reproduce.page.view import Anchor, Code, Gap, Judgement, Link, Number, Strong, Table
from reproduce.recipe import load as configs
from reproduce.recipe.runs import PAPER_SWEEP
from reproduce.report.page import SECTIONS
from reproduce.results import measured
from reproduce.results import runs as page_runs
from tests.helpers import ROOT
from tests.helpers.logs import write_log
from tests.helpers.page_dom import tree, unsourced

PUBLISHED = ROOT / "figures" / "measured" / "quick"
HEADLINE = "quick/headline_b800_w20"
HOSTILE = "<script>alert('x')</script>\"'&<b>"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The page of the published quick logs, in a folder of its own."""
    out = tmp_path_factory.mktemp("page")
    assert page.main(["--results", str(PUBLISHED), "--out", str(out)], ARTEFACTS, SECTIONS) == 0
    return out / "index.html"


@pytest.fixture(scope="module")
def root(published):
    return tree(published.read_text(encoding="utf-8"))


@pytest.fixture
def copied(tmp_path):
    """A results folder with what is published of tier quick, to be spoilt."""
    return Path(shutil.copytree(PUBLISHED, tmp_path / "results"))


def given(results, tier="quick", out=None, sections=SECTIONS):
    return Given(tier, results, out or results, ARTEFACTS, sections)


def built(results, tier="quick", **more):
    return tree(page.build(given(results, tier), **more))


def figure(results, name):
    """The section of one figure alone."""
    piece = named(ARTEFACTS, name)
    shown = page_figures.figure_section(piece, page_figures.figure_data(given(results), piece))
    template = page.templates().get_template(shown.file)
    return tree(template.render(data=shown.data, name=name))


def kinds(node):
    return {one.attributes["data-kind"] for one in node.all() if one.attributes.get("data-source")}


# ---- numbers --------------------------------------------------------------------------------------------------------


def test_every_number_has_a_kind_and_a_source(root):
    assert unsourced(root) == []
    assert kinds(root) == set(KINDS)


@pytest.mark.parametrize("tier", ["node", "paper"])
def test_every_number_of_the_other_tiers_too(tier, tmp_path):
    devices = 2048 if tier == "paper" else 8
    for run in PAPER_SWEEP:
        write_log(tmp_path, run, seed=1, top1=0.7508, seconds=74.7, devices=devices)
    found = built(tmp_path, tier)
    assert unsourced(found) == []
    word = next(one for one in found.all("strong") if one.attributes.get("data-verdict") == "reproduced")
    assert "±" in word.parent.text


def test_reasons_of_holes_are_no_measured_numbers(copied):
    log = copied / "logs" / "baseline_b128_w2" / "result_1.txt"
    log.write_text(log.read_text()[:20000])
    for other in log.parent.glob("result_[2-9].txt"):
        other.unlink()
    write_log(copied, HEADLINE, seed=99, hardware="another machine")
    found = built(copied)
    assert unsourced(found) == []
    rows = [[cell.text for cell in tr.children] for tr in found.named("table1-table").parent.all("tr")]
    assert rows[-2][4] == "missing (timed on 2 kinds of hardware)"
    assert rows[-1][5].startswith("missing (incomplete log: ends at ") and rows[-1][7] == "none"
    gaps = [one for one in found.named("table1-table").parent.all() if one.attributes.get("class") == "gap"]
    assert len(gaps) == 3 and not any(one.attributes.get("data-kind") == "measured" for one in gaps)


def test_the_rule_sees_a_bare_number():
    assert unsourced(tree("<p>took <b>74.7</b> s on ResNet-50, see Table 1 and Figures 1 to 3</p>")) == ["74.7"]
    assert unsourced(tree('<td data-kind="measured">5</td>')) == ["5"]
    assert unsourced(tree('<td data-kind="guessed" data-source="x">5</td>')) == ["5"]
    assert unsourced(tree('<td data-kind="paper" data-source="x">5</td>')) == []


def test_a_number_without_kind_or_source_cannot_be_made():
    for kind, source in (("guessed", "x"), ("paper", "")):
        with pytest.raises(ValueError, match="needs a kind and a source"):
            Number("1", kind, source)


def test_the_numbers_are_those_of_the_logs(root):
    m = measured.collect(PUBLISHED, HEADLINE)
    table = root.named("ours-0-table").parent
    *_, last = table.all("tr")
    texts = [cell.text for cell in last.children]
    accuracies = [f"{100 * log.accuracies[-1].top1:.2f}" for log in m.logs]
    assert texts == ["90", f"{sum(log.accuracies[-1].seconds for log in m.logs) / m.n:,.1f}", f"{m.top1.mean:.2f}",
                     *accuracies]  # fmt: skip
    sources = [next(cell.all("span")).attributes["data-source"] for cell in last.children[3:]]
    assert sources == [f"logs/headline_b800_w20/result_{log.seed}.txt" for log in m.logs]
    row = next(tr for tr in root.named("table1-table").parent.all("tr") if "headline recipe" in tr.text)
    assert f"{m.top1.mean:.2f} % ± {m.top1.sd:.2f} sd" in row.text and "(emulated)" in row.text


def test_claims_show_paper_and_measured_apart_with_verdicts_and_links_to_runs(root):
    claims = root.named("claims")
    assert kinds(claims) == {"paper", "measured", "public", "setting"}
    assert [f"C{i}" in claims.text for i in range(1, 7)] == [True] * 6
    words = [one.attributes["data-verdict"] for one in claims.all("strong")]
    assert words.count("missing") == 3 and words.count("not comparable") == 3
    assert "#run-headline_b800_w20" in [one.attributes["href"] for one in claims.all("a")]


def test_every_hyper_parameter_is_there_with_its_source(root):
    config = configs.load(ROOT / "paper_configs" / f"{HEADLINE}.toml")
    rows = [[cell.text for cell in tr.children] for tr in root.named("recipe-table").parent.all("tr")][1:]
    assert [row[0] for row in rows] == list(page_recipe.values(config))
    stated = {row[0]: row[2:] for row in rows if row[2] != "default"}
    assert stated == {name: [one.kind, one.ref] for name, one in config.sources.items()}
    assert dict((row[0], row[1]) for row in rows)["schedule.peak_lr"] == "4"


def test_every_deviation_of_the_document_is_there(root):
    known = re.findall(r"^- \*\*(D\d+) ", (ROOT / "REPRODUCE.md").read_text(encoding="utf-8"), re.M)
    shown = [li.text.split()[0] for li in root.named("deviations").all("li")]
    assert shown == known and len(known) >= 8
    assert "`" not in root.named("deviations").text and "**" not in root.named("deviations").text


def test_a_lost_section_of_deviations_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "REPRODUCE.md").write_text("# nothing here\n")
    monkeypatch.setattr(page_recipe, "DOCUMENT", tmp_path / "REPRODUCE.md")
    with pytest.raises(UserError, match="has no items under '## Deviations from the paper'"):
        page_recipe.deviations()


def test_logs_are_linked_and_environments_named(root, published):
    runs, held = root.named("environment"), root.named("stored")
    targets = [published.parent / unquote(one.attributes["href"]) for one in [*runs.all("a"), *held.all("a")]]
    assert {t.resolve() for t in targets} >= set(PUBLISHED.glob("logs/*/result_*.txt"))
    every = [one.attributes["href"] for one in root.all("a") if not one.attributes["href"].startswith("#")]
    assert all((published.parent / unquote(href)).is_file() and not href.startswith("/") for href in every)
    about = measured.collect(PUBLISHED, HEADLINE).logs[0].environment
    assert about["revision"] in runs.text and about["hardware"] in runs.text


def test_the_published_page_has_no_holes(root):
    """Its renderings are those of the published logs; else they were not made anew."""
    assert [one.text for one in root.all("p") if one.attributes.get("class") == "hole"] == []


def test_stored_curves_show_what_they_are_given(tmp_path):
    (tmp_path / "logs").mkdir()
    assert "python -m reproduce.report.check" in built(tmp_path).named("stored").text
    outside = Verdict("outside", "epoch 46: 70.1 % is below the band, 80.2 to 84.4 %")
    found = built(tmp_path, stored=[StoredCurve(HEADLINE, tmp_path / "log", outside, "5 seeds, CPU")]).named("stored")
    assert "outside: " in found.text and "epoch 46: 70.1 %" in found.text and "5 seeds, CPU" in found.text
    assert unsourced(found) == [] and "reproduce.report.check" not in found.text


def test_an_artefact_without_a_section_is_an_error_not_a_figure_that_vanishes(tmp_path):
    (tmp_path / "logs").mkdir()
    assert set(SECTIONS) == {one.name for one in ARTEFACTS} - {"table1"}
    known = {name: made for name, made in SECTIONS.items() if name != "groups"}
    with pytest.raises(UserError, match="reproduce/groups.py: has no section on the page"):
        page.build(given(tmp_path, sections=known))


# ---- the answer -----------------------------------------------------------------------------------------------------


def test_the_page_leads_with_three_lines_and_one_picture(root):
    first, second, *_ = [one for one in root.named("main").children if getattr(one, "tag", "") == "section"]
    assert [first.attributes["id"], second.attributes["id"]] == ["answer", "claims"]
    runs, optimizers, claims = (line.text for line in first.all("li"))
    assert len(list(first.all("svg"))) == 1 and not list(root.named("figure3").all("svg"))
    logs = sum(m.n for m in page_runs.collect(PUBLISHED, "quick", ARTEFACTS))
    words = [one.verdict.word for one in page.stored_curves(PUBLISHED)]
    inside, outside = words.count("reproduced"), words.count("outside")
    assert inside > 10 * outside  # each is an honest run: at most one in twenty may fail, give or take
    line = f"Runs complete: 10 of 10, with {logs} seeds in all; {inside} of {inside + outside} seeds compared "
    assert runs.startswith(line)
    assert claims == "Claims of the paper: none reproduced, none outside, 3 missing, 3 not comparable."
    lars, sgd = (measured.collect(PUBLISHED, f"quick/panel_{one}_b1600_w40").top1_by_seed for one in ("lars", "sgd"))
    pairs = [lars[seed] - sgd[seed] for seed in lars.keys() & sgd.keys()]
    assert f"1,600: {sum(pairs) / len(pairs):+.2f} (" in optimizers and f"n = {len(pairs)})" in optimizers


def test_an_answer_without_runs_says_what_is_missing(tmp_path):
    (tmp_path / "logs").mkdir()
    quick, node = (built(tmp_path, tier).named("answer") for tier in ("quick", "node"))
    assert "missing: none of 10" in quick.text and "missing at 800" in quick.text and not list(quick.all("svg"))
    assert "missing: tier node has no runs with momentum SGD" in node.text
    assert unsourced(quick) == unsourced(node) == []


# ---- holes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", ["quick", "node", "paper"])
def test_nothing_measured_is_holes_with_commands_and_no_number(tier, tmp_path):
    (tmp_path / "logs").mkdir()
    found = built(tmp_path, tier)
    assert "measured" not in kinds(found)
    assert ("modelled" in kinds(found)) == (tier == "quick"), "Table 1 models its rows, whatever was measured"
    for piece in ARTEFACTS:
        if tier in piece.runs and piece.name != "table1":
            hole = found.named(piece.name)
            assert "missing" in hole.text and f"python {piece.script} --tier {tier}" in hole.text
    assert ("reproduce.bench comm" in found.text) == (tier == "quick")


def test_a_figure_of_other_logs_is_a_hole(copied):
    assert list(figure(copied, "curve").all("svg"))
    write_log(copied, HEADLINE, seed=99)
    found = figure(copied, "curve")
    assert "curve.json is not of the logs of quick/headline_b800_w20 that are here now" in found.text
    assert not list(found.all("svg"))
    assert list(figure(copied, "groups").all("svg"))  # drawn from no log


def test_a_figure_of_the_same_seed_run_again_is_a_hole(copied):
    write_log(copied, HEADLINE, seed=1)
    assert "not of the logs of quick/headline_b800_w20 that" in figure(copied, "curve").text
    facts = json.loads((copied / "figure3.json").read_text())
    shown = given(copied)
    panel = [(source, point) for source, point in page_figures.ends(facts) if "panel" in source["run"]]
    assert len(panel) == 8 and all(page_figures.current(shown, source, point) for source, point in panel)
    write_log(copied, "quick/panel_lars_b800_w20", seed=1)
    stale = [source["run"] for source, point in panel if not page_figures.current(shown, source, point)]
    assert stale == ["quick/panel_lars_b800_w20"]


def test_a_figure_of_another_benchmark_is_a_hole(copied):
    path = copied / "bench" / "comm.json"
    path.write_text(path.read_text().replace('"groups": 5', '"groups": 6', 1))
    assert "not of the benchmark comm that is here now" in figure(copied, "groups").text
    path.unlink()
    hole = figure(copied, "groups").text
    assert "not of the benchmark comm" in hole and "python -m reproduce.bench comm --out " in hole


def test_a_figure_of_another_tier_or_broken_is_a_hole(copied):
    half = '{"tier": "quick", "series": [{"kind": 1, "points": []}]}'
    nobodys = '{"tier": "quick", "series": [{"sources": [{"run": "quick/none", "logs": []}], "points": [{}]}]}'
    for text, why in (('{"tier": "node"}', "is of tier node"), ("{", "not readable"), ("[]", "not readable"),
                      (half, "not as reproduce/curve.py writes it"), (nobodys, "not readable")):  # fmt: skip
        (copied / "curve.json").write_text(text)
        hole = figure(copied, "curve")
        assert why in hole.text and "python reproduce/curve.py --tier quick" in hole.text
        assert unsourced(hole) == []


def test_a_lost_picture_is_a_hole(copied):
    path = copied / "groups.svg"
    for content in ("<svg", "<html></html>"):
        path.write_text(content)
        assert "groups.svg is not readable: groups.svg: not " in figure(copied, "groups").text
    path.unlink()
    assert "groups.svg is not readable: No such file" in figure(copied, "groups").text


def test_published_models_stand_in_for_no_other_results(copied, root):
    assert list(root.named("figure1").all("svg")) and not list(figure(copied, "figure1").all("svg"))


def test_a_missing_folder_is_one_line(tmp_path, capsys):
    assert page.main(["--results", str(tmp_path / "nowhere")], ARTEFACTS, SECTIONS) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "run_all.sh --tier quick" in error


# ---- text stays text ------------------------------------------------------------------------------------------------


def test_what_files_hold_stays_text(copied):
    log = measured.collect(copied, HEADLINE).logs[0]
    log.path.write_text(log.path.read_text().replace(json.dumps(log.environment["hardware"]), json.dumps(HOSTILE)))
    path = copied / "curve.json"
    facts = json.loads(path.read_text())
    for one in facts["series"]:
        one["label"] = HOSTILE
    facts["title"] += HOSTILE
    path.write_text(json.dumps(facts))
    stored = [StoredCurve(HOSTILE, copied / HOSTILE, Verdict("missing", HOSTILE), HOSTILE)]
    found = built(copied, stored=stored)
    assert [one.parent.tag for one in found.all("script")] == ["body"] and not list(found.all("b"))
    assert all(HOSTILE in found.named(name).text for name in ("environment", "stored", "curve"))


def test_templates_escape_text_in_every_place(tmp_path):
    twice = [shape(HOSTILE, HOSTILE) for shape in (Gap, Anchor, Judgement)]
    cells = [Number(HOSTILE, "paper", HOSTILE), Link(HOSTILE, HOSTILE, "paper", HOSTILE), Code(HOSTILE),
             Strong(HOSTILE), HOSTILE, *twice]  # fmt: skip
    table = page.templates().get_template("macros.html").module.table(Table("x", HOSTILE, cells, [cells]))
    back = tree(table)
    assert not list(back.all("script", "b")) and len(list(back.all("th"))) == len(cells) + 1
    assert all(HOSTILE in cell.text for cell in back.all("th", "td"))
    assert {one.attributes["title"] for one in back.all() if "title" in one.attributes} == {f"paper: {HOSTILE}"}


def test_a_misspelt_name_in_a_template_is_an_error():
    with pytest.raises(UndefinedError):
        page.templates().from_string("{{ one.tile }}").render(one=Code("x"))


def test_a_picture_brings_only_shapes(tmp_path):
    (tmp_path / "drawn.svg").write_text(
        """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt" onload="x()">
        <style>* { color: red }</style><script>x()</script><image href="http://x"/><foreignObject><p/></foreignObject>
        <defs><path id="mark" d="M 0 0"/></defs><g clip-path="url(#clip)" onclick="x()"
        style="fill: #ff0000; color: red"><use xlink:href="#mark" x="1" y="2"/><use xlink:href="http://x/#mark"/><rect fill="url(http://x)"/></g>
        <g class="values" data-kind="measured"><circle cx="1" cy="2" r="6"><title>a &lt;b> 5</title></circle></g>
        </svg>"""
    )
    found = tree(picture.read(tmp_path / "drawn.svg", "A & B"))
    (svg,) = found.children
    assert [one.tag for one in svg.all()] == ["defs", "path", "g", "use", "use", "rect", "g", "circle", "title"]
    assert svg.attributes["aria-label"].startswith("A & B. ") and not {"onload", "width"} & set(svg.attributes)
    path, group, use, away, rect, values, _, title = list(svg.all())[1:]
    assert path.attributes["id"] == "drawn-mark" and use.attributes["href"] == "#drawn-mark"
    assert group.attributes == {"clip-path": "url(#drawn-clip)", "fill": "#ff0000"}
    assert away.attributes == {} and rect.attributes == {} and title.text == "a <b> 5"
    assert unsourced(found) == [] and values.attributes["data-source"] == "drawn.json"


def test_a_pipe_is_no_picture(tmp_path):
    os.mkfifo(tmp_path / "drawn.svg")
    with pytest.raises(OSError, match="no regular file"):
        picture.read(tmp_path / "drawn.svg", "A")


# ---- a good page ----------------------------------------------------------------------------------------------------


def test_it_loads_nothing_and_lets_nothing_else_act(published, root):
    for node in root.all():
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            value = node.attributes.get(name) or ""
            assert not re.match(r"(?i)\s*(https?:|//|javascript:|file:)", value), value
        assert not [name for name in node.attributes if name == "style" or name.startswith("on")]
    assert not list(root.all("img")) and len(list(root.all("svg"))) == len(ARTEFACTS) - 1  # Table 1 is a table
    text = published.read_text(encoding="utf-8")
    assert "@import" not in text and set(re.findall(r"url\(.", text)) == {"url(#"}
    assert "http:" not in text.replace("http-equiv", "")
    policy, = (one.attributes["content"] for one in root.all("meta") if "http-equiv" in one.attributes)
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    assert len([*root.all("script"), *root.all("style")]) == 2 and not list(root.all("link"))


def test_structure_for_readers_of_all_kinds(root):
    assert next(root.all("html")).attributes["lang"] == "en" and next(root.all("title")).text
    assert [len(list(root.all(tag))) for tag in ("header", "nav", "main", "footer", "h1")] == [1] * 5
    levels = [int(one.tag[1]) for one in root.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and all(after - before <= 1 for before, after in pairwise(levels))
    names = [one.attributes["id"] for one in root.all() if "id" in one.attributes]
    assert len(names) == len(set(names))
    inside = [one.attributes["href"][1:] for one in root.all("a") if one.attributes["href"].startswith("#")]
    described = [one.attributes["aria-labelledby"] for one in root.all() if "aria-labelledby" in one.attributes]
    assert set(inside + described) <= set(names) and "main" in inside
    body = next(root.all("body"))
    first = next(one for one in body.children if not isinstance(one, str))
    assert first.attributes == {"href": "#main", "class": "skip"}
    for one in root.all("img"):
        assert len(one.attributes["alt"]) > 20
    for one in root.all("svg"):
        assert one.attributes.get("aria-hidden") == "true" or one.attributes["role"] == "img"


def test_tables_have_captions_and_headers_and_a_box_that_scrolls(root):
    tables = list(root.all("table"))
    assert len(tables) > 12
    for one in tables:
        assert next(one.all("caption")).text
        assert all(th.attributes.get("scope") in ("col", "row") for th in one.all("th"))
        widths = {len(tr.children) for tr in one.all("tr")}
        assert len(widths) == 1 and all(tr.children[0].tag == "th" for tr in one.all("tr"))
        assert one.parent.attributes["class"] == "scroll" and one.parent.attributes["tabindex"] == "0"


CSS = (ROOT / "reproduce" / "page" / "page.css").read_text(encoding="utf-8")
TEXT = ("ink", "quiet", "link", "measured", "second", "third", "modelled", "public", "known", "good", "bad", "unsure")


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_enough_in_light_dark_and_print():
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.S)
    light, dark, printed = (dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block)) for block in blocks)
    for colours in (light, light | dark, light | printed):
        for name in TEXT:
            for ground in ("paper", "tint"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground, colours[name])
        assert contrast(colours["focus"], colours["paper"]) >= 3
    rules = re.sub(r":root \{.*?\}", "", CSS, flags=re.S)
    assert set(re.findall(r"#[0-9a-f]{3,8}\b", rules)) == {"#ffffff"}  # the ground of pictures; all else is a variable
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_styles_answer_to_preferences_print_and_keyboard():
    for need in ("prefers-color-scheme: dark", "prefers-reduced-motion", "@media print", ":focus-visible"):
        assert need in CSS
    moving = re.sub(r"@media \(prefers-reduced-motion: no-preference\) \{.*\}", "", CSS)
    assert not re.search(r"animation|transition|scroll-behavior", moving)


# ---- the command ----------------------------------------------------------------------------------------------------


def test_the_same_files_give_the_same_bytes(published):
    before = published.read_bytes()
    assert page.main(["--results", str(PUBLISHED), "--out", str(published.parent)], ARTEFACTS, SECTIONS) == 0
    assert published.read_bytes() == before


def test_needs_neither_torch_nor_a_drawing_library(tmp_path):
    for name in ("torch", "matplotlib"):
        (tmp_path / "stub" / name).mkdir(parents=True)
        (tmp_path / "stub" / name / "__init__.py").write_text("raise ImportError('must not be needed')\n")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path / 'stub'}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "reproduce.report.page", "--tier", "quick", "--results", PUBLISHED, "--out", "made"],
        cwd=tmp_path, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made" / "index.html").stat().st_size > 100_000
    assert done.stdout == "wrote made/index.html\n"


def test_folders_with_odd_names_are_linked(tmp_path):
    results = tmp_path / "a b#c%d"
    log = write_log(results, HEADLINE)
    href = next(one.attributes["href"] for one in built(results).named("environment").all("a"))
    assert unquote(href) == log.relative_to(results).as_posix()
    apart = tree(page.build(given(results, out=tmp_path / "out")))
    href = next(one.attributes["href"] for one in apart.named("environment").all("a"))
    assert (tmp_path / "out" / unquote(href)).resolve() == log.resolve() and "#" not in href


def test_places_of_figures_are_the_results_folder_alone(tmp_path):
    assert all(page_figures.places(given(tmp_path), piece) == [tmp_path] for piece in ARTEFACTS)
