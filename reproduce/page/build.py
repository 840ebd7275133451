"""The report page of a tier: what was found, what is claimed, and where every number comes from, in one file.

    python -m reproduce.report.page [--tier quick|node|paper] [--results DIR] [--out DIR]

Writes index.html, which opens from disk, needs no network and keeps its pictures, styles and script inside. Shows what
the artefacts of the tier left in the results folder, so run their scripts first. Needs no torch.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reproduce.artefact import TIERS, Artefact
from reproduce.errors import command, wrote
from reproduce.judge import check, stored
from reproduce.kinds import KINDS
from reproduce.page.answer import LEAD, answer_section
from reproduce.page.evidence import Given, StoredCurve, claims_section, judged, stored_section, table1_section
from reproduce.page.figures import figure_data, figure_section
from reproduce.page.recipe import deviations_section, environment_section, recipe_section
from reproduce.page.view import Section, SectionData
from reproduce.results import output, paper, runs
from reproduce.words import Parser

HERE = Path(__file__).parent
RUNS_ON = {
    "quick": "Fashion-MNIST and a small network, scaled down: not the paper's experiment",
    "node": "ImageNet, all workers emulated on the devices of one node: tests the accuracy, not the time",
    "paper": "ImageNet, a device for every worker",
}


def build(given: Given, stored: Iterable[StoredCurve] = ()) -> str:
    """The whole page. `stored`: how the tier's runs compare with stored curves, one item a run.

    Raises `UserError` if a config, REPRODUCE.md or the folder of the logs cannot be read, or if an artefact has no
    section.
    """
    title, style, script = f"Reproduction report, tier {given.tier}", _asset("page.css"), _asset("page.js")
    return templates().get_template("page.html").render(
        title=title, tier=given.tier, runs_on=runs_on(given), paper=paper.load().about,
        sections=sections(given, tuple(stored)), style=style, script=script, policy=_policy(style, script),
        made_by=f"python -m reproduce.report.page --tier {given.tier} --results {given.folder}",
    )  # fmt: skip


def runs_on(given: Given) -> str:
    """What the tier trains on; of a rehearsal, that it is one."""
    found = [m for m in runs.collect(given.results, given.tier, given.artefacts) if m.is_rehearsal]
    if not found:
        return RUNS_ON[given.tier]
    return (f"a REHEARSAL on {output.data_sets(found)}, with recipes cut short: it shows that every step works, and "
            "no number on this page says anything about the paper's experiment")  # fmt: skip


def sections(given: Given, stored: tuple[StoredCurve, ...]) -> list[Section]:
    """The answer, the claims, then the rest: every artefact of the tier, recipe, deviations, environment."""
    pieces = [one for one in given.artefacts if one.name != "table1" and given.tier in one.runs]
    figures = [(one, figure_data(given, one, at_top=one.name == LEAD)) for one in pieces]
    lead = next(data for one, data in figures if one.name == LEAD)
    found = judged(given)
    return [
        answer_section(given, stored, found, lead), claims_section(given, found),
        Section("kinds", "How to read the numbers", KINDS), table1_section(given),
        *(figure_section(one, data) for one, data in figures),
        stored_section(given, stored), recipe_section(given), deviations_section(given), environment_section(given),
    ]  # fmt: skip


def templates() -> Environment:
    """All text is escaped; a name that a template misspells is an error."""
    return Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True)  # fmt: skip


def _asset(name: str) -> Markup:
    return Markup((HERE / name).read_text(encoding="utf-8"))


def _policy(style: str, script: str) -> str:
    """Nothing is loaded, and only the style and script of this package act, whatever the files shown here hold."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return f"default-src 'none'; style-src {digest(style)}; script-src {digest(script)}"


def stored_curves(results: Path) -> list[StoredCurve]:
    """How every run of a results folder compares with the stored curves of its recipe; none if it has no logs."""
    paths, found = sorted((results / "logs").glob("*/result_*.txt")), []
    for log, outcome, known in check.checked_together(paths, stored.references()):
        held = f"{len(known.runs)} stored runs of {known.name}" if known else "no stored curves"
        found.append(StoredCurve(f"{log.path.parent.name} seed {log.seed}", log.path, outcome.verdict, held))
    return found


@command
def main(argv, artefacts: tuple[Artefact, ...], sections: Mapping[str, Callable[[Given, dict], SectionData]]):
    parser = Parser(prog="python -m reproduce.report.page", description=__doc__.splitlines()[0])
    parser.add_argument("--tier", choices=TIERS, default="quick", help="which tier to show (default: quick)")
    parser.add_argument("--results", type=Path, help="folder that holds logs/ (default: results/TIER)")
    parser.add_argument("--out", type=Path, help="where to write index.html (default: the results folder)")
    args = parser.parse_args(argv)
    results = output.results_folder(args.results, args.tier)
    given = Given(args.tier, results, args.out or results, artefacts, sections)
    wrote(output.write(given.out, "index.html", build(given, stored_curves(results))))
