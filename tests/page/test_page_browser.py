"""The report page in a real browser: from disk, at desk and phone width, by pointer, by keys and without script.

The pictures it takes lie in pytest's folder for temporary files (``--basetemp`` names it).
"""

import math

import pytest

from reproduce.artefacts import ARTEFACTS
from reproduce.page import build as page
from reproduce.report.page import SECTIONS
from tests.helpers import ROOT
from tests.helpers.browser import Browser
from tests.helpers.needs import need_program
from tests.helpers.page_dom import NUMBER, tree, unsourced

PUBLISHED = ROOT / "figures" / "measured" / "quick"
pytestmark = [pytest.mark.system, need_program("chromium")]
TROUBLE = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
OPEN_ALL = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
# right edges beyond the window, of everything that is not in a box that scrolls
BEYOND = """[...document.querySelectorAll('body *')].filter((one) => !one.closest('.scroll, .skip, svg')
    && one.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map((one) => one.outerHTML)"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page of the published quick logs, and where pictures of it go."""
    made = tmp_path_factory.mktemp("page")
    assert page.main(["--results", str(PUBLISHED), "--out", str(made)], ARTEFACTS, SECTIONS) == 0
    return made


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    one = Browser(tmp_path_factory.mktemp("profile"))
    yield one
    one.close()


def url(folder):
    return (folder / "index.html").as_uri()


