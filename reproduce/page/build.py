"""The report page of a tier: what is claimed, what holds, and where every number comes from, in one file.

    python -m reproduce.report.page [--tier quick|node|paper] [--results DIR] [--out DIR]

Writes index.html, which opens from disk, needs no network and keeps its pictures, styles and script inside. Draws what
the artefacts of the tier left in the results folder, so run their scripts first. Needs no torch.
"""

import argparse
import base64
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

from reproduce.artefact import TIERS, Artefact
from reproduce.errors import command
from reproduce.judge import check, comparator, stored
from reproduce.kinds import KINDS
from reproduce.page import html
from reproduce.page.evidence import Given, StoredCurve, claims_section, stored_section, table1_section
from reproduce.page.figures import figure_section
from reproduce.page.html import Markup, Section, element
from reproduce.page.recipe import deviations_section, environment_section, recipe_section
from reproduce.results import output, paper

HERE = Path(__file__).parent
ORDER = ("curve", "figure1", "figure2", "figure3", "groups")
RUNS_ON = {
    "quick": "Fashion-MNIST and a small network, scaled down: not the paper's experiment",
    "node": "ImageNet, all workers emulated on the devices of one node: tests the accuracy, not the time",
    "paper": "ImageNet, a device for every worker",
}


def build(given: Given, stored: Iterable[StoredCurve] = ()) -> Markup:
    """The whole page. `stored`: what was held against stored curves, one item a run.

    Raises `UserError` if a config, REPRODUCE.md or the folder of the logs cannot be read.
    """
    figures = [name for name in ORDER if any(a.name == name and given.tier in a.runs for a in given.artefacts)]
    sections = [
        claims_section(given), table1_section(given), *(figure_section(given, name) for name in figures),
        stored_section(given, stored), recipe_section(given), deviations_section(given), environment_section(given),
    ]  # fmt: skip
    title, style, script = f"Reproduction report, tier {given.tier}", _asset("page.css"), _asset("page.js")
    body = element(
        "body", element("a", "Skip to the content", href="#main", class_="skip"), _top(given, title),
        _contents(sections),
        element("main", *(one.markup for one in (_legend(), *sections)), id="main", tabindex="-1"), _footer(given),
        element("script", script),
    )  # fmt: skip
    return Markup(f"<!doctype html>\n{element('html', _head(title, style, script), body, lang='en')}\n")


def _head(title: str, style: Markup, script: Markup) -> Markup:
    return element(
        "head", element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title}: ResNet-50 on ImageNet"), element("style", style),
    )  # fmt: skip


def _top(given: Given, title: str) -> Markup:
    known = paper.load().about
    cited = [element("cite", known.title), f", {known.authors}, {known.reference}."]
    return element(
        "header", element("h1", title), element("p", *cited, data_kind="paper", data_source=known.reference),
        element("p", element("strong", f"Tier {given.tier}: "), RUNS_ON[given.tier], "."),
    )  # fmt: skip


def _asset(name: str) -> Markup:
    return Markup((HERE / name).read_text(encoding="utf-8"))


def _policy(style: str, script: str) -> str:
    """Nothing is loaded, and only the style and script of this package act, whatever the files drawn here hold."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return f"default-src 'none'; img-src data:; style-src {digest(style)}; script-src {digest(script)}"


def _contents(sections: list[Section]) -> Markup:
    links = (element("li", html.link(one.title, f"#{one.name}")) for one in sections)
    return element("nav", element("ul", *links), aria_label="Contents")


def _legend() -> Section:
    items = [
        html.join([element("dt", element("span", kind, class_="n", data_kind=kind)), element("dd", about.what)])
        for kind, about in KINDS.items()
    ]  # fmt: skip
    note = (
        "Every number is of one of these kinds, and none stands in for another. Its mark says which; its source "
        "stands in its row or caption, in full where it is pointed at. What was not measured is missing, and stays so."
    )
    return Section("kinds", "How to read the numbers", [element("p", note), element("dl", *items, class_="kinds")])


def _footer(given: Given) -> Markup:
    how = f"python -m reproduce.report.page --tier {given.tier} --results {given.folder}"
    return element("footer", element("p", "Made by ", html.code(how), "."))


def stored_curves(results: Path) -> list[StoredCurve]:
    """Every run of a results folder, held against the stored curves of its recipe; none if it has no logs."""
    references, found = stored.references(), []
    for path in sorted((results / "logs").glob("*/result_*.txt")):
        log, outcome, known = check.checked(path, references, comparator.LEVEL)
        held = f"{len(known.runs)} stored runs of {known.name}" if known else "no stored curves"
        found.append(StoredCurve(f"{path.parent.name} seed {log.seed}", path, outcome.verdict, held))
    return found


@command
def main(argv, artefacts: tuple[Artefact, ...]):
    parser = argparse.ArgumentParser(prog="python -m reproduce.report.page", description=__doc__.splitlines()[0])
    parser.add_argument("--tier", choices=TIERS, default="quick", help="which tier to show (default: quick)")
    parser.add_argument("--results", type=Path, help="folder that holds logs/ (default: results/TIER)")
    parser.add_argument("--out", type=Path, help="where to write index.html (default: the results folder)")
    args = parser.parse_args(argv)
    results = output.results_folder(args.results, args.tier)
    given = Given(args.tier, results, args.out or results, artefacts)
    print(f"wrote {output.write(given.out, 'index.html', build(given, stored_curves(results)))}")


if __name__ == "__main__":
    sys.exit(main())
