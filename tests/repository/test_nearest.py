"""Every name that is not known is refused with the same end of a line, by one rule."""

import re

from reproduce.nearest import nearest
from tests.helpers import ROOT


def test_the_known_name_most_like_it_is_named_else_all_are():
    assert nearest("tabel1", ["figure1", "table1"]) == ": did you mean 'table1'?"
    assert nearest("xyz", ["table1", "figure1"]) == ": known are figure1, table1"
    assert nearest("xyz", []) == ""


def test_nobody_else_guesses():
    guess = re.compile(r"get_close_matches|did you mean")
    files = [path for path in (ROOT / "reproduce").rglob("*.py") if guess.search(path.read_text(encoding="utf-8"))]
    assert files == [ROOT / "reproduce" / "nearest.py"]
