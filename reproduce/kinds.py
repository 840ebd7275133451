"""The kinds of number, in one list: README.md, REPRODUCE.md, the figures and the page all take it from here.

Imports nothing, so that every part can.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """`what` the number is, what `comes_with` it wherever it is printed, and its `look` in figures."""

    what: str
    comes_with: str
    look: str


KINDS = {
    "paper": Kind("printed in the paper, or known of it second-hand or from memory",
                  "how well it is known (status)", "hollow"),
    "measured": Kind("read from complete logs of runs of this package",
                     "config hash, hardware, n, the logs", "filled"),
    "modelled": Kind("computed by a model of a machine (`reproduce.cluster`), from constants with sources",
                     "the cluster file, a band", "dashed"),
    "public": Kind("a third party's published measurement: neither the paper's run nor ours",
                   "the file in `figures/public`, n", "thin lines, small marks"),
    "setting": Kind("put in, not found: hyper-parameters, hardware, versions, tolerances",
                    "the file it is set in", "in words"),
}  # fmt: skip
RESULTS = tuple(kind for kind in KINDS if kind != "setting")  # what a figure draws
