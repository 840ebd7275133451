#!/usr/bin/env bash
#SBATCH --job-name=report
#SBATCH --output=%x.%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --time=00:10:00
#SBATCH --account=gaa50000
# tables and figures. Written by reproduce/run_all.sh.
set -uo pipefail

root=/repo
out='/scratch/my results'
jobs="$out/jobs"
python=/repo/.venv/bin/python
data=/data/imagenet
attempts="$jobs/report.attempts"
ended="$jobs/report.exit"
cd "$root" || exit 1
rm -f "$ended"
echo "$(date) $(hostname) ${SLURM_JOB_ID:-}" >>"$attempts"

ulimit -n "$(ulimit -H -n)"
export PYTHONPATH="$root"
export MASTER_ADDR=$(hostname)
number=${SLURM_JOB_ID%%[!0-9]*}
export MASTER_PORT=$((20000 + number % 12000))

child=""
trap 'test -z "$child" || kill -TERM "$child" 2>/dev/null' TERM USR1 USR2
run() {
    "$@" &
    child=$!
    while kill -0 "$child" 2>/dev/null; do wait "$child"; done
    wait "$child"
    code=$?
    child=""
    return "$code"
}
finish() {
    echo "$code" >"$ended.new" && mv "$ended.new" "$ended"
    exit "$code"
}

PATH="${python%/*}:$PATH"
run "$python" -P -m reproduce.run_all --tier paper --launcher slurm --cluster dgx-h100 --seeds 1 --out "$out" --data "$data" --draw

finish
