"""Whether all ways of computing an update end at the same weights: devices, batch norms, optimizers, a graph, a resume.

Differences are of the weights after a few updates in fp32 (TF32 off), over the distance the reference has moved.
"""

from dataclasses import dataclass

import torch

from reproduce.bench.contest import Row, Table
from reproduce.bench.timed.contenders import Ours
from reproduce.bench.timed.entry import serve
from reproduce.engine.environment import keep_fp32
from reproduce.engine.execution import Execution
from reproduce.engine.graph import GraphedUpdate
from reproduce.recipe import load as configs
from reproduce.recipe.load import Config

ROUNDING = 1e-3  # more than sums in another order differ after a few updates; a mistake differs by tenths
SPLIT, VECTORISED = Execution(lars="foreach"), Execution(lars="foreach", batch_norm="vectorised")
COMPILED = Execution(lars="compiled")
GRAPH = Execution(lars="compiled", cuda_graph=True)


@dataclass(frozen=True)
class Way:
    """One way to take the updates: `after` so many of them the state goes to a new trainer, as of a resumed run."""

    device: torch.device
    execution: Execution = SPLIT
    after: int | None = None


class Runner:
    """The same recipe, seed and images by any `Way`."""

    def __init__(self, config: Config, updates: int):
        self._config, self._updates = config, updates

    def weights(self, way: Way, updates: int | None = None) -> torch.Tensor:
        """All of them in one vector on the CPU, after `updates`."""
        ours, left = self._ours(way), self._updates if updates is None else updates
        if way.after is not None:
            _take(ours, way.after)
            state, left = ours.trainer.state(), left - way.after
            assert state is not None, "rank 0 has the state"
            ours = self._ours(way)
            ours.trainer.load_state(state)
        _take(ours, left)
        return torch.cat([p.detach().cpu().flatten() for p in ours.trainer.model.parameters()])

    def _ours(self, way: Way) -> Ours:
        recorded = way.execution.cuda_graph and way.device.type == "cpu"
        execution = COMPILED if recorded else way.execution
        ours = Ours(self._config, way.device, "fp32", execution=execution)
        if recorded:  # a CPU records nothing, but the update goes the same way
            ours.trainer.take = GraphedUpdate(ours.trainer, lambda body: body)
        return ours


def _take(ours: Ours, updates: int) -> None:
    for _ in range(updates):
        ours.step()


def difference(one: torch.Tensor, reference: torch.Tensor, start: torch.Tensor) -> float:
    return ((one - reference).norm() / (reference - start).norm()).item()


def row(name: str, found: float, allowed: float) -> Row:
    said = "at most " + (f"{allowed:g}" if allowed else "0, every bit equal")
    return Row(name, "ours", (found,), f"{said} expected: {'as expected' if found <= allowed else 'MORE THAN THAT'}")


def measure(request: dict, device: torch.device) -> list[Table]:
    """request: "config", "overrides", "updates" (more than the graph's warm-up)."""
    keep_fp32("fp32")
    torch.backends.cudnn.deterministic = True  # else no two runs on a GPU need be equal in every bit
    config, updates = configs.load(request["config"], request["overrides"]), request["updates"]
    runner = Runner(config, updates)
    start = runner.weights(Way(device), 0)
    split = runner.weights(Way(device))
    compiled = runner.weights(Way(device, COMPILED))
    compared = [  # name, one, reference, allowed
        ("the same again", runner.weights(Way(device)), split, ROUNDING),
        ("vectorised against split batch norm", runner.weights(Way(device, VECTORISED)), split, ROUNDING),
        ("compiled against foreach LARS", compiled, split, ROUNDING),
        ("CUDA graph against no graph", runner.weights(Way(device, GRAPH)), compiled, ROUNDING),
        ("resumed against undisturbed", runner.weights(Way(device, after=updates // 2)), split, 0.0),
    ]
    if device.type == "cuda":
        on_cpu = runner.weights(Way(torch.device("cpu")))
        compared.insert(0, ("GPU against CPU", split, on_cpu, ROUNDING))
    rows = [row(name, difference(one, other, start), allowed) for name, one, other, allowed in compared]
    rows.sort(key=lambda row: -row.values[0])  # the first is what a summary shows
    work = f"{config.run.name}, {config.batch.workers} x {config.local_batch(0)} images, {updates} updates, fp32"
    return [Table("Weights by another way", work, "difference", None, tuple(rows))]


if __name__ == "__main__":
    serve("parity", measure)
