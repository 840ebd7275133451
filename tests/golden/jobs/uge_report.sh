#!/usr/bin/env bash
#$ -N report
#$ -S /bin/bash
#$ -cwd
#$ -j y
#$ -r y
#$ -notify
#$ -l rt_C.small=1
#$ -l h_rt=00:10:00
#$ -g gaa50000
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
echo "$(date) $(hostname) ${JOB_ID:-}" >>"$attempts"

export NCCL_BUFFSIZE=2097152
export NCCL_MIN_NCHANNELS=4
export NCCL_MAX_NCHANNELS=16
export NCCL_NET_GDR_READ=1
export REPRODUCE_NUMA=0,0,1,1
export REPRODUCE_HCA=mlx5_0,mlx5_0,mlx5_1,mlx5_1
ulimit -n "$(ulimit -H -n)"
export PYTHONPATH="$root"
export MASTER_ADDR=$(hostname)
number=${JOB_ID%%[!0-9]*}
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
run "$python" -P -m reproduce.run_all --tier paper --launcher uge --cluster abci --seeds 1 --out "$out" --data "$data" --draw

finish
