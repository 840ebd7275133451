"""The sections of the report page for figures: each as its artefact drew it, with its numbers in a table below.

A figure counts only if its side-car file is of the page's tier and of the logs that lie in the results folder now.
Anything else is a hole that names the command which fills it.
"""

import base64
from collections.abc import Callable
from pathlib import Path

from reproduce import files
from reproduce.artefact import Artefact, named
from reproduce.kinds import RESULTS
from reproduce.page import html
from reproduce.page.evidence import Given, numbered
from reproduce.page.html import Content, Markup, Number, Section, element
from reproduce.page.svg import Curve, Dot, chart
from reproduce.paths import FIGURES, PUBLISHED
from reproduce.results import measured, steptimes

MODELLED = FIGURES / "modelled"  # where the published Figures 1 and 2 lie
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError)


class NoFigure(Exception):
    """Why a figure cannot be shown, in words."""


def command(given: Given, piece: Artefact) -> str:
    text = f"python {piece.script} --tier {given.tier} --results {given.folder}"
    file = f"bench/{piece.benchmark}.json"
    if piece.benchmark and not (given.results / file).exists():
        return f"python -m reproduce.bench {piece.benchmark} --out {given.folder}/{file} && {text}"
    return text


def places(given: Given, piece: Artefact) -> list[Path]:
    """The folders an artefact may lie in; what needs no measurement is published beside the models."""
    published = given.results.resolve().parent == PUBLISHED
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
    except UNREADABLE as error:
        raise NoFigure(f"{piece.name}.json is not readable: {error!r}") from None
    return folder, facts


def ends(facts: dict) -> list[tuple[dict, dict]]:
    """Each run of a figure with the point of its final accuracies: the last one of its curve, or its only one."""
    found = []
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


def figure_section(given: Given, name: str) -> Section:
    """An artefact's section: picture, title and numbers, or a hole."""
    piece = named(given.artefacts, name)
    try:
        folder, facts = side_car(given, piece)
        body = SECTIONS.get(name, _drawn)(given, folder, facts)
    except NoFigure as why:
        body = html.hole(command(given, piece), str(why))
    except UNREADABLE as error:
        body = html.hole(command(given, piece), f"{name}.json is not as {piece.script} writes it: {error!r}")
    return Section(name, piece.title, body)


def _drawn(given: Given, folder: Path, facts: dict) -> Markup:
    """The picture with its caption, and the table of its numbers."""
    name, title = facts["artefact"], facts["title"].splitlines()
    header, rows = TABLES[name](facts)
    try:
        picture = base64.b64encode((folder / f"{name}.png").read_bytes()).decode("ascii")
    except OSError as error:
        raise NoFigure(f"{name}.png is not readable: {error.strerror}") from None
    alt = f"{'; '.join(title)}. Its numbers are in the table below."
    image = element("img", src=f"data:image/png;base64,{picture}", alt=alt)
    about = numbered("; ".join(title[1:]), "setting", f"{name}.json")
    files = [given.link(folder / f"{name}.{kind}", f"{name}.{kind}") for kind in ("json", "pdf", "png")]
    caption = element("figcaption", about, ". Files: ", html.join(x for one in files for x in (one, " ")))
    numbers = html.table(f"Numbers of {title[0]}", header, rows, f"{name}-table")
    box = element("div", image, class_="scroll", tabindex="0", role="region", aria_label=f"Picture: {title[0]}")
    return html.join([element("figure", box, caption), html.details("Numbers of this figure", numbers)])


# ---- curves ---------------------------------------------------------------------------------------------------------


def _curves(given: Given, folder: Path, facts: dict) -> Markup:
    """Our curves and the public ones, on axes of their own unless both are of ImageNet."""
    ours, public = ([one for one in facts["series"] if one["kind"] == kind] for kind in ("measured", "public"))
    about = numbered(facts["title"].splitlines()[-1].removeprefix("panel b: "), "setting", "curve.json")
    parts = [element("h3", "Measured here"), element("p", about, "."), *_plot(ours, "ours")]
    if public:
        title = "Public runs of the paper's team: not the paper's run, not ours"
        parts += [element("h3", title), *_plot(public, "team")]
    files = (given.link(folder / f"curve.{kind}", f"curve.{kind}") for kind in ("json", "pdf", "png"))
    return html.join([*parts, element("p", "Files: ", html.join(x for one in files for x in (one, " ")))])


def _plot(lines: list[dict], anchor: str) -> list[Markup]:
    drawn = [one for one in lines if any(point["y"] is not None for point in one["points"])]
    holes = [element("p", element("strong", one["label"], class_="gap")) for one in lines if one not in drawn]
    if not drawn:
        return holes
    curves = [Curve(one["label"], one["kind"], _source(one), tuple(_dot(one, point) for point in one["points"]),
                    shade=min(number, 2) if one["kind"] == "measured" else 0)
              for number, one in enumerate(drawn)]  # fmt: skip
    title = f"top-1 accuracy against epoch, {'measured here' if anchor == 'ours' else 'public runs'}"
    tables = [_curve_table(one, f"{anchor}-{number}") for number, one in enumerate(drawn)]
    plot = chart(curves, title, "epoch", "top-1 accuracy, %", f"{anchor}-chart")
    return [*holes, plot, html.details("The values of these curves", *tables)]


def _source(one: dict) -> str:
    """In words: the file or logs, and the run."""
    source = one["sources"][0]
    if "logs" in source:
        return f"{', '.join(source['logs'])}; config {source['config_hash']}"
    return f"{source['file']}, run {source['run']}"


