"""A few updates of the quick regression's recipe as numbers, so that a change of mathematics is noticed at once.

    python -m tests.make_golden            # writes tests/golden/first_steps_DEVICE.json
    python -m tests.make_golden --show     # prints by how much this machine differs from the stored numbers

Make them anew only after a change that is meant to change the mathematics, and say in the commit which one. The images
are computed here, so neither a data set nor a data back-end has a part in the numbers.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from reproduce.engine.data.loader import Chunk  # noqa: E402
from reproduce.engine.device import pick_device  # noqa: E402
from reproduce.engine.dist.comm import Comm  # noqa: E402
from reproduce.engine.environment import machine  # noqa: E402
from reproduce.engine.execution import Execution  # noqa: E402
from reproduce.engine.trainer import Trainer  # noqa: E402
from reproduce.recipe import load as configs  # noqa: E402

CONFIG = "paper_configs/quick/regression_b160_w4.toml"
# small enough for a second, with a warm-up of 24 updates: the first ones are large enough to be seen in fp32
OVERRIDES = ["batch.local_batch=8", "data.train_images=320", 'precision.compute="fp32"']
SEED, FIRST = 1, 3
# Rounding differs between processors and versions of torch: convolutions without vector instructions, or by another
# library, gave up to 1e-4. The mildest of tests/mutations.py that shows here, epsilon 1e-3, gives 4e-3.
TOLERANCE = 5e-4


def path(device: str) -> Path:
    return ROOT / f"tests/golden/first_steps_{device}.json"


def images(update: int, workers: int, local: int, size: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """float32 [workers * local, 1, size, size] and labels: waves of a class's own frequencies, and noise.

    From Philox's raw numbers, which NumPy promises not to change.
    """
    count = workers * local
    raw = np.random.Philox(key=update).random_raw(count * (1 + size * size)).reshape(count, -1)
    labels = (raw[:, 0] % classes).astype(np.int64)
    noise = ((raw[:, 1:] >> np.uint64(40)).astype(np.float64) / 2**24 - 0.5).reshape(count, size, size)
    y, x = np.mgrid[:size, :size] * (2 * math.pi / size)
    waves = [np.sin((1 + label % 5) * x + (1 + label // 5) * y) for label in labels]
    pixels = torch.from_numpy((np.stack(waves) + noise)[:, None].astype(np.float32))
    return pixels.to(memory_format=torch.channels_last), torch.from_numpy(labels)


def first_steps(device: str = "cpu", lars: str = "auto") -> list[dict]:
    """Per update: mean loss, norm of the mean gradient, and per tensor how far it has moved as [norm, projection].

    The projection is on fixed signs, so a change of direction shows as well as one of length. The last entry also has
    the norms of the running statistics that evaluate. Two passes per update, of two workers each. The first three
    updates of the schedule, then one from the middle of its decay.
    """
    config = configs.load(ROOT / CONFIG, OVERRIDES)
    comm = Comm(pick_device(device), config.communication.allreduce, 300.0)
    trainer = Trainer(config, SEED, comm, "fp32", execution=Execution(lars))
    trainer.model.train()
    begin = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    workers, local, found = config.batch.workers, config.local_batch(0), []
    middle = trainer.schedule.warmup + trainer.schedule.decay_updates // 2
    for update in [*range(FIRST), middle]:
        trainer.update = update
        pixels, labels = images(update, workers, local, config.data.image_size, config.data.classes)
        parts = [range(0, workers // 2), range(workers // 2, workers)]
        rows = [slice(part.start * local, part.stop * local) for part in parts]
        chunks = [Chunk(update, part, pixels[row].to(comm.device), labels[row].to(comm.device), part is parts[-1])
                  for part, row in zip(parts, rows)]  # fmt: skip
        found.append(_take(trainer, chunks, config.global_batch()))
        found[-1]["moved"] = {name: _moved(p.detach() - begin[name]) for name, p in trainer.model.named_parameters()}
    found[-1]["statistics"] = [row.double().norm().item() for row in trainer.statistics.mean(comm)]
    trainer.gradients.close()
    return found


def _take(trainer: Trainer, chunks: list[Chunk], global_batch: int) -> dict:
    for chunk in chunks:
        if chunk.last:
            trainer.prepare(global_batch)
        trainer.accumulate(chunk)
    sums = torch.stack([p.grad.double().norm() for p in trainer.model.parameters()])
    loss = trainer.finish(global_batch)[0].item()
    return {"loss": loss, "gradient_norm": sums.norm().item() / global_batch}


def _moved(difference: torch.Tensor) -> list[float]:
    d = difference.double().flatten().cpu()
    signs = torch.from_numpy((np.random.Philox(key=7).random_raw(d.numel()) & np.uint64(1)).astype(np.float64)) * 2 - 1
    return [d.norm().item(), (d @ signs).item() / math.sqrt(d.numel())]


def deviations(found: list[dict], stored: list[dict]) -> dict[str, float]:
    """Relative deviation of each number; a projection's is relative to its tensor's norm."""
    result = {}
    for update, (one, other) in enumerate(zip(found, stored, strict=True), 1):
        for key in ("loss", "gradient_norm"):
            result[f"{key}, update {update}"] = abs(one[key] - other[key]) / abs(other[key])
        for name, (norm, projection) in other["moved"].items():
            mine = one["moved"][name]
            largest = max(abs(mine[0] - norm), abs(mine[1] - projection))
            result[f"{name}, update {update}"] = largest / norm if norm else math.inf if largest else 0.0
        for name, mine, theirs in zip(("means", "variances"), one.get("statistics", ()), other.get("statistics", ())):
            result[f"running {name}, update {update}"] = abs(mine - theirs) / theirs
    return result


def worst(found: list[dict], stored: list[dict]) -> tuple[str, float]:
    """The first number beyond `TOLERANCE`, else the one that deviates most. NaN counts as beyond."""
    all_of_them = deviations(found, stored)
    beyond = [(name, value) for name, value in all_of_them.items() if not value <= TOLERANCE]
    return beyond[0] if beyond else max(all_of_them.items(), key=lambda pair: pair[1])


def read(device: str = "cpu") -> dict:
    return json.loads(path(device).read_text(encoding="utf-8"))


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.make_golden", description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--show", action="store_true", help="compare with the stored numbers, write nothing")
    args = parser.parse_args(argv)
    found = first_steps(args.device)
    if args.show:
        name, value = worst(found, read(args.device)["updates"])
        print(f"{name}: {value:.1e} (tolerance {TOLERANCE:g})")
        return
    about = {"command": f"python -m tests.make_golden --device {args.device}", "config": CONFIG, "overrides": OVERRIDES}
    about |= {"hash": configs.load(ROOT / CONFIG, OVERRIDES).hash, "seed": SEED, "precision": "fp32"}
    about |= {"device": args.device} | machine(torch.device(args.device))
    text = json.dumps({"about": about, "tolerance": TOLERANCE, "updates": found}, indent=1)
    path(args.device).write_text(text + "\n", encoding="utf-8")
    print(f"wrote {path(args.device)}")


if __name__ == "__main__":
    main()
