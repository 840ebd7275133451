#!/usr/bin/env bash
# Sets up what the tests need and runs them; arguments go to pytest (bash tests/run.sh -k lars).
set -euo pipefail

unset CDPATH  # with it, cd may go elsewhere
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(bash reproduce/setup.sh test)
# one thread per process: several training processes share the cores in some tests
OMP_NUM_THREADS=1 exec "$python" -m pytest -q "$@"
