#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two ranks, one core each, mnist-mlp with 128 samples a rank: median step of `reduction: exact` and `fast`, in
# turns, and one rank alone.
#   bench/exact_vs_fast.sh [PROGRAM] [ROUNDS]
set -euo pipefail
program=${1:-build/release/dltrain}
rounds=${2:-10}
((EUID != 0)) || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
config="$(dirname "$0")/../configs/mnist-mlp.yaml"

step_ms() {  # ranks, reduction
  mpirun -n "$1" --bind-to none "$program" bench "$config" --steps 300 --warmup 30 --set train.threads=1 \
    --set data.global_batch_size=$((128 * $1)) --set train.leaves="$1" --set train.reduction="$2" |
    sed -n 's/.*"median": \([0-9.]*\).*/\1/p'
}
for ((i = 0; i < rounds; ++i)); do
  echo "$(step_ms 2 exact) $(step_ms 2 fast) $(step_ms 1 exact)"
done | awk '
  function median(x, n,   i, j, t) {
    for (i = 1; i < n; ++i) for (j = i + 1; j <= n; ++j) if (x[j] < x[i]) { t = x[i]; x[i] = x[j]; x[j] = t }
    return n % 2 ? x[(n + 1) / 2] : (x[n / 2] + x[n / 2 + 1]) / 2
  }
  { e[NR] = $1; f[NR] = $2; o[NR] = $3; r[NR] = $1 / $2; s[NR] = 2 * $3 / $1 }
  END { printf "exact %.3f ms  fast %.3f ms  one rank %.3f ms  exact/fast %.3f  speed-up of two ranks %.2f\n",
        median(e, NR), median(f, NR), median(o, NR), median(r, NR), median(s, NR) }'
