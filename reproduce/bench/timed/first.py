"""From the start of a process to its first finished update: a contender of `timed/startup.py`, alone in its process.

Imports at first what Python itself has loaded anyway. The request's "began" is when the process was started, by
`time.monotonic`, whose clock the processes of a machine share; "out" gets the moments at which the stages ended.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

STAGES = ("interpreter and imports", "network and weights", "data", "first update")


def ours(request: dict, ended: Callable[[], None]) -> None:
    """As a run begins: `Trainer` draws the weights and checks them, and the loader opens."""
    from reproduce.engine.data.loader import open_loader
    from reproduce.engine.device import pick_device
    from reproduce.engine.dist.comm import Comm
    from reproduce.engine.execution import Execution
    from reproduce.engine.trainer import Trainer
    from reproduce.recipe import load as configs

    ended()
    config = configs.load(request["config"], request["overrides"])
    comm = Comm(pick_device(request["device"]))
    execution = Execution(**request.get("execution", {}))
    trainer = Trainer(config, 1, comm, request["precision"], execution=execution)
    comm.synchronise()
    ended()
    loader = open_loader(config, Path(), 1, trainer.workers, comm.rank, comm.world_size, comm.device)
    comm.synchronise()
    ended()
    next(trainer.train_epoch(loader))
    comm.synchronise()
    ended()


def plain(request: dict, ended: Callable[[], None]) -> None:
    """The shortest script in PyTorch: "network" and "optimizer" are functions of `timed/plain.py`.

    Its "modules" are imported, "images" [N, C, H, W] of noise made, and trained on once, "pass_images" at a time.
    """
    import torch

    from reproduce.bench.timed import plain as loops

    for name in request["modules"]:
        importlib.import_module(name)
    ended()
    device = torch.device(request["device"])
    network = getattr(loops, request["network"])(*request["arguments"]).to(device)
    ended()
    images, labels = torch.randn(request["images"]), torch.randint(request["classes"], request["images"][:1])
    optimizer = getattr(loops, request["optimizer"])
    loop = loops.Plain(network, optimizer, images.to(device), labels.to(device), request["precision"],
                       channels_last=True, pass_images=request["pass_images"])  # fmt: skip
    ended()
    loop.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    ended()


def main() -> None:
    request = json.loads(sys.argv[1])
    moments: list[float] = []
    {"ours": ours, "plain": plain}[request["who"]](request, lambda: moments.append(time.monotonic()))
    Path(request["out"]).write_text(json.dumps(moments))


if __name__ == "__main__":
    main()
