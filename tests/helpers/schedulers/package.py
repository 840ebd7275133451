"""A copy of the package of which one run is tiny, so that run_all.sh can be tried end to end in seconds.

Table 1 of tier node is what is tried: it needs a single run, and its data where --data says. Nothing else is changed.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from reproduce.events import RESULT, log_path, read_events
from tests.helpers import ROOT
from tests.helpers.data import make_config, make_folder
from tests.helpers.runs import SLOW
from tests.helpers.schedulers import openmpi

NAME = "headline_b81920_g2048"
SITE = """
extends = "local.toml"

[launch]
ranks_per_node = {ranks_per_node}
gpus_per_node = 0
ranks = [{ranks}]
environment = {{ {environment} }}
"""


@dataclass(frozen=True)
class Package:
    """The copy, its data, and the clusters "nodes" (of one rank each) and "node" (of four, for mpirun)."""

    root: Path
    data: Path

    def command(self, out: Path, *options: str) -> list[str]:
        """run_all.sh for the tiny run."""
        tiny = ["--tier", "node", "--device", "cpu", "--only", "table1", "--data", str(self.data), "--out", str(out)]
        return ["bash", str(self.root / "reproduce" / "run_all.sh"), *tiny, *options]


def make_package(folder: Path) -> Package:
    root, data = folder / "package", make_folder(folder / "images", train=160)
    for name in ("reproduce", "paper_configs", "figures"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.txt", "REPRODUCE.md"):
        shutil.copy(ROOT / name, root)
    make_config(folder / "config", **(SLOW | {"schedule__epochs": 3}))
    text = (folder / "config" / "small.toml").read_text().replace('name = "small"', f'name = "{NAME}"')
    (root / "paper_configs" / f"{NAME}.toml").write_text(text.replace('tier = "quick"', 'tier = "paper"'))
    as_root = ", ".join(f'{name} = "{value}"' for name, value in openmpi.SETTINGS.items())
    clusters = root / "paper_configs" / "clusters"
    (clusters / "nodes.toml").write_text(SITE.format(ranks_per_node=1, ranks="", environment=""))
    (clusters / "node.toml").write_text(
        SITE.format(ranks_per_node=4, ranks='"--oversubscribe"', environment=as_root)
    )
    return Package(root, data)


def python_first(env) -> dict[str, str]:
    """An environment in which run_all.sh takes this very Python."""
    return {**env, "PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}


def log_of(out: Path) -> Path:
    return log_path(out, NAME, 1)


def values(out: Path, key: str = RESULT) -> list[dict]:
    return [event.value for _, event in read_events(log_of(out)) if event.key == key]