@pytest.mark.parametrize(("name", "width", "height"), [("desktop", 1280, 900), ("phone", 360, 740)])
def test_opens_from_disk_without_errors_requests_or_overflow(browser, folder, name, width, height):
    browser.open(url(folder), width, height)
    browser.eval(OPEN_ALL)
    browser.screenshot(folder / f"{name}.png")
    assert (folder / f"{name}.png").stat().st_size > 50_000
    assert browser.of(*TROUBLE) == []
    asked = {event["request"]["url"] for event in browser.of("Network.requestWillBeSent")}
    assert asked == {url(folder)}
    assert browser.eval("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert browser.eval(BEYOND) == []
    widths = browser.eval("[...document.querySelectorAll('.chart svg')].map((one) => one.clientWidth)")
    assert len(widths) == len(ARTEFACTS) - 1 and min(widths) > 300, "each has its picture, but for the table"


def test_the_claims_are_whole_on_a_phone(browser, folder):
    """Every cell is inside the window, with the name of its column, which the first row names where it is wide."""
    browser.open(url(folder), 390, 844)
    cells = "[...document.querySelectorAll('#claims tbody tr > *')]"
    assert browser.eval(f"{cells}.every((one) => one.getBoundingClientRect().right <= 390)")
    names = browser.eval(f"{cells}.map((one) => getComputedStyle(one, '::before').content)")
    assert len(names) == 6 * 7 and names[1:7] == names[8:14] and '"verdict"' in names
    browser.open(url(folder), 1200, 900)
    names = browser.eval(f"{cells}.map((one) => getComputedStyle(one, '::before').content)")
    assert '"verdict"' not in names


def test_the_policy_stops_script_style_and_requests_of_others(browser, folder):
    foreign = "<script>document.title = 'taken'</script><img src='http://127.0.0.1:9/x.png'></body>"
    spoilt = (folder / "index.html").read_text(encoding="utf-8").replace("</body>", foreign)
    (folder / "spoilt.html").write_text(spoilt, encoding="utf-8")
    browser.open((folder / "spoilt.html").as_uri())
    assert browser.eval("document.title").startswith("Reproduction report")
    assert len(browser.of("Log.entryAdded")) == 2  # so the first test would have seen trouble, too


def readout(browser):
    kept = "(({ textContent, dataset }) => [textContent, dataset.kind, dataset.source])"
    return browser.eval(f"{kept}(document.querySelector('.readout'))")


def points(browser):
    """The first chart's points: where they are in the window, and what they say."""
    browser.eval("document.querySelector('.plot').scrollIntoView({ behavior: 'instant' })")
    place = "(({ left, top, width, height }) => [left + width / 2, top + height / 2])"
    return browser.eval(
        f"[...document.querySelector('.chart').querySelectorAll('.values circle')].map((one) => "
        f"[...{place}(one.getBoundingClientRect()), one.textContent])"
    )


def test_pointing_at_a_curve_shows_its_value_with_kind_and_source(browser, folder):
    browser.open(url(folder))
    hint, *nothing = readout(browser)
    assert nothing == [None, None] and not NUMBER.search(hint)
    seen, known = set(), points(browser)
    apart = [one for one in known if all(one is other or math.dist(one[:2], other[:2]) > 8 for other in known)]
    for x, y, text in apart:  # the others are nearer to each other than a pointer can tell
        browser.point(x + 2, y - 2)
        shown, kind, source = readout(browser)
        assert shown == f"{kind}: {text}" and source == "figure3.json"
        seen.add(kind)
    assert seen == {"paper", "public", "measured"}
    assert unsourced(tree(browser.eval("document.querySelector('.plot').outerHTML"))) == []


def test_keys_reach_every_value(browser, folder):
    browser.open(url(folder))
    lines = browser.eval("[...document.querySelector('.chart').querySelectorAll('.values')].map("
                         "(one) => [...one.querySelectorAll('title')].map((title) => title.textContent))")  # fmt: skip
    *_, known = [line for line in lines if line]
    assert len(known) == 4
    browser.eval("document.querySelector('.chart').focus()")
    browser.press("ArrowRight")
    browser.press("ArrowUp")  # from the first line to the last
    browser.press("Home")
    seen = [readout(browser)[0].removeprefix("measured: ")]
    for _ in known[1:]:
        browser.press("ArrowRight")
        seen.append(readout(browser)[0].removeprefix("measured: "))
    assert seen == known
    browser.press("ArrowRight")
    assert readout(browser)[0].endswith(known[-1])  # it stops at the end
    browser.press("ArrowLeft")
    assert readout(browser)[0].endswith(known[-2])
    browser.press("Escape")
    assert readout(browser)[1] is None


def test_tab_finds_the_way_past_the_contents_and_to_the_charts(browser, folder):
    browser.open(url(folder))
    browser.press("Tab")
    assert browser.eval("document.activeElement.className") == "skip"
    assert browser.eval("document.activeElement.getBoundingClientRect().left >= 0")
    assert browser.eval("parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2")
    stops = set()
    for _ in range(80):
        browser.press("Tab")
        stops.add(browser.eval("document.activeElement.className || document.activeElement.tagName"))
    assert {"scroll", "scroll chart", "SUMMARY", "A"} <= stops


def test_every_number_is_marked_in_the_page_as_shown(browser, folder):
    browser.open(url(folder))
    browser.eval(OPEN_ALL)
    assert unsourced(tree(browser.eval("document.body.outerHTML"))) == []
    marks = browser.eval(
        "[...document.querySelectorAll('.n[data-kind]')].map((one) => "
        "[one.dataset.kind, getComputedStyle(one, '::before').content])"
    )
    assert len(marks) > 500
    by_kind = {kind: {mark for other, mark in marks if other == kind} for kind, _ in marks}
    assert all(len(found) == 1 and f"{kind}:" in "".join(found) for kind, found in by_kind.items())
    assert len({"".join(found) for found in by_kind.values()}) == len(by_kind) == 5


def test_without_script_the_values_are_in_tables(browser, folder):
    browser.open(url(folder), script=False)
    browser.eval("0")
    answer = browser.call("DOM.getDocument", depth=1)["root"]["nodeId"]
    node = browser.call("DOM.querySelector", nodeId=answer, selector="#ours-0-table")["nodeId"]
    caption = browser.call("DOM.getOuterHTML", nodeId=node)["outerHTML"]
    assert "headline_b800_w20" in caption
    summary = browser.call("DOM.querySelector", nodeId=answer, selector="#curve details > summary")["nodeId"]
    x, y = middle(browser, summary)
    for kind in ("mousePressed", "mouseReleased"):
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    assert browser.call("DOM.getBoxModel", nodeId=node)["model"]["height"] > 0  # raises while it is folded


def middle(browser, node):
    browser.call("DOM.scrollIntoViewIfNeeded", nodeId=node)
    corners = browser.call("DOM.getBoxModel", nodeId=node)["model"]["content"]
    return sum(corners[::2]) / 4, sum(corners[1::2]) / 4


def test_follows_a_wish_for_dark_and_prints_without_cuts(browser, folder):
    ground = "getComputedStyle(document.body).backgroundColor"
    browser.open(url(folder))
    light = browser.eval(ground)
    browser.open(url(folder), media=[("prefers-color-scheme", "dark")])
    assert browser.eval(ground) != light
    browser.open(url(folder), width=703)  # A4 less its margins
    browser.eval(OPEN_ALL)
    browser.call("Emulation.setEmulatedMedia", media="print")
    wide = "[...document.querySelectorAll('table, svg, img')].filter((one) => one.getBoundingClientRect().right > 704)"
    assert browser.eval(f"{wide}.map((one) => one.textContent.slice(0, 60))") == []
    assert browser.eval("getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.print(folder / "page.pdf")
    assert (folder / "page.pdf").read_bytes().startswith(b"%PDF")