def _name(one: dict) -> str:
    source = one["sources"][0]
    return one["label"].partition(":")[0] if "logs" in source else f"public run {source['run']}"


def _dot(one: dict, point: dict) -> Dot:
    values = point.get("values") or [point["y"]]
    spread = f" ({min(values):.2f} to {max(values):.2f} over {len(values)} seeds)" if len(values) > 1 else ""
    seconds = f", {point['seconds']:,.1f} s" if point.get("seconds") is not None else ""
    text = f"{_name(one)}, epoch {point['x']:g}{seconds}: {point['y']:.2f} %{spread}"
    return Dot(point["x"], point["y"], text, *((min(values), max(values)) if spread else ()))


def _curve_table(one: dict, anchor: str) -> Markup:
    kind, whole, source = one["kind"], _source(one), one["sources"][0]
    seeds = list(zip(source.get("seeds", ()), source.get("logs", ())))
    header: list[Content] = ["epoch", "seconds since run_start", "top-1, %"]
    header += [Number(f"seed {seed}", "setting", log) for seed, log in seeds]
    rows = [
        [Number(f"{point['x']:g}", kind, whole),
         Number(f"{point['seconds']:,.1f}", kind, whole) if point.get("seconds") is not None else "missing",
         Number(f"{point['y']:.2f}", kind, whole),
         *(Number(f"{value:.2f}", kind, log) for value, (_, log) in zip(point.get("values", ()), seeds))]
        for point in one["points"]
    ]  # fmt: skip
    return html.table(numbered(f"{_name(one)}: {whole}", kind, whole), header, rows, f"{anchor}-table")


# ---- the numbers of each figure -------------------------------------------------------------------------------------


def _constants(facts: dict) -> tuple[list[Content], list[list[Content]]]:
    rows = []
    for name, known in facts["constants"].items():
        source = f"{facts['file']}: {known['source']}"
        rows.append([html.code(name), Number(f"{known['value']:,g}", "setting", source), known["unit"],
                     known["status"], numbered(known["source"], "setting", facts["file"])])  # fmt: skip
    return ["constant", "value", "unit", "status", "source"], rows


def _scaling(facts: dict) -> tuple[list[Content], list[list[Content]]]:
    rows = []
    for one in facts["series"]:
        kind = one["kind"] if one["kind"] in RESULTS else "setting"
        where = one.get("file") or one.get("source") or one.get("place") or one.get("run") or "figure2.json"
        source = f"{where}; {one.get('status') or one.get('stack') or one['label']}"
        for point in one.get("points", [one]):
            band = " to ".join(f"{value:,.0f}" for value in point["band"]) if "points" in one else ""
            share = f"{100 * point['efficiency']:.1f}" if "efficiency" in point else ""
            texts = (one["label"], f"{point['gpus']:,}", f"{point['images_per_second']:,.0f}", band, share)
            rows.append([*(numbered(text, kind, source) for text in texts), html.code(source)])
    return ["series", "GPUs", "images/s", "band, images/s", "efficiency, %", "source"], rows


def _batches(facts: dict) -> tuple[list[Content], list[list[Content]]]:
    rows = []
    for one in facts["series"]:
        for index, point in enumerate(one["points"]):
            known = one["sources"][min(index, len(one["sources"]) - 1)]
            source = "; ".join(known.get("logs", ())) or known.get("file") or known["run"]
            source += f"; {one['status']}" if one["status"] else ""
            values = point.get("values") or ()
            top1 = "missing" if point["y"] is None else Number(f"{point['y']:.2f}", one["kind"], source)
            single = numbered(", ".join(f"{value:.2f}" for value in values), one["kind"], source)
            batch = Number(f"{point['x']:,}", "setting", source)
            rows.append([numbered(one["label"], one["kind"], source), batch, top1, single, html.code(source)])
    return ["series", "mini-batch, images", "top-1, %", "single seeds, %", "source"], rows


def _groups(facts: dict) -> tuple[list[Content], list[list[Content]]]:
    rows = []
    for network in facts.get("rates", ()):
        where = f"{facts['source']}: {network['network']}"
        rate = "unlimited" if network["mbit"] is None else f"{network['mbit']:g} Mbit/s"
        for one in network["variants"]:
            ms = [1e3 * seconds for seconds in one["seconds"]]
            texts = (f"{1e3 * one['median']:,.0f}", f"{min(ms):,.0f} to {max(ms):,.0f}", str(one["n"]))
            numbers = [Number(text, "measured", where) for text in texts]
            rows.append(_rule(rate, one, one["wire"], [*numbers, html.code(facts["source"])]))
    modelled = facts["modelled"]
    for one in modelled["rules"]:
        low, high = (1e3 * seconds for seconds in one["band"])
        texts = [Number(f"{1e3 * one['seconds']:,.1f}", "modelled", modelled["file"]),
                 Number(f"{low:,.1f} to {high:,.1f}", "modelled", modelled["file"]), "none",
                 html.code(modelled["file"])]  # fmt: skip
        rows.append(_rule(f"modelled: {modelled['cluster']}", one, "fp16", texts))
    header = ["network", "groups by", "wire", "exchange", "step, ms", "lowest to highest, or band, ms", "n", "source"]
    return header, rows


def _rule(network: str, one: dict, wire: str, numbers: list[Content]) -> list[Content]:
    way = "overlapped" if one["overlap"] else "after backward"
    return [numbered(network, "setting", "groups.json"), html.code(one["rule"]), html.code(wire), way, *numbers]


SECTIONS: dict[str, Callable] = {"curve": _curves}
TABLES: dict[str, Callable] = {"figure1": _constants, "figure2": _scaling, "figure3": _batches, "groups": _groups}
