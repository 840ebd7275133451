"""What an artefact is: a table or figure, the runs it needs per tier, and the script that makes it.

A run is named by its config, a path below ``paper_configs`` without ``.toml``. Tier "node" runs the paper-tier configs
with all 2,048 workers emulated on the devices of one node: it can test the accuracy claims, not the elapsed time.
Imports nothing outside the standard library.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

TIERS = ("quick", "node", "paper")
REPEATS = 3  # of a run for its speed, as several seeds: a rate without a spread says little
EVERY_TIER: dict[str, tuple[str, ...]] = {tier: () for tier in TIERS}  # of an artefact that needs no run


@dataclass(frozen=True)
class Artefact:
    """A table or figure, as its script ``reproduce/NAME.py`` declares it.

    It belongs to the tiers in `runs`; one that needs no run draws what the package carries, and logs if there are any.
    `optional` runs are drawn only if they are there. So are `speed` runs, which time a device per worker: those are
    made that the devices there are can carry, each with `REPEATS` seeds at least. `benchmark` is the module of
    `reproduce.bench` that measures what it draws, if no run does: its result is bench/NAME.json below the results
    folder. `trial` is the module of `reproduce.trials` that trains what it draws and run_all.sh does not: variants of
    runs, in folders below ablation/.
    """

    name: str
    title: str
    runs: Mapping[str, tuple[str, ...]]
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    speed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    benchmark: str | None = None
    trial: str | None = None

    @property
    def script(self) -> str:
        """As seen from the root of the checkout."""
        return f"reproduce/{self.name}.py"

    @property
    def measured(self) -> bool:
        """Whether it shows measurements of a tier; the others are published beside the models."""
        return bool(any(self.runs.values()) or self.benchmark or self.trial)


def named(artefacts: Iterable[Artefact], name: str) -> Artefact:
    """The artefact called `name`; raises KeyError."""
    return {one.name: one for one in artefacts}[name]
