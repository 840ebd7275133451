"""What somebody adds is found everywhere: a figure or a recipe by its file and one line, a data set and a cluster by
their name alone."""

import subprocess
import sys

import pytest

from reproduce.artefacts import ARTEFACTS
from reproduce.runner.plan import Plan
from tests.helpers import ROOT

FIGURE = '''"""Figure 9: the number of updates of each published run."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduce.artefact import Artefact  # noqa: E402
from reproduce.page.view import SectionData  # noqa: E402
from reproduce.recipe.runs import QUICK_PAIR  # noqa: E402
from reproduce.results import output  # noqa: E402
from reproduce.script import entry  # noqa: E402

ARTEFACT = Artefact("figure9", "Figure 9: a newcomer's", {"quick": QUICK_PAIR})


def draw(given):
    facts = {"artefact": "figure9", "title": ARTEFACT.title, "tier": given.tier}
    drawn = '<svg xmlns="http://www.w3.org/2000/svg"><path d="M 0 0"/></svg>'
    files = {"figure9.json": output.to_json(facts), "figure9.svg": drawn}
    output.announce([output.write(given.out, name, text) for name, text in files.items()], ())


def section(given, facts):
    return SectionData((), ("what it shows",))


main = entry(ARTEFACT, draw)

if __name__ == "__main__":
    sys.exit(main())
'''

RECIPE = '''extends = "headline_b800_w20.toml"

[run]
name = "mine_b800_w20"
title = "A newcomer's recipe"
tier = "quick"

[data]
dataset = { value = "my-images", source = "chosen_here", ref = "a newcomer's folder" }
'''


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the package with a new figure, and the line that lists it."""
    made = tmp_path_factory.mktemp("newcomer") / "clone"
    tracked = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                             capture_output=True, text=True, check=True).stdout.split("\0")  # fmt: skip
    for name in filter(None, tracked):
        if not name.startswith("tests/") and (ROOT / name).is_file():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_bytes((ROOT / name).read_bytes())
    (made / "reproduce" / "figure9.py").write_text(FIGURE)
    return made


def listed(clone) -> None:
    path = clone / "reproduce" / "artefacts.py"
    text = path.read_text(encoding="utf-8").replace('"groups", "figure9")', '"groups")')
    path.write_text(text.replace('"groups")', '"groups", "figure9")'), encoding="utf-8")


def python(clone, *words):
    return subprocess.run([sys.executable, *words], cwd=clone, capture_output=True, text=True, timeout=120)


def test_a_figure_that_is_not_listed_is_an_error(clone):
    done = python(clone, "-m", "reproduce.run_all", "--list")
    assert done.returncode
    assert "figure9.py: declares an ARTEFACT that reproduce/artefacts.py does not list" in done.stderr


def test_a_new_figure_is_in_the_list_in_the_document_and_on_the_page(clone):
    listed(clone)
    rows = python(clone, "-m", "reproduce.run_all", "--list", "--tier", "quick").stdout.splitlines()
    assert [row.split()[:3] for row in rows if row.startswith("figure9")] == [["figure9", "quick", "2"]]
    assert python(clone, "-m", "reproduce.report.claims", "--write").returncode == 0
    document = (clone / "REPRODUCE.md").read_text(encoding="utf-8")
    assert "| Figure 9: a newcomer's | `python reproduce/figure9.py`" in document
    done = python(clone, "reproduce/figure9.py", "--draw", "--tier", "quick", "--out", "figures/measured/quick")
    assert done.returncode == 0 and "wrote figures/measured/quick/figure9.json" in done.stdout, done.stderr
    done = python(clone, "-m", "reproduce.report.page", "--results", "figures/measured/quick", "--out", "page")
    assert done.returncode == 0, done.stderr
    shown = (clone / "page" / "index.html").read_text(encoding="utf-8").partition('<section id="figure9"')[2]
    section = shown.partition("</section>")[0]
    assert "<svg" in section and "what it shows" in section and 'class="hole"' not in section


def test_a_script_trains_what_is_missing_and_with_draw_only_draws(clone, tmp_path):
    done = python(clone, "reproduce/table1.py", "--dry-run", "--out", str(tmp_path / "out"))
    commands = done.stdout.splitlines()
    assert sum("reproduce.engine" in line and "paper_configs/quick/" in line for line in commands) == 2, done.stderr
    assert any("reproduce/table1.py --tier quick --results" in line for line in commands)
    (clone / "torch.py").write_text("raise ImportError('not here')\n")
    done = python(clone, "reproduce/table1.py", "--draw", "--results", "figures/measured/quick", "--out", str(tmp_path))
    (clone / "torch.py").unlink()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "table1.md").read_text() == (ROOT / "figures/measured/quick/table1.md").read_text()


def test_a_data_set_is_read_from_a_folder_of_its_name(tmp_path):
    plan = Plan("quick", ARTEFACTS, data=tmp_path / "data", out=tmp_path / "out")
    assert plan.folder_of("mine") == tmp_path / "data" / "mine"
    assert plan.folder_of("imagenet") == tmp_path / "data"
    sets = {job.config.data.dataset for job in plan.jobs} - {"synthetic"}
    assert {plan.folder_of(name) for name in sets} == {tmp_path / "data" / "fashion_mnist"}


def test_a_new_recipe_and_its_data_are_listed_shown_and_trained_on(clone, tmp_path):
    """The recipe is one file, and a word in the line of the figure that shows it; the data set is a folder's name."""
    (clone / "paper_configs" / "quick" / "mine_b800_w20.toml").write_text(RECIPE)
    figure = clone / "reproduce" / "figure9.py"
    figure.write_text(FIGURE.replace("QUICK_PAIR})", '(*QUICK_PAIR, "quick/mine_b800_w20")})'))
    listed(clone)
    rows = python(clone, "-m", "reproduce.run_all", "--list", "--tier", "quick").stdout.splitlines()
    assert [row.split()[:3] for row in rows if row.startswith("figure9")] == [["figure9", "quick", "3"]]
    shown = python(clone, "-m", "reproduce.config", "paper_configs/quick/mine_b800_w20.toml").stdout
    assert "my-images" in shown and "a newcomer's folder" in shown
    given = ["--dry-run", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    done = python(clone, "reproduce/figure9.py", *given)
    trains = [line for line in done.stdout.splitlines() if "paper_configs/quick/mine_b800_w20.toml" in line]
    assert len(trains) == 1 and f"--data {tmp_path / 'data' / 'my-images'} " in trains[0], done.stderr


def test_a_new_cluster_is_one_file(clone, tmp_path):
    clusters = clone / "paper_configs" / "clusters"
    text = (clusters / "dgx-h100.toml").read_text(encoding="utf-8")
    (clusters / "my-cluster.toml").write_text(text.replace('"dgx-h100"', '"my-cluster"'), encoding="utf-8")
    asked = ["--cluster", "my-cluster", "--gpus", "64", "--local-batch", "40"]
    predicted = python(clone, "-m", "reproduce.cluster", *asked)
    assert predicted.returncode == 0 and "images/s" in predicted.stdout, predicted.stderr
    given = ["--launcher", "slurm", "--only", "table1", "--dry-run", "--out", str(tmp_path), "--cluster"]
    done = python(clone, "-m", "reproduce.run_all", *given, "my-cluster")
    assert done.returncode == 0 and "#SBATCH --gpus-per-node=8" in done.stdout, done.stderr
    refused = python(clone, "-m", "reproduce.run_all", *given, "my-clustre")
    assert refused.returncode == 2 and "did you mean 'my-cluster'?" in refused.stderr
