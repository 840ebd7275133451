"""A training run in name only, for test_runner.py: writes a complete log, fails, is interrupted, or hangs with a child.

python tests/helpers/stub_run.py NAME SEED OUT FAILING_NAME HANGING_NAME INTERRUPTIONS

INTERRUPTIONS is how the first calls end: "75+ 76 -9 2 done76" stands for an exit code after a checkpoint, one without,
a signal, a user error, and an exit code although the log is complete; after them a call ends well.
"""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from reproduce import events  # noqa: E402  (the path comes first)
from reproduce.recipe.load import load_run  # noqa: E402
from reproduce.recipe.schema import digest  # noqa: E402


def write_log(out: Path, name: str, seed: int = 1, stale: bool = False, status: str = "success") -> None:
    config = load_run(name)
    recipe = config.recipe() | ({"batch": config.recipe()["batch"] | {"recalibration_updates": 99}} if stale else {})
    log = events.LogWriter(events.log_path(out, config.run.name, seed))
    at, moment = time.time_ns(), 10**6
    for event in story(config, {"hash": digest(recipe), "recipe": recipe}, seed, status):
        at += moment
        log(replace(event, at=at))
    log.close()


def story(config, about: dict, seed: int, status: str):
    yield events.point(events.CONFIG, about)
    yield events.point("seed", seed)
    yield events.point(events.ENVIRONMENT, {"devices": config.batch.workers, "hardware": "a stub"})
    yield events.start("run_start")
    for epoch in range(1, config.schedule.epochs + 1):
        yield events.start("epoch_start", epoch_num=epoch)
        yield events.end("epoch_stop", epoch_num=epoch, images=config.data.train_images)
        if config.evaluates_after(epoch):
            yield events.point("eval_accuracy", 0.5, epoch_num=epoch)
    yield events.point(events.RESULT, {"updates": config.total_updates})
    yield events.end("run_stop", status=status)


def interrupt(out: Path, name: str, seed: int, interruptions: list[str]) -> None:
    """End as the next of `interruptions` says, if there is one."""
    counter = out / f"calls_{Path(name).name}"
    call = len(counter.read_text()) if counter.exists() else 0
    counter.write_text("x" * (call + 1))
    if call >= len(interruptions):
        return
    how = interruptions[call]
    if how.endswith("+"):
        folder = events.checkpoint_folder(out, load_run(name).run.name, seed)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"update_{10 * call + 10:08d}.ckpt").write_text("")
    if how.startswith("done"):
        write_log(out, name, seed)
    code = int(how.removesuffix("+").removeprefix("done"))
    os.kill(os.getpid(), -code) if code < 0 else os._exit(code)


if __name__ == "__main__":
    name, seed, out, failing, hanging, interruptions = sys.argv[1:]
    if name == failing:
        sys.exit("error: step 7: the loss is nan")
    if name == hanging:
        child = subprocess.Popen(["sleep", "300"])
        Path(out, "slow_pid").write_text(str(child.pid))
        time.sleep(300)
    interrupt(Path(out), name, int(seed), interruptions.split())
    write_log(Path(out), name, int(seed))
