#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# dlrun on two hosts (bench/netlab/hosts.sh): a rank of the other host is killed, then that host's link is cut; the job goes on with the
# weights of one that runs alone.  tests/e2e/dlrun_hosts.sh FOLDER-OF-THE-PROGRAMS
# Exit 77 where there are no namespaces.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
programs=$(realpath "$1")
cd "$here/../.."
if [ -z "${NETLAB:-}" ]; then
  exec bench/netlab/hosts.sh --hosts 2 --slots 2 -- "$0" "$programs"
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_plm_rsh_agent=$NETLAB/rsh
run=$NETLAB/job
fail() { echo "FAILED: $1" >&2; cat "$NETLAB/err" >&2; exit 1; }
wait_for_step() {
  for _ in $(seq 600); do
    grep -q "\"ev\": \"step\".*\"step\": $1," "$run/events.jsonl" 2> /dev/null && return
    sleep 0.05
  done
  fail "no step $1 in time"
}
rank_of_lab2() {
  for pid in $(pgrep -x dltrain); do
    [ "$(readlink "/proc/$pid/ns/uts")" = "$(readlink "/proc/$(cat "$NETLAB/lab2.pid")/ns/uts")" ] && echo "$pid" && return
  done
}
cat > "$NETLAB/c.yaml" <<YAML
run: {name: s, dir: $run, seed: 1}
model:
  input: [8, 8, 1]
  layers: [flatten, {dense: {units: 500, activation: relu}}, {dense: {units: 500, activation: relu}}, {dense: {units: 10}}]
loss: cross_entropy
data:
  train: {file: datasets/digits.h5, inputs: /train/images, targets: /train/labels, scale: 0.0625}
  global_batch_size: 64
train: {steps: 2400, leaves: 4}
optimizer: {name: adam, learning_rate: 0.001}
checkpoint: {every_steps: 200}
fault: {hang_timeout_s: 4}
log: {tensorboard: false}
YAML
"$programs/dlrun" --hosts lab1:2,lab2:2 "$NETLAB/c.yaml" --quiet > /dev/null 2> "$NETLAB/err" &
dlrun=$!
wait_for_step 300
kill -KILL "$(rank_of_lab2)"
wait_for_step 1000
nsenter -t "$(cat "$NETLAB/lab2.pid")" -n ip link set eth0 down
wait $dlrun || fail "dlrun ended with code $?"
grep -q '"kind": "death"' "$run/events.jsonl" || fail "the killed rank was not noticed"
grep -qE '"kind": "(partition|host_lost)"' "$run/events.jsonl" || fail "the cut link was not noticed"
grep -q '"world_size": 2' "$run/summary.json" || fail "expected to end on 2 ranks"
[ -z "$(ls /dev/shm)" ] || fail "left in /dev/shm: $(ls /dev/shm)"
for _ in $(seq 100); do [ -n "$(pgrep -x dltrain)" ] || break; sleep 0.1; done
[ -z "$(pgrep -x dltrain)" ] || fail "ranks of the host that was cut off did not end by themselves"
hash_of() { sed -n 's/.*"weights_hash": "\([0-9a-f]*\)".*/\1/p' "$1/summary.json"; }
got=$(hash_of "$run")
"$programs/dltrain" "$NETLAB/c.yaml" --set run.dir="$NETLAB/alone" --quiet > /dev/null
[ "$got" = "$(hash_of "$NETLAB/alone")" ] || fail "the weights differ: $got, alone $(hash_of "$NETLAB/alone")"
echo "PASS: a rank of another host killed, its link cut: weights $got"
