"""The words of a command line: one parser for all commands, and one rule for each type of value.

    int     ASCII digits, perhaps a sign, at most 10^15
    float   likewise a decimal number: no NaN, no infinity, at most 10^15
    Path    not empty: that is most likely a variable that was not set

Imports nothing outside the standard library.
"""

import argparse
import re
from pathlib import Path
from typing import NoReturn

from reproduce.errors import UserError

WHOLE = re.compile(r"[+-]?[0-9]+")
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
MOST = 10**15


class Parser(argparse.ArgumentParser):
    """Raises `UserError` in one line for words that break a rule; arguments say ``type=int`` and so on, as usual."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        for kind, read in ((int, whole), (float, decimal), (Path, path)):
            self.register("type", kind, read)

    def _get_values(self, action, arg_strings):
        if action.option_strings and arg_strings == ["--"]:  # argparse would make an empty list of --option=--
            raise argparse.ArgumentError(action, "expected one argument")
        return super()._get_values(action, arg_strings)  # type: ignore[misc]

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (--help lists the options)")


def whole(text: str) -> int:
    if not WHOLE.fullmatch(text) or len(text) > 16 or abs(int(text)) > MOST:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: must be a whole number of at most 10^15")
    return int(text)


def decimal(text: str) -> float:
    if not DECIMAL.fullmatch(text) or abs(float(text)) > MOST:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: must be a number of at most 10^15")
    return float(text)


def path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("is empty: name a file or folder, or leave the option out")
    return Path(text)
