#!/usr/bin/env bash
# Sets up what the tests need and runs them; arguments go to pytest (bash tests/run.sh -k lars).
#
# As many processes as processors, and two more as many tests wait, run a file of tests each; those marked `serial` run
# with no other beside them. NUM_TESTERS=1 runs all one after another.
set -euo pipefail

unset CDPATH  # with it, cd may go elsewhere
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(bash reproduce/setup.sh test)
processors=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
testers=${NUM_TESTERS:-$((processors < 6 ? processors + 2 : 8))}
if [ "$testers" -gt 1 ]; then set -- -n "$testers" --dist loadfile --no-loadscope-reorder "$@"; fi
unset PYTHONDONTWRITEBYTECODE  # else hundreds of processes would compile the same modules again and again
# one thread per process: several training processes share the cores in some tests
OMP_NUM_THREADS=1 exec "$python" -m pytest -q "$@"
