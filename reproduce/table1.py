"""Table 1: training time and top-1 accuracy, the paper's rows and ours.

    python reproduce/table1.py [options of run_all.sh]                  trains what is missing, then draws
    python reproduce/table1.py --draw [--tier T] [--results DIR] [--out DIR]   only draws; needs no torch

Below it, in tier quick, each row again: its recipe scaled down and run here, and its time as modelled. Those runs are
optional: --with-optional trains them, in an hour or two. Writes table1.md, .csv, .tex and .json, and the second table
as table1_rows.csv and .tex. Needs the logs and no torch.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduce import table  # noqa: E402
from reproduce.artefact import Artefact  # noqa: E402
from reproduce.judge import compare, rows_here  # noqa: E402
from reproduce.recipe.runs import EARLIER_ROWS, FULL_RECIPE, QUICK_PAIR  # noqa: E402
from reproduce.results import measured, output, paper  # noqa: E402
from reproduce.script import entry  # noqa: E402

ARTEFACT = Artefact(
    "table1", "Table 1: training time and top-1 accuracy",
    {"quick": QUICK_PAIR, "node": FULL_RECIPE[:1], "paper": FULL_RECIPE[:1]}, {"quick": EARLIER_ROWS},
)  # fmt: skip

NOTES = """
Time is run_start to run_stop of the MLPerf log, mean over the n runs; top-1 is the mean over them with the sample
standard deviation. "emulated": fewer devices than workers, so the time is that of the emulation and no claim about
the paper's. "recalled": known from memory of the paper, not re-read. The wording of all paper rows is recalled.
"""


def runs(given):
    return [measured.collect(given.results, name) for name in ARTEFACT.runs[given.tier]]


def rows(measurements, given):
    known = paper.load().table1
    cells = [compare.paper_row(row) for row in known] + [compare.measured_row(m, given.tier) for m in measurements]
    facts = [compare.paper_facts(row) for row in known] + [compare.measured_facts(m) for m in measurements]
    return cells, facts


ROWS_TITLE = "Table 1, row by row: each recipe scaled down"
ROWS_NOTES = """
Measured rows are scaled down by 102.4, on Fashion-MNIST: NOT the rows' own experiments. Each recipe's peak rate is the
best of three on images held out of training and test set (`rates.csv`), on a third of its epochs; the headline's was
chosen on the test set. Images/s are of a small network on this hardware, which others used as well (the median over
the seeds), and of no row's machine. Modelled: a GPU per worker, ResNet-50 on ImageNet, with the model's 90 % interval.
"""


def by_row(given):
    return rows_here.rows(paper.load().table1, given.results) if given.tier == "quick" else []


def render_rows(found):
    """(Markdown, files) of the second table; nothing in the other tiers."""
    cells = [one.cells() for one in found]
    if not cells:
        return "", {}
    text = f"\n## {ROWS_TITLE}\n\n{table.markdown(rows_here.HEADER, cells)}{ROWS_NOTES}"
    latex = table.latex(rows_here.HEADER, cells, rows_here.LATEX_COLUMNS, ROWS_TITLE, len(cells))
    return text, {"table1_rows.csv": table.comma_separated(rows_here.HEADER, cells), "table1_rows.tex": latex}


def render(cells, facts, given):
    title = f"{ARTEFACT.title}; measured rows: tier {given.tier}"
    first_measured = len(paper.load().table1)
    found = by_row(given)
    second, files = render_rows(found)
    files |= {
        "table1.md": f"# {table.escape_markdown(title)}\n\n{table.markdown(compare.HEADER, cells)}{NOTES}{second}",
        "table1.csv": table.comma_separated(compare.HEADER, cells),
        "table1.tex": table.latex(compare.HEADER, cells, compare.LATEX_COLUMNS, title, first_measured),
        "table1.json": output.to_json({
            "artefact": "table1", "title": title, "tier": given.tier, "rows": facts,
            "rows_here": [one.facts() for one in found],
        }),
    }
    return [output.write(given.out, name, content) for name, content in files.items()]


def draw(given):
    measurements = runs(given)
    paths = render(*rows(measurements, given), given)
    output.announce(paths, measurements)


main = entry(ARTEFACT, draw)

if __name__ == "__main__":
    sys.exit(main())
