"""Trains a config: a generator of events, written to an MLPerf log by a sink.

    python -m reproduce.engine.train paper_configs/quick/headline_b800_w20.toml --seed 1 --out results/quick

Several processes by `reproduce.engine.spawn` or torchrun; how many does not change the result beyond the order of
floating-point sums.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from reproduce import config as configs
from reproduce.config import Config
from reproduce.engine.comm import Comm, pick_device
from reproduce.engine.data.loader import Loader, open_loader
from reproduce.engine.environment import compute_precision, describe
from reproduce.engine.model import weights_sha256
from reproduce.engine.progress import Progress, Tick
from reproduce.engine.schedule import Schedule
from reproduce.engine.trainer import Trainer
from reproduce.errors import EXIT_USER_ERROR, DataError, TrainingError, UserError, command
from reproduce.events import CONFIG, ENVIRONMENT, RESULT, Event, LogWriter, end, log_path, point, start


def train(config: Config, seed: int, data: Path, comm: Comm, backend: str = "auto") -> Iterator[Event | Tick]:
    """Run a config from the first update to the last evaluation, yielding MLPerf events and progress ticks.

    The clock of the run is run_start to run_stop: it includes opening the data and all evaluations, and excludes
    process start, building the network and its initialisation (init_start to init_stop). What is timed is preceded
    and followed by a device and process barrier. A `UserError` inside ends the log with status "aborted".
    """
    yield from _header(config)
    yield start("init_start")
    precision = compute_precision(config, comm.device)
    trainer = Trainer(config, seed, comm, precision)
    yield from _hyper_parameters(config, seed, comm)
    comm.synchronise()
    yield end("init_stop")
    yield start("run_start")
    try:
        loader = open_loader(config, data, seed, trainer.workers, comm.rank, comm.world_size, comm.device, backend)
        yield point(ENVIRONMENT, describe(config, comm, precision, loader.backend))
        for epoch in range(config.schedule.epochs):
            yield from _epoch(trainer, loader, epoch)
            if loader.has_accuracy and config.evaluates_after(epoch + 1):
                yield from _evaluation(trainer, loader, epoch + 1)
        loader.close()
    except (DataError, TrainingError) as error:
        yield end("run_stop", status="aborted", reason=str(error))
        raise
    comm.synchronise()
    stopped = time.time_ns()  # the clock stops here; hashing the weights is not part of the run
    result = {"updates": trainer.update, "weights_sha256": weights_sha256(trainer.model), "skipped": loader.skipped}
    yield Event(RESULT, result, at=stopped)
    yield Event("run_stop", None, {"status": "success"}, "INTERVAL_END", at=stopped)


def _epoch(trainer: Trainer, loader: Loader, epoch: int) -> Iterator[Event | Tick]:
    config, first = trainer.config, trainer.update
    trainer.comm.synchronise()
    yield start("epoch_start", epoch_num=epoch + 1)
    loss = yield from trainer.train_epoch(loader, epoch)
    trainer.comm.synchronise()
    images = (trainer.update - first) * config.global_batch(epoch)
    yield end("epoch_stop", epoch_num=epoch + 1, images=images, updates=trainer.update - first, train_loss=loss)


def _evaluation(trainer: Trainer, loader: Loader, epoch: int) -> Iterator[Event]:
    trainer.comm.synchronise()
    yield start("eval_start", epoch_num=epoch)
    correct, images = trainer.evaluate(loader)
    yield point("eval_accuracy", correct / images, epoch_num=epoch, correct=correct, images=images)
    yield end("eval_stop", epoch_num=epoch)


def _header(config: Config) -> Iterator[Event]:
    yield point("cache_clear", False, comment="the page cache is left as it is")
    yield point("submission_benchmark", "resnet")
    yield point("submission_division", "open")
    yield point("submission_org", "reproduction of arXiv 1903.12650")
    yield point("submission_platform", "see reproduce_environment")
    yield point("submission_status", "research")
    sources = {key: [source.kind, source.ref] for key, source in config.sources.items()}
    about = {"name": config.run.name, "title": config.run.title, "tier": config.run.tier}
    about |= {"scales_down": config.run.scales_down, "hash": config.hash, "recipe": config.recipe(), "sources": sources}
    yield point(CONFIG, about)


def _hyper_parameters(config: Config, seed: int, comm: Comm) -> Iterator[Event]:
    """The keys the MLPerf rules ask for, with the values in force (open division: they need not be the rules')."""
    o, s, schedule = config.optimizer, config.schedule, Schedule.of(config)
    adaptive = o.trust_coefficient is not None
    yield point("seed", seed)
    yield point("global_batch_size", config.global_batch())
    yield point("gradient_accumulation_steps", config.batch.workers // comm.world_size)
    yield point("model_bn_span", config.local_batch(0))
    yield point("train_samples", config.data.train_images)
    yield point("eval_samples", config.data.val_images)
    yield point("opt_name", "lars" if adaptive else "sgd")
    prefix = "lars_opt" if adaptive else "sgd_opt"
    yield point(f"{prefix}_base_learning_rate", s.peak_lr)
    yield point(f"{prefix}_end_learning_rate", s.peak_lr * s.end_lr_ratio)
    yield point(f"{prefix}_learning_rate_decay_poly_power", schedule.power)
    yield point(f"{prefix}_learning_rate_decay_steps", schedule.decay_updates)
    yield point(f"{prefix}_learning_rate_warmup_epochs", s.warmup_epochs)
    yield point(f"{prefix}_momentum", o.momentum)
    yield point(f"{prefix}_weight_decay", o.weight_decay)
    if adaptive:
        yield point("lars_epsilon", o.epsilon)


@command
def main(argv=None) -> None:
    parser = argparse.ArgumentParser(prog="python -m reproduce.engine.train", description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="a file in paper_configs/")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/; unused for synthetic")
    parser.add_argument("--out", type=Path, default=Path("results/quick"), help="results folder")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--backend", choices=("auto", "dali", "torchvision"), default="auto", help="data back-end")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a value")
    args = parser.parse_args(argv)
    try:
        run(args)
    except UserError as error:
        if "RANK" not in os.environ:
            raise
        # Most errors strike every process alike. The first speaks and leaves at once, which makes the launcher end the
        # others before they repeat it; an error of one process alone is still said, a little later.
        time.sleep(5.0 if int(os.environ["RANK"]) else 0.0)
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(EXIT_USER_ERROR)


def run(args: argparse.Namespace) -> None:
    """One process of a run, with its sinks; raises `UserError`."""
    config = configs.load(args.config, args.set)
    comm = Comm(pick_device(args.device))
    if comm.device.type == "cpu":
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
        torch.set_flush_denormal(True)  # momenta of silent channels decay into denormals, 50x slower on CPUs
    try:
        sinks = []
        if comm.rank == 0:
            sinks = [
                LogWriter(log_path(args.out, config.run.name, args.seed)),
                Progress(f"{config.run.name} #{args.seed}"),
            ]
        for event in train(config, args.seed, args.data, comm, args.backend):
            for sink in sinks:
                if isinstance(event, Event) or isinstance(sink, Progress):
                    sink(event)
    finally:
        comm.close()


if __name__ == "__main__":
    sys.exit(main())
