"""Runs what is missing of a tier, then draws its tables and figures. `bash reproduce/run_all.sh` calls this."""

import sys

from reproduce.artefacts import ARTEFACTS
from reproduce.runner import main as runner


def main(argv=None) -> int:
    return runner.main(argv, ARTEFACTS)


if __name__ == "__main__":
    sys.exit(main())
