"""Logs as `reproduce.engine.train` writes them, made without training."""

import json

from reproduce.events import CONFIG, ENVIRONMENT, PREFIX, RESULT, log_path
from reproduce.recipe import load as configs

RUN = "quick/headline_b800_w20"


def write_log(results, run=RUN, seed=0, top1=0.9, seconds=100.0, hardware="Test CPU, 2 processes x 1 thread", devices=2,
              folder=None, digest=None, stop="success", curve=lambda share: share, device="cpu",
              revision=None, changes=()):  # fmt: skip
    """Write the log of a run of config `run` that took `seconds` and ended at `top1`; returns its path.

    `curve` maps the share of the epochs done to the share of the final accuracy reached; `changes` are overrides.
    """
    config = configs.load_run(run, folder, changes)
    lines, per_epoch = [], seconds / config.schedule.epochs

    def log(at, key, value=None, kind="POINT_IN_TIME", **metadata):
        stamp = 1_700_000_000_000 + round(1000 * at)
        lines.append({"namespace": "", "time_ms": stamp, "event_type": kind, "key": key, "value": value,
                      "metadata": {"file": "x.py", "lineno": 0, **metadata}})  # fmt: skip

    about = {"name": config.run.name, "title": config.run.title, "tier": config.run.tier, "scales_down": None,
             "purpose": config.run.purpose,
             "hash": digest or config.hash, "recipe": config.recipe(), "sources": {}}  # fmt: skip
    log(-2, CONFIG, about)
    log(-2, ENVIRONMENT, {"device": device, "hardware": hardware, "devices": devices, "world_size": devices,
                          "precision": "bf16", "bn_eval": config.batch.bn_eval, "backend": "dali-cpu",
                          "torch": "2.14.1", "python": "3.11", "revision": revision})  # fmt: skip
    log(-2, "seed", seed)
    log(-2, "global_batch_size", config.global_batch())
    log(0, "run_start", kind="INTERVAL_START")
    for epoch in range(1, config.schedule.epochs + 1):
        begin, end = (epoch - 1) * per_epoch, epoch * per_epoch
        log(begin, "epoch_start", kind="INTERVAL_START", epoch_num=epoch)
        log(end, "epoch_stop", kind="INTERVAL_END", epoch_num=epoch, images=config.data.train_images)
        if config.evaluates_after(epoch):
            log(end, "eval_start", kind="INTERVAL_START", epoch_num=epoch)
            log(end, "eval_accuracy", top1 * curve(epoch / config.schedule.epochs), epoch_num=epoch)
            log(end, "eval_stop", kind="INTERVAL_END", epoch_num=epoch)
    log(seconds, RESULT, {"updates": config.total_updates, "weights_sha256": f"{seed:064x}"})
    log(seconds, "run_stop", kind="INTERVAL_END", status=stop, reason="stopped by the test")
    path = log_path(results, config.run.name, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(PREFIX + json.dumps(line) + "\n" for line in lines))
    return path
