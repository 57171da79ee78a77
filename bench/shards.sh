#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What train.shard costs and saves: two ranks on two cores, each with the model's batch. A line a model and setting: the
# median step (and the share of it that waits for communication), and rank 0's peak memory, of ROUNDS rounds in turns.
#   bench/shards.sh [PROGRAM [ROUNDS [MODEL ...]]]
set -euo pipefail
program=${1:-build/release/dltrain}
rounds=${2:-5}
shift $(($# < 2 ? $# : 2))
models=("$@")
[ ${#models[@]} -gt 0 ] || models=(mnist-mlp gpt-6x384)
here=$(cd "$(dirname "$0")" && pwd)
for model in "${models[@]}"; do
  config=$here/models/$model.yaml
  batch=$(sed -n 's/.*global_batch_size: \([0-9]*\).*/\1/p' "$config")
  step_ms=$("$program" bench "$config" --steps 3 --warmup 1 | sed -n 's/.*"median": \([0-9]*\).*/\1/p')
  steps=$((1500 / (step_ms + 1) + 4))
  out=$(mktemp -d)
  for _ in $(seq "$rounds"); do
    for shard in none optimizer gradients; do
      mpirun --oversubscribe --bind-to core -n 2 "$program" bench "$config" --steps $steps --warmup 2 \
        --set data.global_batch_size=$((2 * batch)) --set train.leaves=2 --set train.threads=1 \
        --set train.shard=$shard | tr -d '\n' >> "$out/$shard"
      echo >> "$out/$shard"
    done
  done
  for shard in none optimizer gradients; do
    python3 -c '
import json, statistics, sys
runs = [json.loads(line[line.index("{"):]) for line in open(sys.argv[3])]
of = lambda f: statistics.median(map(f, runs))
print("%-10s %-10s %8.2f ms  comm %4.1f %%  %6.1f MiB" % (sys.argv[1], sys.argv[2], of(lambda r: r["step_ms"]["median"]),
      100 * of(lambda r: r["share"]["comm"]), of(lambda r: r["peak_rss_mb"])))' "$model" "$shard" "$out/$shard"
  done
  rm -r "$out"
done
