"""Trains a config: a generator of events, written to an MLPerf log by a sink.

    python -m reproduce.engine.train paper_configs/quick/headline_b800_w20.toml --seed 1 --out results/quick

Several processes by `reproduce.engine.spawn`, torchrun, srun or mpirun; how many does not change the result beyond the
order of floating-point sums.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from reproduce import environ, presets
from reproduce.engine import warmup
from reproduce.engine.checkpoint import Checkpoints, unpack
from reproduce.engine.data.loader import AnyLoader, open_loader
from reproduce.engine.device import pick_device
from reproduce.engine.dist.binding import bind
from reproduce.engine.dist.comm import Comm
from reproduce.engine.dist.ending import one_of_many
from reproduce.engine.dist.place import Place, check_consecutive
from reproduce.engine.dist.start import check_equal
from reproduce.engine.dist.stop_requests import StopRequests
from reproduce.engine.environment import compute_precision, describe, keep_fp32
from reproduce.engine.execution import Execution, chosen
from reproduce.engine.header import hyper_parameters, submission
from reproduce.engine.progress import Tick
from reproduce.engine.record import Record, Snapshot
from reproduce.engine.trainer import Trainer
from reproduce.errors import CheckpointError, ConfigError, DataError, Preempted, TrainingError, command
from reproduce.events import ENVIRONMENT, RESULT, RESUMED, Event, checkpoint_folder, end, point, start
from reproduce.recipe import load as configs
from reproduce.recipe.load import Config
from reproduce.words import Parser

LONGEST = 10_000_000  # seconds, four months


def train(
    config: Config, seed: int, data: Path, comm: Comm, backend: str = "auto", stop_requests: StopRequests | None = None,
    resume: dict | None = None, execution: Execution | None = None, started: dict | None = None,
    pass_images: int | None = None,
) -> Iterator[Event | Tick | Snapshot]:  # fmt: skip
    """Run a config from the first update, or from a snapshot's state, to the last evaluation.

    Yields MLPerf events, a tick per update, and a snapshot when `stop_requests` say so and at the very end. The clock
    of the run is run_start to run_stop: it includes reading the data and all evaluations, and excludes process start,
    building the network, its initialisation and listing the data's files (init_start to init_stop). What is timed is
    preceded and followed by a device and process barrier. A `UserError` inside ends the log with status "aborted";
    `Preempted` does not end it. `started` says how this process was, for the log. A pass of the network takes whole
    workers, of `pass_images` images at most; None: by the memory there is.
    """
    if not resume:
        yield from submission(config, data)
        yield start("init_start")
    precision = compute_precision(config, comm.device)
    keep_fp32(precision)
    trainer = Trainer(config, seed, comm, precision, stop_requests, execution)
    if resume:
        trainer.load_state(resume)
    else:
        yield from hyper_parameters(config, seed, comm)
    try:
        size = pass_images or warmup.pass_images(config, comm, precision)
        if warmup.needs_warm_up(trainer):  # before the loader has threads of its own on the device
            warmup.warm_up(trainer, size)
        place = comm.rank, comm.world_size, comm.device
        loader = open_loader(config, data, seed, trainer.workers, *place, backend, size)
        check_data(loader.identity, resume, comm, data)
        comm.synchronise()
        if not resume:
            yield end("init_stop")
            yield start("run_start")
        environment = describe(config, comm, precision, loader.backend) | {"data_sha256": loader.identity}
        environment |= {"startup": trainer.startup, "gradient_groups": trainer.gradients.table(), "pass_images": size}
        environment |= {"execution": trainer.execution.facts() | {"lars": trainer.optimizer.name}} | (started or {})
        if resume:
            loader.mark_bad(resume["bad"])
            yield point(RESUMED, environment, update=trainer.update, epoch_num=trainer.epoch + 1)
        else:
            yield point(ENVIRONMENT, environment)
        while trainer.epoch < config.schedule.epochs:
            yield from _epoch(trainer, loader, resumed=bool(resume))
            resume = None
            if loader.has_accuracy and config.evaluates_after(trainer.epoch):
                yield from _evaluation(trainer, loader)
        bad = _bad(trainer, loader)
        loader.close()
        comm.synchronise()
        stopped = time.time_ns()  # the clock stops here; what follows is not of the run
        digest = check_equal(trainer.model, comm)
    except (DataError, TrainingError) as error:
        yield end("run_stop", status="aborted", reason=str(error))
        raise
    except Preempted:  # all processes stop together, and disconnect
        trainer.close()
        raise
    result = {"updates": trainer.update, "weights_sha256": digest, "skipped": sum(map(len, bad))}
    yield Event(RESULT, result, at=stopped)
    yield Event("run_stop", None, {"status": "success"}, "INTERVAL_END", at=stopped)
    yield _snapshot(trainer, loader, bad)
    trainer.close()


def _epoch(trainer: Trainer, loader: AnyLoader, resumed: bool) -> Iterator[Event | Tick | Snapshot]:
    config, epoch = trainer.config, trainer.epoch
    trainer.comm.synchronise()
    if not (resumed and trainer.losses):  # else the log has it
        yield start("epoch_start", epoch_num=epoch + 1)
    for tick in trainer.train_epoch(loader):
        yield tick
        if trainer.stop_due or trainer.save_due:
            yield _snapshot(trainer, loader, _bad(trainer, loader))
        if trainer.stop_due:
            # mpirun and srun may kill what is left soon after the first has gone: not while rank 0 writes
            trainer.comm.synchronise()
            raise Preempted(
                f"{config.path}: stopped as asked after update {tick.update} of {tick.total}, with a checkpoint: run "
                "the same command again to go on"
            )
    loss = trainer.end_epoch()
    trainer.comm.synchronise()
    updates = config.epoch_updates()[epoch]
    images = updates * config.global_batch(epoch)
    yield end("epoch_stop", epoch_num=epoch + 1, images=images, updates=updates, train_loss=loss)


def _evaluation(trainer: Trainer, loader: AnyLoader) -> Iterator[Event]:
    trainer.comm.synchronise()
    yield start("eval_start", epoch_num=trainer.epoch)
    correct, images = trainer.evaluate(loader)
    yield point("eval_accuracy", correct / images, epoch_num=trainer.epoch, correct=correct, images=images)
    yield end("eval_stop", epoch_num=trainer.epoch)


def _bad(trainer: Trainer, loader: AnyLoader) -> list[list[int]]:
    """The corrupt images of both splits that any process has met and left out, by number."""
    if trainer.config.data.corrupt_images != "skip":
        return [[], []]
    return [trainer.comm.union(bad) for bad in loader.bad]


def _snapshot(trainer: Trainer, loader: AnyLoader, bad: list[list[int]]) -> Snapshot:
    state = trainer.state()
    return Snapshot(state | {"bad": bad, "data": loader.identity} if state else None, trainer.update)


def check_data(identity: str, resume: dict | None, comm: Comm, data: Path) -> None:
    """Raise unless this run's data is what its checkpoint was trained on, and the same in all processes."""
    before = resume.get("data", identity) if resume else identity  # None was kept by earlier versions
    if before != identity:
        raise CheckpointError(f"{data}: its files or their labels differ from those the checkpoint was trained on: "
                              "give the data of the first call, or add --restart")  # fmt: skip
    rank = comm.first_to_differ(identity.encode())
    if rank is not None:
        raise DataError(f"{data}: rank {rank} finds other files or labels than rank 0: give every node the same data")


