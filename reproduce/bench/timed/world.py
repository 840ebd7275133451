"""The exchange of gradients in a world of one: through NCCL for real, recorded in a graph, and disconnected in order.

With one GPU there is nobody to exchange with. But NCCL sums among as many as there are, and one will do to see that
collectives are recorded and replayed, and that disconnecting does not wait for a graph that holds them. On a CPU gloo
takes NCCL's place, and a function that of the graph.
"""

import torch
import torch.distributed as dist

from reproduce.bench.contest import Row, Table
from reproduce.bench.timed.contenders import Ours
from reproduce.bench.timed.entry import serve
from reproduce.bench.timed.turns import seconds
from reproduce.engine.dist.comm import Comm
from reproduce.engine.environment import compute_precision
from reproduce.engine.execution import Execution
from reproduce.engine.graph import WARM_UP, GraphedUpdate
from reproduce.errors import TrainingError
from reproduce.recipe import load as configs

REPLAYS = 5


class Alone(Comm):
    """The only process there is, which counts as the first of two: so it sends its gradients, and gets them back."""

    def __init__(self, device: torch.device):
        super().__init__(device)
        gpu = device if device.type == "cuda" else None
        dist.init_process_group("nccl" if gpu else "gloo", store=dist.HashStore(), rank=0, world_size=1, device_id=gpu)
        self.world_size = 2

    def gather(self, row: torch.Tensor) -> torch.Tensor:
        return torch.stack([row, row])


def measure(request: dict, device: torch.device) -> list[Table]:
    """request: "config", "overrides" (of two workers, of which this process has one)."""
    config = configs.load(request["config"], request["overrides"])
    comm = Alone(device)
    on_gpu = device.type == "cuda"
    ours = Ours(config, device, compute_precision(config, device), comm=comm,
                execution=Execution(lars="compiled", cuda_graph=on_gpu))  # fmt: skip
    trainer = ours.trainer
    if not on_gpu:
        trainer.take = GraphedUpdate(trainer, lambda body: body)
    plain = [1e3 * seconds(ours.step, device) for _ in range(WARM_UP)]
    record = 1e3 * seconds(ours.step, device)
    replayed = [1e3 * seconds(ours.step, device) for _ in range(REPLAYS)]
    if not torch.stack(trainer.losses).isfinite().all():
        raise TrainingError("world: a loss is not finite after updates whose gradients went through a world of one")

    def close() -> None:
        trainer.close()  # with it the graph, which must go before the communicators
        comm.close()

    closed = 1e3 * seconds(close, device)
    rows = (Row("update replayed", "ours", tuple(replayed)), Row("update recorded", "ours", (record,)),
            Row("update before, not the first", "ours", tuple(plain[1:])),
            Row("disconnected", "ours", (closed,)))  # fmt: skip
    work = f"{config.run.name}, {'NCCL and a CUDA graph' if on_gpu else 'gloo and a stand-in for the graph'}"
    return [Table("A world of one", work, "ms", None, rows)]


if __name__ == "__main__":
    serve("world", measure)
