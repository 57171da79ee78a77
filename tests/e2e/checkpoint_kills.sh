#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Kills dltrain by SIGKILL at its K-th call of each system call that a checkpoint is made of, for K = 1, 2, ... (strace
# injects the signal), and then asks: does every checkpoint that is visible verify, and does the same command end with the
# weights of a run that nobody killed?
#   checkpoint_kills.sh DLTRAIN [STRIDE]      every STRIDE-th K; exit code 77: no strace here, or it may not trace
set -u
dltrain=$1
stride=${2:-1}
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/dltrain-kills.XXXXXX")
trap 'rm -rf "$dir"' EXIT

command -v strace >/dev/null || { echo "SKIP: no strace (apt-get install strace)"; exit 77; }
strace -f -o /dev/null -e trace=none true 2>/dev/null || { echo "SKIP: this process may not trace others"; exit 77; }

cd "$root" || exit 1
run() {  # run DIR [words...]: four checkpoints, two kept
  local run_dir=$1; shift
  "$@" "$dltrain" configs/quickstart.yaml --quiet --set "run.dir=$run_dir" --set train.epochs=1 \
    --set train.eval_every_epochs=0 --set checkpoint.every_steps=7 --set checkpoint.keep=2 --set log.tensorboard=false
}
hash_of() { sed -n 's/.*"weights_hash": "\([0-9a-f]*\)".*/\1/p' "$1/summary.json"; }

run "$dir/whole" > /dev/null 2>"$dir/err" || { cat "$dir/err"; exit 1; }
want=$(hash_of "$dir/whole")

points=0 killed=0 failed=0
for call in pwrite64 fsync write rename mkdir unlinkat ftruncate; do
  for ((k = 1;; k += stride)); do
    rm -rf "$dir/run"
    run "$dir/run" strace -f -qq -o /dev/null -e "trace=$call" -e "inject=$call:signal=SIGKILL:when=$k" \
      > /dev/null 2>&1
    code=$?
    ((code == 0)) && break  # there is no k-th call
    points=$((points + 1))
    ((code == 137)) && killed=$((killed + 1))
    "$dltrain" checkpoint verify "$dir/run" > "$dir/verify" 2>&1
    code=$?  # 66: none yet
    if ((code != 0 && code != 66)); then
      echo "$call $k: a visible checkpoint is bad: $(cat "$dir/verify")"; failed=$((failed + 1))
    fi
    if ! run "$dir/run" > /dev/null 2>"$dir/err"; then
      echo "$call $k: $(cat "$dir/err")"; failed=$((failed + 1))
    elif [[ $(hash_of "$dir/run") != "$want" ]]; then
      echo "$call $k: other weights"; failed=$((failed + 1))
    fi
    left=$(find "$dir/run/checkpoints" -name '.*' | wc -l)
    ((left == 0)) || { echo "$call $k: leftovers"; failed=$((failed + 1)); }
  done
done
echo "$points points, $killed killed, $failed failures"
((failed == 0 && killed > 0))
