"""Which commit this source tree is. Imports nothing outside the standard library."""

import subprocess
from pathlib import Path

from reproduce import environ
from reproduce.paths import ROOT

SECONDS = 10


def revision(root: Path = ROOT) -> str | None:
    """The commit of the source tree at `root`, with "-dirty" if it has changes.

    None unless `root` itself is the top of a git work tree: a copy inside another repository is not of that one's
    commit. Variables such as GIT_DIR name other repositories, and core.fsmonitor would start a program: neither counts.
    """
    if _git(root, "rev-parse", "--show-cdup") != "":
        return None
    return _git(root, "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12") or None


def _git(root: Path, *words: str) -> str | None:
    """What git prints; None where it fails."""
    asked = ["git", "-c", "core.fsmonitor=false", "-C", str(root), *words]
    clean = environ.without("GIT_") | {"GIT_CEILING_DIRECTORIES": str(root.parent), "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(asked, env=clean, capture_output=True, text=True, check=True, timeout=SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