def check_apart(out: Path, data: Path) -> None:
    """Raise `ConfigError` for results that would lie among the images."""
    inside, around = Path(os.path.realpath(out)), Path(os.path.realpath(data))
    if around in (inside, *inside.parents):
        raise ConfigError(f"--out {out}: lies in --data {data}: name a folder outside of the data")


@command
def main(argv=None) -> None:
    parser = Parser(prog="python -m reproduce.engine.train", description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="a file in paper_configs/")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/; unused for synthetic")
    parser.add_argument("--out", type=Path, default=Path("results/quick"), help="results folder")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--execution", metavar="PRESET", help="reference or fast, see `python -m reproduce.presets`; "
        "with changes: fast,lars=foreach (default: fast on a GPU, else reference)")  # fmt: skip
    for name in ("lars", "batch-norm"):
        parser.add_argument(f"--{name}", choices=presets.CHOICES[name], help="this choice of the preset by itself")
    parser.add_argument("--backend", choices=presets.CHOICES["data"], help="data back-end (default: the preset's)")
    parser.add_argument("--cuda-graph", action="store_true", help="replay a recorded update; needs --lars compiled")
    parser.add_argument("--pass-images", type=int, metavar="N", help=f"images in one pass of the network, at most "
        f"(default: up to {presets.PASS_IMAGES}, by the free memory of the GPU)")  # fmt: skip
    parser.add_argument("--checkpoint-every", type=float, default=0.0, metavar="SECONDS", help="0 (default): only at "
        "the end, and when SIGTERM or SIGUSR1 asks to stop")  # fmt: skip
    parser.add_argument("--keep", type=int, default=2, metavar="K", help="checkpoints to keep (default: 2)")
    parser.add_argument("--restart", action="store_true", help="from the beginning, whatever checkpoints there are")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="how long a process waits for "
        "the others before it ends the run (default: 300)")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a value")
    parser.add_argument("--variant", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a number "
        "or truth value and name the run by it, so that it has a log of its own")  # fmt: skip
    args = parser.parse_args(argv)
    with one_of_many() as place:
        run(args, place)


