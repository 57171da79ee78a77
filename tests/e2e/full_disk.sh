#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A run on a disk (a tmpfs) that has room for two of its checkpoints: what is there stays good, training goes on to its
# end, exit code 74 since the last one failed; with room made the same command ends the run with the same weights.
#   full_disk.sh DLTRAIN      exit code 77: this user may not mount
set -u
dltrain=$(realpath "$1")
cd "$(dirname "$0")/../.." || exit 1
if [[ ${2:-} != inside ]]; then
  unshare -m true 2>/dev/null || { echo "SKIP: mount namespaces are not allowed here"; exit 77; }
  exec unshare -m "$0" "$dltrain" inside
fi
dir=$(mktemp -d)
trap 'umount "$dir/disk"; rm -rf "$dir"' EXIT
mkdir "$dir/disk"
mount -t tmpfs -o size=360k tmpfs "$dir/disk" || exit 77
run() {
  "$dltrain" configs/quickstart.yaml --quiet --set "run.dir=$1" --set train.epochs=2 --set train.eval_every_epochs=0 \
    --set checkpoint.every_steps=10 --set log.tensorboard=false --set log.every_steps=100 2>"$dir/err"
}
fail() { echo "$1"; cat "$dir/err"; exit 1; }
hash_of() { sed -n 's/.*"weights_hash": "\([0-9a-f]*\)".*/\1/p' "$1/summary.json"; }
run "$dir/whole" >/dev/null || fail "the undisturbed run"
run "$dir/disk/run" >/dev/null
code=$?
((code == 74)) || fail "exit code $code, want 74"
grep -q '"kind": "disk_full"' "$dir/disk/run/events.jsonl" || fail "no event disk_full"
grep -q 'warning: room for' "$dir/disk/run/logs/rank-00.log" || fail "no warning before it happens"
"$dltrain" checkpoint verify "$dir/disk/run" >/dev/null 2>"$dir/err" || fail "a checkpoint is damaged"
(($(find "$dir/disk/run/checkpoints" -name '.*' | wc -l) == 0)) || fail "leftovers"
mount -o remount,size=2m "$dir/disk"
run "$dir/disk/run" >/dev/null || fail "the run with room"
[[ $(hash_of "$dir/disk/run") == "$(hash_of "$dir/whole")" ]] || fail "other weights"
echo "a full disk costs nothing but the checkpoint"
