#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a step of each model of bench/gpu costs at least on one H200, from dltrain's own plan: bench/gpu/floor.sh [DLTRAIN]
# prints one JSON object a line. Rates of NVIDIA's data sheet for the SXM part: bf16 without sparsity, f32, memory.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=${1:-build/release/dltrain}
bf16_tflops=989 f32_tflops=67 memory_tb_per_s=4.8

for config in bench/gpu/*.yaml; do
  rate=$f32_tflops
  ! grep -q 'precision: bf16' "$config" || rate=$bf16_tflops
  # Counted on the CPU, which needs no GPU: the graph is the same.
  "$program" plan "$config" --ranks 1 --step-ms 1 --memory-gb-s 1 --json --set train.device=cpu --set train.precision=f32 |
    awk -v model="$(basename "$config" .yaml)" -v tflops="$rate" -v tb="$memory_tb_per_s" '
      { gsub(/[{",:]/, " ") }
      $1 ~ /^(leaf_flops|leaf_kernels|update_bytes)$/ { of[$1] = $2 }
      $1 == "global_batch_size" { batch = $2 }
      END {
        flops_ms = of["leaf_flops"] / tflops * 1e-9
        update_ms = of["update_bytes"] / tb * 1e-9
        printf "{\"model\": \"%s\", \"batch\": %d, \"gflop\": %.2f, \"tflop_per_s\": %g, \"flops_ms\": %.4f, \"update_mb\": %.1f, \"update_ms\": %.4f, \"floor_ms\": %.4f, \"kernels\": %d}\n",
          model, batch, of["leaf_flops"] * 1e-9, tflops, flops_ms, of["update_bytes"] * 1e-6, update_ms, flops_ms + update_ms, of["leaf_kernels"]
      }'
done
