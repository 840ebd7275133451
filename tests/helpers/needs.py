"""What a test needs besides Python: programs and rights.

Where one is missing the test is skipped and says why; with REQUIRE_ALL=1, as in continuous integration, it fails.

    @need_program("shellcheck")
    @pytest.mark.needs(netns.why_not())     # a reason, empty where nothing is missing
"""

import os
import shutil
from collections.abc import Sequence

import pytest

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"


def missing(programs: Sequence[str], packages: str = "", root: bool = False) -> str:
    """Which of the programs is not here, with the Debian packages to install; or that root is needed; else empty."""
    absent = [program for program in programs if not shutil.which(program, path=PATH)]
    if absent:
        return f"no {absent[0]}: apt-get install {packages or absent[0]}"
    return f"{programs[0]} needs root here" if root and os.geteuid() != 0 else ""


def need_program(*programs: str, packages: str = "") -> pytest.MarkDecorator:
    """Marks a test, or with `pytestmark` all of a module, as needing programs."""
    return pytest.mark.needs(missing(programs, packages))


def need(reason: str) -> None:
    """Goes on if `reason` is empty; otherwise ends the running test as a skip or, with REQUIRE_ALL=1, a failure."""
    if reason:
        if os.environ.get("REQUIRE_ALL") == "1":
            pytest.fail(f"{reason} (REQUIRE_ALL=1)", pytrace=False)
        pytest.skip(reason)
