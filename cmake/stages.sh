# SPDX-License-Identifier: Apache-2.0
# For ./run and ./test: stage NAME COMMAND... runs a command and says so in one line with its time.
# The command's output goes to build/NAME.log; it is shown only if the command fails.
stage() {
  local name=$1 start=$SECONDS status=0
  shift
  mkdir -p build
  printf '%s: %s ... ' "$name" "$*"
  "$@" >"build/$name.log" 2>&1 </dev/null || status=$?
  if ((status != 0)); then
    printf 'failed (exit code %d) after %d s\n' "$status" $((SECONDS - start))
    tail -n 100 "build/$name.log" >&2
    echo "$name: failed; the whole output is in $PWD/build/$name.log" >&2
    exit "$status"
  fi
  printf 'done in %d s\n' $((SECONDS - start))
}
