"""What a name that is not known was probably meant to be. Imports nothing outside the standard library."""

import difflib
from collections.abc import Iterable

LIKENESS = 0.5  # from 0 to 1, as difflib counts it


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a line that refuses `name`: the known name most like it, else all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, 1, LIKENESS)
    if close:
        return f": did you mean {close[0]!r}?"
    return f": known are {', '.join(sorted(names))}" if names else ""
