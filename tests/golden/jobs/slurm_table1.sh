#!/usr/bin/env bash
#SBATCH --job-name=table1
#SBATCH --output=%x.%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --nodes=256
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --time=00:11:00
#SBATCH --account=gaa50000
# Table 1: training time and top-1 accuracy. Written by reproduce/run_all.sh.
# Expected: 0.3 min (modelled: dgx-h100), 1.1 node-hours.
# rank 0: node 0, local rank 0, GPU 0
# rank 1: node 0, local rank 1, GPU 1
# rank 2: node 0, local rank 2, GPU 2
# rank 3: node 0, local rank 3, GPU 3
# rank 4: node 0, local rank 4, GPU 4
# rank 5: node 0, local rank 5, GPU 5
# rank 6: node 0, local rank 6, GPU 6
# rank 7: node 0, local rank 7, GPU 7
# rank 8: node 1, local rank 0, GPU 0
# rank 9: node 1, local rank 1, GPU 1
# rank 10: node 1, local rank 2, GPU 2
# rank 11: node 1, local rank 3, GPU 3
# rank 12: node 1, local rank 4, GPU 4
# rank 13: node 1, local rank 5, GPU 5
# rank 14: node 1, local rank 6, GPU 6
# rank 15: node 1, local rank 7, GPU 7
# and so on, up to rank 2047 on node 255
set -uo pipefail

root=/repo
out='/scratch/my results'
jobs="$out/jobs"
python=/repo/.venv/bin/python
data=/data/imagenet
attempts="$jobs/table1.attempts"
ended="$jobs/table1.exit"
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

# every node is fit
run srun --nodes=256 --ntasks=2048 --ntasks-per-node=8 --kill-on-bad-exit=1 --cpu-bind=none "$python" -m reproduce.engine.preflight paper_configs/headline_b81920_g2048.toml --data "$data" --out "$out" --min-node-gbit 1200 --min-network-gbit 1400 --gpus-per-node 8 --gpu H100 --report "$jobs/table1.preflight.json" || finish

# what is missing of these runs, one after the other:
#   srun --nodes=256 --ntasks=2048 --ntasks-per-node=8 --kill-on-bad-exit=1 --cpu-bind=none "$python" -m reproduce.engine.train paper_configs/headline_b81920_g2048.toml --seed 1
run "$python" -P -m reproduce.run_all --tier paper --launcher slurm --cluster dgx-h100 --seeds 1 --out "$out" --data "$data" --processes 2048 --inside table1

if [ "$code" = 75 ] && [ "$(wc -l <"$attempts")" -lt 20 ]; then
    scontrol requeue "$SLURM_JOB_ID"
    exit 75
fi
finish
