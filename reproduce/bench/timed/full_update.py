"""Whole updates of the paper's recipe on one device, and the hours of tier node that follow.

All 2,048 workers are emulated: an update is so many passes of the network, and the optimizer's step once.
"""

import torch

from reproduce.bench.contest import Row, Table
from reproduce.bench.timed.contenders import Ours
from reproduce.bench.timed.entry import serve
from reproduce.bench.timed.turns import seconds
from reproduce.engine.dist.comm import Comm
from reproduce.engine.environment import compute_precision
from reproduce.engine.execution import chosen
from reproduce.engine.warmup import pass_images
from reproduce.recipe import load as configs


def measure(request: dict, device: torch.device) -> list[Table]:
    """request: "config", "overrides", "updates", the first of which compiles and is not counted."""
    config = configs.load(request["config"], request["overrides"])
    precision = compute_precision(config, device)
    # a recording is made after three updates: too long to wait for here, and nothing to gain by it in so many passes
    execution, _ = chosen(None, device.type, config.batch.workers, {"cuda-graph": "off"})
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    comm = Comm(device)
    images = pass_images(config, comm, precision)
    ours = Ours(config, device, precision, images, comm=comm, execution=execution)
    first, *counted = [seconds(ours.step, device) for _ in range(request["updates"])]
    rate = ours.images * len(counted) / sum(counted)
    hours = config.total_updates * sum(counted) / len(counted) / 3600
    work = f"{config.batch.workers:,} x {config.local_batch(0)} images of {config.data.image_size} x "
    work += f"{config.data.image_size}, {precision}, up to {images} a pass, execution {execution.preset}, one device"
    updates = (Row("an update", "ours", tuple(counted), f"{rate:,.0f} images/s"), Row("the first", "ours", (first,)))
    node = (Row("one device", "ours", (hours,), f"{config.total_updates:,} updates of that length; no evaluation, no "
                "reading"),)  # fmt: skip
    memory = [] if device.type == "cpu" else [Table("Memory of whole updates", work, "MB", None, (
        Row("peak", "ours", (torch.cuda.max_memory_allocated(device) / 1e6,)),))]  # fmt: skip
    return [Table("Whole updates", work, "s", None, updates), Table("Hours of the recipe", work, "h", None, node),
            *memory]  # fmt: skip


if __name__ == "__main__":
    serve("full_update", measure)
