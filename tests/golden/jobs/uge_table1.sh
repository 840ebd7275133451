#!/usr/bin/env bash
#$ -N table1
#$ -S /bin/bash
#$ -cwd
#$ -j y
#$ -r y
#$ -notify
#$ -l rt_F=512
#$ -l h_rt=00:33:00
#$ -g gaa50000
# Table 1: training time and top-1 accuracy. Written by reproduce/run_all.sh.
# Expected: 1.1 min (modelled: abci), 9.8 node-hours.
# rank 0: node 0, local rank 0, GPU 0, NUMA node 0, adapter mlx5_0
# rank 1: node 0, local rank 1, GPU 1, NUMA node 0, adapter mlx5_0
# rank 2: node 0, local rank 2, GPU 2, NUMA node 1, adapter mlx5_1
# rank 3: node 0, local rank 3, GPU 3, NUMA node 1, adapter mlx5_1
# rank 4: node 1, local rank 0, GPU 0, NUMA node 0, adapter mlx5_0
# rank 5: node 1, local rank 1, GPU 1, NUMA node 0, adapter mlx5_0
# rank 6: node 1, local rank 2, GPU 2, NUMA node 1, adapter mlx5_1
# rank 7: node 1, local rank 3, GPU 3, NUMA node 1, adapter mlx5_1
# and so on, up to rank 2047 on node 511
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

# every node is fit
run mpirun -np 2048 --map-by ppr:4:node --bind-to none -x NCCL_BUFFSIZE -x NCCL_MIN_NCHANNELS -x NCCL_MAX_NCHANNELS -x NCCL_NET_GDR_READ -x REPRODUCE_NUMA -x REPRODUCE_HCA -x MASTER_ADDR -x MASTER_PORT -x PYTHONPATH ${SGE_JOB_HOSTLIST:+--hostfile "$SGE_JOB_HOSTLIST"} "$python" -m reproduce.engine.preflight paper_configs/headline_b81920_g2048.toml --data "$data" --out "$out" --min-node-gbit 480 --min-network-gbit 88 --gpus-per-node 4 --gpu V100 --scratch "$SGE_LOCALDIR" --report "$jobs/table1.preflight.json" || finish

# the data goes to storage of the node's own
run mpirun -np 512 --map-by ppr:1:node --bind-to none -x NCCL_BUFFSIZE -x NCCL_MIN_NCHANNELS -x NCCL_MAX_NCHANNELS -x NCCL_NET_GDR_READ -x REPRODUCE_NUMA -x REPRODUCE_HCA -x MASTER_ADDR -x MASTER_PORT -x PYTHONPATH ${SGE_JOB_HOSTLIST:+--hostfile "$SGE_JOB_HOSTLIST"} "$python" -m reproduce.engine.data.stage --from "$data" --to "$SGE_LOCALDIR/imagenet" --drop-caches || finish
data="$SGE_LOCALDIR/imagenet"

# what is missing of these runs, one after the other:
#   mpirun -np 2048 --map-by ppr:4:node --bind-to none -x NCCL_BUFFSIZE -x NCCL_MIN_NCHANNELS -x NCCL_MAX_NCHANNELS -x NCCL_NET_GDR_READ -x REPRODUCE_NUMA -x REPRODUCE_HCA -x MASTER_ADDR -x MASTER_PORT -x PYTHONPATH ${SGE_JOB_HOSTLIST:+--hostfile "$SGE_JOB_HOSTLIST"} "$python" -m reproduce.engine.train paper_configs/headline_b81920_g2048.toml --seed 1
run "$python" -P -m reproduce.run_all --tier paper --launcher uge --cluster abci --seeds 1 --out "$out" --data "$data" --processes 2048 --inside table1

if [ "$code" = 75 ] && [ "$(wc -l <"$attempts")" -lt 20 ]; then
    exit 99
fi
finish
