"""The fuzzer on a package that has a fault: ``python -m tests.fuzz.faulty json|whole|link``.

Prints what it finds, as KIND: MARK; exit code 1 if that is nothing.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from hypothesis.strategies import SearchStrategy

from reproduce import files
from tests.fuzz import campaign, warm
from tests.fuzz.scene import Scene

INPUTS = 150


def no_error_of_json() -> SearchStrategy[Scene]:
    """A parser as it comes: it raises more than one kind of error, and takes NaN."""
    from tests.fuzz.surfaces import results

    files.parse_json = json.loads
    return results.values()


def not_whole() -> SearchStrategy[Scene]:
    """A file that is written in place is cut off on a full disk."""
    from tests.fuzz.surfaces import outputs

    files.write_whole = in_place
    return outputs.full()


def through_links() -> SearchStrategy[Scene]:
    """A file that is written whole, but where a link leads."""
    from tests.fuzz.surfaces import outputs

    whole = files.write_whole
    files.write_whole = lambda path, content: whole(Path(os.path.realpath(path)), content)
    return outputs.planted()


def in_place(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


FAULTS: dict[str, Callable[[], SearchStrategy[Scene]]] = {
    "json": no_error_of_json, "whole": not_whole, "link": through_links,
}  # fmt: skip


def main(argv=None) -> int:
    (name,) = sys.argv[1:] if argv is None else argv
    warm.up()
    counted = campaign.explore(name, FAULTS[name](), INPUTS, 1, shrinking=0.0, first=True)
    print("\n".join(f"{kind}: {mark}" for kind, mark in counted.found))
    return 0 if counted.found else 1


if __name__ == "__main__":
    sys.exit(main())
