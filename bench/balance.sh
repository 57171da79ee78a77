#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two ranks, each on a core of its own, the second of which is shared with a busy loop:
#   bench/balance.sh PROGRAM CONFIG [--set KEY=VALUE...]
# prints samples a second at the start and at the end of a run, with comm.balance and without. Needs cores 0 and 1.
set -euo pipefail
((EUID != 0)) || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
program=$1 config=$2
shift 2
dir=$(mktemp -d)
taskset -c 1 sh -c 'while :; do :; done' &
busy=$!
trap 'kill $busy; rm -rf "$dir"' EXIT

for balance in false true; do
  mpirun -n 1 --bind-to none taskset -c 0 "$program" "$config" --overwrite --quiet --set run.dir="$dir/run" \
    --set comm.balance=$balance --set train.threads=1 --set log.tensorboard=false "$@" \
    : -n 1 taskset -c 1 "$program" "$config" --overwrite --quiet --set run.dir="$dir/run" \
    --set comm.balance=$balance --set train.threads=1 --set log.tensorboard=false "$@" >/dev/null
  python3 - "$dir/run/events.jsonl" "$balance" <<'PY'
import json, statistics, sys
events = [json.loads(line) for line in open(sys.argv[1])]
speeds = [e["samples_per_s"] for e in events if e["ev"] == "step"]
n = max(1, len(speeds) // 4)
print(f"balance {sys.argv[2]:5}  first quarter {statistics.median(speeds[:n]):9.0f} samples/s  "
      f"last quarter {statistics.median(speeds[-n:]):9.0f} samples/s")
for e in events:
    if e["ev"] == "balance":
        print(f"  step {e['step']:5}  leaves {e['leaves_before']} -> {e['leaves']}  moving took {e['cost_ms']:.1f} ms")
PY
done
