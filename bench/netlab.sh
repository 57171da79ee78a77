#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Training steps over a slow network: hosts made of namespaces, joined by rate-limited links (bench/netlab/hosts.sh), one
# rank on each. Prints how close messages come to the line, then for each model a step without communication, with and
# without overlap, what is exposed and what `dltrain plan` predicts; and PyTorch's DDP over gloo on the same hosts where a
# Python that has it is named. Columns are explained in bench/netlab/measure.py.
#   bench/netlab.sh [--build build/release] [--hosts 2] [--rates "1gbit 100mbit"] [-- MEASURE-OPTIONS]
#   bench/netlab.sh -- --models resnet18 --python /usr/bin/python3
# Needs root or a kernel that lets users make namespaces (exit 77 with a line that says so), and -DDLTRAIN_BENCH=ON.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=build/release hosts=2 rates="1gbit 100mbit"
while [ $# -gt 0 ]; do
  case $1 in
    --build) build=$2; shift 2 ;;
    --hosts) hosts=$2; shift 2 ;;
    --rates) rates=$2; shift 2 ;;
    --) shift; break ;;
    *) sed -n '3,10p' "$0" >&2; exit 64 ;;
  esac
done
wire=()
for program in "$build/dltrain" "$build/bench/netlab/wire_bench"; do
  [ -x "$program" ] || { echo "netlab: no $program: build it (cmake -DDLTRAIN_BENCH=ON ...)" >&2; exit 66; }
done
[ "$hosts" != 2 ] || wire=(--wire "$build/bench/netlab/wire_bench")
for rate in $rates; do
  echo "== $hosts hosts, $rate each way =="
  "$here/netlab/hosts.sh" --hosts "$hosts" --rate "$rate" -- \
    python3 "$here/netlab/measure.py" --program "$build/dltrain" "${wire[@]}" "$@"
done
