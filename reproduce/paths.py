"""Where things are in this checkout."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "paper_configs"
CLUSTERS = CONFIGS / "clusters"
FIGURES = ROOT / "figures"
PUBLISHED = FIGURES / "measured"  # our logs and renderings, one folder a tier
DOCUMENT = ROOT / "REPRODUCE.md"
README = ROOT / "README.md"
JUDGE = ROOT / "reproduce/judge/README.md"
BENCH = ROOT / "reproduce/bench/README.md"
VARIANT_LOGS = "ablation/*/*/logs/*/result_*.txt"  # below the results of a tier


def real(path: Path) -> Path:
    """Where links lead. Unlike `Path.resolve`, raises nothing for a link that leads to itself: opening it will."""
    return Path(os.path.realpath(path))
