#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How long steps wait for checkpoints: a network of 4.9 M parameters (58.5 MB with Adam's state), one every 50 steps.
# Numbers: docs/reliability.md.
#   bench/checkpoint_stall.sh build/release/dltrain [RANKS...]      (default 1 2 4)
set -eu
dltrain=$(realpath "$1"); shift
cd "$(dirname "$0")/.."
ranks=("$@"); ((${#ranks[@]})) || ranks=(1 2 4)
dir=$(mktemp -d "${TMPDIR:-/tmp}/dltrain-stall.XXXXXX")
trap 'rm -rf "$dir"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cat > "$dir/stall.yaml" <<YAML
run: {name: stall, dir: $dir/run, seed: 1}
model:
  input: [8, 8, 1]
  layers: [flatten, {dense: {units: 2048, activation: relu}}, {dense: {units: 2304, activation: relu}}, {dense: {units: 10}}]
loss: cross_entropy
data:
  train: {file: datasets/digits.h5, inputs: /train/images, targets: /train/labels, scale: 0.0625}
  global_batch_size: 256
train: {steps: 300, leaves: 4, eval_every_epochs: 0}
optimizer: {name: adam, learning_rate: 0.0001}
checkpoint: {every_steps: 50, keep: 2}
log: {every_steps: 10, tensorboard: false}
YAML
echo "load $(cut -d' ' -f1-3 /proc/loadavg), $(nproc) cores"
for n in "${ranks[@]}"; do
  mpirun --oversubscribe --bind-to none -n "$n" "$dltrain" "$dir/stall.yaml" --overwrite --quiet >/dev/null
  # The save behind the last step is waited for: it is no stall of a step.
  awk -v ranks="$n" '
    function field(name) { match($0, "\"" name "\": [0-9.e+-]+"); return substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 4) + 0 }
    /"ev": "run_start"/ { from = field("t_mono") }
    /"ev": "step"/ { to = field("t_mono") }
    /"ev": "ckpt_commit"/ && field("step") < 300 { n++; s = field("stall_ms"); sum += s; if (s > most) most = s; persist += field("persist_ms"); bytes = field("bytes") }
    END { printf "%d ranks: %.1f MB, stall mean %.1f ms, most %.1f ms, %.2f %% of the steps; written after %.0f ms\n",
          ranks, bytes / 1e6, sum / n, most, 100 * sum / 1e3 / (to - from), persist / n }' "$dir/run/events.jsonl"
done
