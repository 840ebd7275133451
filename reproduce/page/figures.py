"""The sections of the report page for figures: each as its artefact drew it, with its numbers in tables below.

A figure is shown only if its side-car file is of the page's tier and of the logs that are in the results folder now.
Anything else is marked missing, with the command that draws it.
"""

from dataclasses import dataclass
from pathlib import Path

from reproduce import files
from reproduce.artefact import Artefact
from reproduce.errors import UserError
from reproduce.page import picture
from reproduce.page.evidence import Given
from reproduce.page.picture import Picture
from reproduce.page.view import Missing, Section, SectionData, numbered, spaced
from reproduce.paths import FIGURES, PUBLISHED, real
from reproduce.results import measured, steptimes

MODELLED = FIGURES / "modelled"  # where the published Figures 1 and 2 are
UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)


class NoFigure(Exception):
    """Why a figure cannot be shown, in words."""


@dataclass(frozen=True)
class FigureData:
    """A figure's section: picture and numbers, or why they are missing. `at_top`: the page has the picture there."""

    picture: Picture | None = None
    section: SectionData | None = None
    missing: Missing | None = None
    at_top: bool = False


def command(given: Given, piece: Artefact) -> str:
    text = f"python {piece.script} --tier {given.tier} --results {given.folder}"
    file = f"bench/{piece.benchmark}.json"
    if piece.benchmark and not (given.results / file).exists():
        return f"python -m reproduce.bench {piece.benchmark} --out {given.folder}/{file} && {text}"
    return text


def places(given: Given, piece: Artefact) -> list[Path]:
    """The folders an artefact may lie in; what needs no measurement is published beside the models."""
    published = real(given.results).parent == PUBLISHED
    return [given.results, MODELLED] if published and not piece.measured else [given.results]


def side_car(given: Given, piece: Artefact) -> tuple[Path, dict]:
    """The artefact's folder and data. Raises `NoFigure`."""
    folder = next((one for one in places(given, piece) if (one / f"{piece.name}.json").exists()), None)
    if folder is None:
        raise NoFigure("not drawn yet")
    try:
        facts = files.read_json(folder / f"{piece.name}.json")
        if piece.measured and facts["tier"] != given.tier:
            raise NoFigure(f"{piece.name}.json is of tier {facts['tier']}")
        for source, point in ends(facts):
            if not current(given, source, point):
                raise NoFigure(f"{piece.name}.json is not of the logs of {source['run']} that are here now")
        if piece.benchmark and facts.get("rates") != rates(given):
            raise NoFigure(f"{piece.name}.json is not of the benchmark {piece.benchmark} that is here now")
    except (*UNREADABLE, UserError) as error:  # of the user: a run or a benchmark that it names
        raise NoFigure(f"{piece.name}.json is not readable: {error!r}") from None
    return folder, facts


def ends(facts: dict) -> list[tuple[dict, dict]]:
    """Each run of a figure with the point of its final accuracies: the last one of its curve, or its only one."""
    found: list[tuple[dict, dict]] = []
    for one in facts.get("series", ()):
        sources = [source for source in one.get("sources", ()) if "run" in source and "logs" in source]
        points = one.get("points", [])  # a single point, as of Figure 2, has none
        found += zip(sources, points if len(sources) > 1 else points[-1:])
    return found


def current(given: Given, source: dict, point: dict) -> bool:
    """Whether a source of measured numbers is what the results folder holds now, or both are nothing."""
    m = measured.collect(given.results, source["run"])
    known, values = m.provenance(), list(m.top1.values) if m.top1 else []
    nothing = not (known["logs"] or source["logs"])
    same = all(known[key] == source[key] for key in ("config_hash", "logs", "seeds"))
    return nothing or (same and values == point.get("values", []))


def rates(given: Given) -> list[dict] | None:
    """What the benchmark of group rules holds now, as its figure writes it; None if it was not run."""
    result = steptimes.read(given.results)
    return [network.facts() for network in result.networks] if result else None


def figure_data(given: Given, piece: Artefact, at_top: bool = False) -> FigureData:
    """An artefact's picture and numbers. Raises `UserError` if nobody has said what its section shows."""
    section = given.section(piece)
    try:
        folder, facts = side_car(given, piece)
        return FigureData(_picture(given, folder, facts), section(given, facts), at_top=at_top)
    except NoFigure as why:
        return FigureData(missing=Missing(str(why), command(given, piece)))
    except UNREADABLE as error:
        reason = f"{piece.name}.json is not as {piece.script} writes it: {error!r}"
        return FigureData(missing=Missing(reason, command(given, piece)))


def figure_section(piece: Artefact, data: FigureData) -> Section:
    return Section(piece.name, piece.title, data, "figure")


def _picture(given: Given, folder: Path, facts: dict) -> Picture:
    name, (title, *about) = facts["artefact"], facts["title"].splitlines()
    try:
        svg = picture.read(folder / f"{name}.svg", title)
    except (OSError, ValueError) as error:
        raise NoFigure(f"{name}.svg is not readable: {getattr(error, 'strerror', None) or error}") from None
    links = [given.link(folder / f"{name}.{kind}", f"{name}.{kind}") for kind in ("json", "pdf", "png", "svg")]
    return Picture(title, svg, (numbered("; ".join(about), "setting", f"{name}.json"), ". Files: ", spaced(links)))
