#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two ranks on two cores against one rank on one, each rank with the model's batch: the ratio of samples a second, the
# median of ROUNDS rounds in which both ran in turns.
#   bench/two_ranks.sh [PROGRAM [ROUNDS [MODEL ...]]]
set -euo pipefail
program=${1:-build/release/dltrain}
rounds=${2:-5}
shift $(($# < 2 ? $# : 2))
models=("$@")
[ ${#models[@]} -gt 0 ] || models=(mnist-mlp lenet5 char-lstm char-gpt gpt-6x384 resnet18)
here=$(cd "$(dirname "$0")" && pwd)
speed() { python3 -c 'import json,sys; t = sys.stdin.read(); print(json.loads(t[t.index("{"):])["samples_per_s"])'; }
for model in "${models[@]}"; do
  config=$here/models/$model.yaml
  batch=$(sed -n 's/.*global_batch_size: \([0-9]*\).*/\1/p' "$config")
  step_ms=$("$program" bench "$config" --steps 3 --warmup 1 | sed -n 's/.*"median": \([0-9]*\).*/\1/p')
  steps=$((1500 / (step_ms + 1) + 4))
  ratios=""
  for _ in $(seq "$rounds"); do
    one=$(taskset -c 1 "$program" bench "$config" --steps $steps --warmup 2 | speed)
    two=$(mpirun -n 2 --bind-to core "$program" bench "$config" --steps $steps --warmup 2 \
      --set data.global_batch_size=$((2 * batch)) --set train.leaves=2 | speed)
    ratios+="$(python3 -c "print($two / $one)") "
  done
  echo "$model $(python3 -c "import statistics,sys; print('%.2f' % statistics.median(map(float, sys.argv[1:])))" $ratios)"
done
