"""The ablation: the headline recipe with one thing changed at a time, and what each system technique saves.

    python reproduce/ablation.py --draw [--results DIR] [--out DIR]     draws from the logs there are; needs no torch
    python -m reproduce.trials.evidence --data data/fashion_mnist       trains them, in hours

Writes ablation.md, .csv, .png, .pdf, .svg and .json.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduce import table  # noqa: E402
from reproduce.artefact import Artefact  # noqa: E402
from reproduce.judge import systems  # noqa: E402
from reproduce.judge.ablation import COMMAND, Effect, effects  # noqa: E402
from reproduce.judge.difference import LEVEL  # noqa: E402
from reproduce.judge.systems import Saving  # noqa: E402
from reproduce.page.view import Cell, SectionData, Table, numbered  # noqa: E402
from reproduce.paths import PUBLISHED  # noqa: E402
from reproduce.recipe.variants import REFERENCE, REGIMES, with_changes  # noqa: E402
from reproduce.results import output  # noqa: E402
from reproduce.script import entry  # noqa: E402

ARTEFACT = Artefact("ablation", "Ablation: one thing changed at a time", {"quick": ()}, trial="evidence")
HEADER = ["regime", "changed", "peak rate", "top-1, %", "n", "recipe minus this, points", "what the recipe does"]
SYSTEMS = ["technique", "where", "saves per step or start", "source"]
NOTES = f"""
Measured on Fashion-MNIST, scaled down: NOT the paper's experiment. Regimes: "scarce" has 80 updates, "headline" the
paper's 1,440. Each variant has the best of three peak rates, chosen with one seed on 10,000 training images that are
neither trained on nor in the test set (`rates.csv`); "edge": the best was the lowest or highest tried. Variants that
only evaluate otherwise take the recipe's. Differences are paired by seed, with {100 * (1 - LEVEL):g} % intervals
(Student's t). What is missing: `{COMMAND}`.
"""


def rows(given) -> list[Effect]:
    return [one for regime in REGIMES for one in effects(given.results, regime)]


def cells(one: Effect) -> list[str]:
    rate = "missing" if one.rate is None else f"{one.rate:g}" + (" (edge)" if one.at_edge else "")
    top1, n = (f"{one.found.top1.mean:.2f}", f"{one.found.n}") if one.found and one.found.top1 else ("missing", "0")
    apart = ["", ""] if one.variant.name == REFERENCE else [one.said, one.text]
    return [one.regime, one.variant.text, rate, top1, n, *apart]


def facts(one: Effect) -> dict:
    values = one.found.top1_by_seed if one.found else {}
    apart = one.difference and {"mean": one.difference.mean, "interval": one.difference.interval, "n": one.difference.n}
    return {"regime": one.regime, "variant": one.variant.name, "text": one.variant.text, "kind": "measured",
            "changes": list(one.variant.changes), "peak_lr": one.rate, "at_edge": one.at_edge,
            "top1_percent": {str(seed): value for seed, value in values.items()}, "difference": apart,
            "says": one.word, "measured": one.found.provenance() if one.found else None}  # fmt: skip


def saved(given) -> list[Saving]:
    norms = systems.norms(PUBLISHED / "bench")
    return systems.savings(given.results) + ([norms] if norms else [])


def saved_cells(one: Saving) -> list[str]:
    return [one.text, one.place, one.said, one.source]


def title(found: list[Effect]) -> str:
    return f"{ARTEFACT.title}\nFashion-MNIST; {output.SCALED_DOWN}"


def render(found: list[Effect], savings: list[Saving], given):
    from reproduce.figures import forest, plot  # here, so that --list needs no matplotlib

    figure = plot.plt.figure(figsize=(15, 7.5))
    figure.suptitle(title(found))
    parts = [[one for one in found if one.regime == regime and one.variant.name != REFERENCE] for regime in REGIMES]
    axes = figure.subplots(1, len(parts), width_ratios=[3 if any(map(forest.shown, own)) else 1 for own in parts])
    for name, ax, own, (regime, run) in zip("abcd", axes, parts, REGIMES.items()):
        forest.panel(ax, own, f"{regime}: {with_changes(run).total_updates:,} updates", names=ax is axes[0])
        plot.letter(ax, name)
    forest.legend(figure)
    text = f"# {ARTEFACT.title}\n\n{table.markdown(HEADER, [cells(one) for one in found])}{NOTES}\n"
    text += f"## Systems side\n\n{table.markdown(SYSTEMS, [saved_cells(one) for one in savings])}"
    paths = [output.write(given.out, "ablation.md", text)]
    paths.append(output.write(given.out, "ablation.csv", table.comma_separated(HEADER, [cells(one) for one in found])))
    side_car = {"artefact": "ablation", "title": title(found), "tier": given.tier, **data(found)}
    return paths + plot.save(figure, given.out, "ablation", side_car)


def data(found: list[Effect]) -> dict:
    return {"variants": [facts(one) for one in found]}


def draw(given) -> None:
    found = rows(given)
    output.announce(render(found, saved(given), given), [])
    missing = sum(one.found is None or not one.found.n for one in found)
    if missing:
        print(f"{missing} of {len(found)} variants are missing: {COMMAND}")


# ---- on the report page ---------------------------------------------------------------------------------------------


def section(given, facts: dict) -> SectionData:
    """Raises `ValueError` if the side-car file is not of the logs that are here now."""
    found = rows(given)
    if output.to_json(data(found)) != output.to_json({"variants": facts["variants"]}):
        raise ValueError("not of the logs that are here now")
    caption = f"Numbers of {ARTEFACT.title}; {COMMAND} trains what is missing"
    body = Table("ablation-table", caption, HEADER, [_row(one) for one in found], stacked=True)
    more = [[numbered(cell, "measured", one.source) for cell in saved_cells(one)] for one in saved(given)]
    return SectionData((body, Table("ablation-systems", "What the system's techniques save", SYSTEMS, more)))


def _row(one: Effect) -> list[Cell]:
    logs = f"ablation/{one.regime}/{one.variant.name}/logs"
    kinds = ["setting", "setting", "setting", *["measured"] * 4]
    text = [cell.split(": python")[0] for cell in cells(one)]
    return [numbered(cell, kind, logs) if cell != "0" else "none" for cell, kind in zip(text, kinds)]


main = entry(ARTEFACT, draw)

if __name__ == "__main__":
    sys.exit(main())
