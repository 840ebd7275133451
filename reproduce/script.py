"""What the scripts of artefacts share: ``python reproduce/NAME.py`` trains what is missing and draws.

It takes the options of run_all.sh. With ``--draw`` or ``--results`` it only draws, from the logs there are, and then
needs no torch.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from reproduce.artefact import Artefact
from reproduce.errors import command
from reproduce.results import output
from reproduce.runner import main as runner

DRAW_ONLY = ("--draw", "--results")


class Main(Protocol):
    """Without arguments it takes those of the command line; returns the exit code."""

    def __call__(self, argv: Sequence[str] | None = None) -> int: ...


def entry(artefact: Artefact, draw: Callable[[output.Options], None]) -> Main:
    """The ``main(argv=None)`` of a script whose `draw` writes the artefact's files."""

    @command
    def only_draw(argv) -> None:
        draw(output.options(artefact, argv))

    def main(argv: Sequence[str] | None = None) -> int:
        words = list(sys.argv[1:] if argv is None else argv)
        if any(word.partition("=")[0] in DRAW_ONLY for word in words):
            return only_draw(words)
        return runner.main([*words, "--only", artefact.name], (artefact,), f"python {artefact.script}")

    return main
