"""Table 1: training time and top-1 accuracy, the paper's rows and ours.

    python reproduce/table1.py [options of run_all.sh]                  trains what is missing, then draws
    python reproduce/table1.py --draw [--tier T] [--results DIR] [--out DIR]   only draws; needs no torch

Writes table1.md, .csv, .tex and .json. Needs the logs and no torch.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduce import table  # noqa: E402
from reproduce.artefact import Artefact  # noqa: E402
from reproduce.judge import compare  # noqa: E402
from reproduce.recipe.runs import FULL_RECIPE, QUICK_PAIR  # noqa: E402
from reproduce.results import measured, output, paper  # noqa: E402
from reproduce.script import entry  # noqa: E402

ARTEFACT = Artefact(
    "table1", "Table 1: training time and top-1 accuracy",
    {"quick": QUICK_PAIR, "node": FULL_RECIPE[:1], "paper": FULL_RECIPE[:1]},
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


def render(cells, facts, given):
    title = f"{ARTEFACT.title}; measured rows: tier {given.tier}"
    first_measured = len(paper.load().table1)
    files = {
        "table1.md": f"# {title}\n\n{table.markdown(compare.HEADER, cells)}{NOTES}",
        "table1.csv": table.comma_separated(compare.HEADER, cells),
        "table1.tex": table.latex(compare.HEADER, cells, compare.LATEX_COLUMNS, title, first_measured),
        "table1.json": output.to_json({"artefact": "table1", "title": title, "tier": given.tier, "rows": facts}),
    }
    return [output.write(given.out, name, content) for name, content in files.items()]


def draw(given):
    measurements = runs(given)
    paths = render(*rows(measurements, given), given)
    output.announce(paths, measurements)


main = entry(ARTEFACT, draw)

if __name__ == "__main__":
    sys.exit(main())
