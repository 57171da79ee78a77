#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All ways to add up a buffer between two ranks of this machine, one core each, and gloo's if a Python with torch is
# named; the two programs in turns.
#   bench/reduce/reduce.sh [PROGRAM [TURNS [PYTHON]]]
set -euo pipefail
program=${1:-build/release/bench/reduce/reduce_bench}
turns=${2:-3}
python=${3:-}
((EUID != 0)) || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
for _ in $(seq "$turns"); do
  mpirun -n 2 --bind-to core "$program"
  [ -z "$python" ] || "$python" "$(dirname "$0")/gloo.py"
done
