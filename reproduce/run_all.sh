#!/usr/bin/env bash
# Sets up what is missing, runs every training run of a tier that is not done yet, and draws the tables and figures.
# Try --list, --dry-run, --help: they set nothing up. The work is in reproduce/runner; it calls setup.sh once it has checked
# the options, so that a typing error does not cost a download.
set -euo pipefail

unset CDPATH  # with it, cd prints where it went
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$(bash "$root/reproduce/setup.sh" base)
# -P and PYTHONPATH rather than cd: --out and --data are meant relative to where the user stands
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -P -m reproduce.run_all "$@"
