#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A job of dlrun in a real Slurm that is put back into the queue, told that its time is nearly over, and pre-empted, ends with the weights
# of one that runs alone.  tests/e2e/slurm_jobs.sh FOLDER-OF-THE-PROGRAMS
# Exit 77 where there is no Slurm (slurm_cluster.sh says why).
set -euo pipefail
here=$(dirname "$(realpath "$0")")
programs=$(realpath "$1")
if [ -z "${SLURM_CLUSTER:-}" ]; then
  exec "$here/slurm_cluster.sh" "$0" "$programs"
fi
cd "$here/../.."
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
dir=$SLURM_CLUSTER
run=$dir/job
fail() { echo "FAILED: $1" >&2; squeue -a >&2; tail -n 40 "$dir"/slurm-*.out >&2 || true; exit 1; }
# until SECONDS WHAT COMMAND...: waits until the command succeeds
until_true() {
  local end=$((SECONDS + $1)) what=$2; shift 2
  until "$@" > /dev/null 2>&1; do [ $SECONDS -lt $end ] || fail "no $what in time"; sleep 0.05; done
}
step_is_past() { [ "$(grep -o '"ev": "step".*"step": [0-9]*' "$run/events.jsonl" | tail -n 1 | grep -o '[0-9]*$')" -gt "$1" ]; }
state_is() { [ "$(squeue -h -j "$job" -o %T)" = "$1" ]; }
gone() { [ -z "$(squeue -h -j "$1" -o %T 2> /dev/null)" ] || [ "$(squeue -h -j "$1" -o %T)" = COMPLETED ]; }
again() { until_true 30 "job back in the queue" state_is PENDING; until_true 10 "start" scontrol update jobid="$job" StartTime=now; }

cat > "$dir/c.yaml" <<YAML
run: {name: s, dir: $run, seed: 1}
model:
  input: [8, 8, 1]
  layers: [flatten, {dense: {units: 500, activation: relu}}, {dense: {units: 500, activation: relu}}, {dense: {units: 10}}]
loss: cross_entropy
data:
  train: {file: $PWD/datasets/digits.h5, inputs: /train/images, targets: /train/labels, scale: 0.0625}
  global_batch_size: 64
train: {steps: 2600, leaves: 4}
optimizer: {name: adam, learning_rate: 0.001}
log: {tensorboard: false}
YAML
"$programs/dlrun" sbatch "$dir/c.yaml" --nodes 2 --ntasks-per-node 1 --time 30 > "$dir/job.sh"
cd "$dir"
job=$(sbatch --parsable job.sh)

until_true 60 "step 200" step_is_past 200
scontrol requeue "$job"
again
until_true 60 "step 1000" step_is_past 1000
scancel --batch --signal=USR1 "$job"  # what --signal=B:USR1@120 sends
again
until_true 60 "step 2000" step_is_past 2000
other=$(sbatch --parsable --partition=high --nodes=2 --exclusive --wrap='sleep 0.2')
until_true 60 "end of the job that came before" gone "$other"
again
until_true 120 "end of the job" gone "$job"

grep -q '"status": "finished"' "$run/summary.json" || fail "the run is not finished"
hash_of() { sed -n 's/.*"weights_hash": "\([0-9a-f]*\)".*/\1/p' "$1/summary.json"; }
[ "$(grep -c '"ev": "preempt"' "$run/events.jsonl")" = 3 ] || fail "expected to be told to stop 3 times, got $(grep -c '"ev": "preempt"' "$run/events.jsonl")"
got=$(hash_of "$run")
cd "$here/../.."
"$programs/dltrain" "$dir/c.yaml" --set run.dir="$dir/alone" --quiet > /dev/null
[ "$got" = "$(hash_of "$dir/alone")" ] || fail "the weights differ: $got, alone $(hash_of "$dir/alone")"
echo "PASS: requeued, told that its time was over, pre-empted: weights $got"
