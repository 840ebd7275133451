"""A training run in name only, for test_runner.py: writes a complete log, or fails, or hangs with a child of its own.

python tests/stub_run.py NAME SEED OUT FAILING_NAME HANGING_NAME
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from reproduce import events  # noqa: E402  (the path comes first)
from reproduce.config import load  # noqa: E402


def write_log(out: Path, name: str, seed: int = 1, hash_: str | None = None, status: str = "success") -> None:
    config = load(ROOT / "paper_configs" / f"{name}.toml")
    log = events.LogWriter(events.log_path(out, config.run.name, seed))
    log(events.point(events.CONFIG, {"hash": hash_ or config.hash, "recipe": config.recipe()}))
    log(events.point("seed", seed))
    log(events.start("run_start"))
    for _ in range(config.schedule.epochs):
        log(events.start("epoch_start"))
        log(events.end("epoch_stop", images=1))
    log(events.end("run_stop", status=status))
    log.close()


if __name__ == "__main__":
    name, seed, out, failing, hanging = sys.argv[1:]
    if name == failing:
        sys.exit("error: step 7: the loss is nan")
    if name == hanging:
        child = subprocess.Popen(["sleep", "300"])
        Path(out, "slow_pid").write_text(str(child.pid))
        time.sleep(300)
    write_log(Path(out), name, int(seed))
