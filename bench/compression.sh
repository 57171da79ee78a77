#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Test accuracy with each compression of gradients and with local steps, on 2 and 4 ranks:
#   bench/compression.sh PROGRAM CONFIG [--set KEY=VALUE...]
# The runs' folders go to a temporary folder. Numbers are of the run's end.
set -euo pipefail
((EUID != 0)) || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
program=$1 config=$2
shift 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

accuracy() { # RANKS, further words
  local ranks=$1
  shift
  mpirun --oversubscribe --bind-to none -n "$ranks" "$program" "$config" --overwrite --quiet \
    --set run.dir="$dir/run" --set log.tensorboard=false --set checkpoint.every_steps=0 "$@" >/dev/null
  python3 - "$dir/run/summary.json" <<'PY'
import json, sys
s = json.load(open(sys.argv[1]))
print(f"{100 * s['eval']['accuracy']:.2f}", end="")
PY
}

printf '%-28s %8s %8s\n' '' '2 ranks' '4 ranks'
for way in compression=none compression=bf16 compression=fp16 compression=int8 \
  'compression={name: powersgd, rank: 4}' 'compression={name: topk, share: 0.01}' \
  sync_every=4 sync_every=16; do
  printf '%-28s' "${way#compression=}"
  for ranks in 2 4; do
    printf ' %8s' "$(accuracy "$ranks" --set "comm.$way" "$@")"
  done
  printf '\n'
done