def changes(args: argparse.Namespace) -> dict[str, str]:
    """The choices of the preset that were given by options of their own."""
    own = {"lars": args.lars, "batch-norm": args.batch_norm, "data": args.backend}
    own["cuda-graph"] = "on" if args.cuda_graph else None
    return {key: value for key, value in own.items() if value is not None}


def run(args: argparse.Namespace, place: Place) -> None:
    """One process of a run, with its sinks; raises `UserError`."""
    if args.keep < 1 or not 0 <= args.checkpoint_every <= LONGEST or not 0 < args.timeout <= LONGEST:
        raise ConfigError(f"--keep must be at least 1, --checkpoint-every from 0 to {LONGEST:,} seconds and --timeout "
                          f"above 0 and at most {LONGEST:,} seconds")  # fmt: skip
    if args.pass_images is not None and args.pass_images < 1:
        raise ConfigError(f"--pass-images {args.pass_images}: must be at least 1")
    config = configs.load(args.config, args.set, args.variant)
    if config.data.dataset != "synthetic":
        check_apart(args.out, args.data)
    if config.communication.allreduce == "two_stage":
        check_consecutive(place)
    started = {"launcher": place.launcher, "binding": bind(place.local_rank)}  # rank 0's: its log is the run's
    device = pick_device(args.device, place.local_rank)
    workers = config.batch.workers // place.world_size
    execution, backend = chosen(args.execution, device.type, workers, changes(args))
    comm = Comm(device, config.communication.allreduce, args.timeout, place)
    if comm.device.type == "cpu":
        torch.set_num_threads(environ.omp_threads() or 1)
        torch.set_flush_denormal(True)  # momenta of silent channels decay into denormals, 50x slower on CPUs
    else:
        torch.backends.cudnn.benchmark = True  # sizes stay the same for a whole phase of the local batch
    stop_requests = StopRequests(args.checkpoint_every if comm.rank == 0 else 0.0)
    stop_requests.heed_signals()
    folder, record = checkpoint_folder(args.out, config.run.name, args.seed), None
    with comm:
        try:
            record = Record(config, args.seed, args.out, Checkpoints(folder, args.keep)) if comm.rank == 0 else None
            goes_on = not args.restart
            if comm.broadcast_bytes(b"complete" if record and goes_on and record.is_complete() else None):
                return
            found = comm.broadcast_bytes(record.resume() if record and goes_on else None)
            resume = unpack(found) if found else None
            if record:
                record.open(resume)
            for event in train(config, args.seed, args.data, comm, backend, stop_requests, resume, execution, started,
                               args.pass_images):  # fmt: skip
                if record:
                    record(event)
        finally:
            if record:
                record.close()


if __name__ == "__main__":
    sys.exit(main())
