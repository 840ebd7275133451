"""``bash reproduce/run_all.sh`` as a command like the others."""

import subprocess
import sys

from tests.helpers import ROOT


def main(argv) -> int:
    done = subprocess.run(["bash", str(ROOT / "reproduce" / "run_all.sh"), *argv], capture_output=True, text=True,
                          errors="backslashreplace")  # fmt: skip
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode
