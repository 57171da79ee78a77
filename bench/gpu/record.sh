# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: Apache-2.0
# For bench/gpu.sh: runs commands one after another within a time, keeps what they print, writes one JSON file.
#   record_begin OUT SECONDS DRY_RUN; step NAME LIMIT_S COMMAND...; skip NAME WHY; value NAME KEY; record_end FIELDS
# record_failed is 1 where a command failed.

# "text" as JSON has it.
json_string() {
  local text=$1
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\n'/\\n}
  text=${text//$'\t'/\\t}
  printf '"%s"' "$(tr -d '\000-\037' <<<"$text")"
}

record_begin() {
  record_out=$1 record_end_s=$((SECONDS + $2)) record_dry=$3
  record_logs=${1%.json}.logs
  record_rows=() record_failed=0
  mkdir -p "$(dirname "$1")" "$record_logs"
  rm -f "$record_logs"/*
}

# name, command, exit (a number, or null: not run), seconds, why not, the JSON object that it printed
record_row() {
  record_rows+=("{\"name\": $(json_string "$1"), \"command\": $(json_string "$2"), \"exit\": $3, \"seconds\": $4, \"why_not\": $(json_string "$5"), \"result\": ${6:-null}}")
}

skip() {
  echo "$1: skipped: $2"
  record_row "$1" "" null 0 "$2"
}

# Sets last_exit. A command that fails, or is at its limit (124), does not end the script.
step() {
  local name=$1 limit=$2 start=$SECONDS left command result=''
  shift 2
  command="$*"
  last_exit=0
  if ((record_dry == 1)); then
    echo "$name: $command"
    record_row "$name" "$command" null 0 "dry run"
    return
  fi
  left=$((record_end_s - SECONDS))
  if ((left < 5)); then
    last_exit=124
    skip "$name" "no time is left"
    return
  fi
  ((limit < left)) || limit=$left
  printf '%s: %s ... ' "$name" "$command"
  timeout --kill-after=5 "$limit" "$@" >"$record_logs/$name.out" 2>"$record_logs/$name.err" </dev/null || last_exit=$?
  # A program whose last words are a JSON object.
  if [[ $(grep -m 1 -c '^{' "$record_logs/$name.out") == 1 ]]; then
    result=$(sed -n '/^{/,$p' "$record_logs/$name.out")
  fi
  record_row "$name" "$command" "$last_exit" $((SECONDS - start)) "" "$result"
  if ((last_exit == 0)); then
    echo "$((SECONDS - start)) s"
  else
    record_failed=1
    echo "exit $last_exit after $((SECONDS - start)) s"
    tail -n 5 "$record_logs/$name.err" "$record_logs/$name.out" | cut -c1-200 | sed 's/^/    /'
  fi
}

# The first number of that key in what the step printed; nothing if it failed.
value() {
  [[ -e $record_logs/$1.out ]] || return 0
  sed -n "s/.*\"$2\": *\\(-\\?[0-9][0-9.eE+-]*\\).*/\\1/p" "$record_logs/$1.out" | head -n 1
}

# record_end NAME VALUE NAME VALUE ...: texts that stand in front of the steps
record_end() {
  {
    echo "{"
    while (($# > 1)); do
      echo "  $(json_string "$1"): $(json_string "$2"),"
      shift 2
    done
    echo '  "steps": ['
    local i
    for ((i = 0; i < ${#record_rows[@]}; ++i)); do
      printf '    %s%s\n' "${record_rows[i]}" "$( ((i + 1 < ${#record_rows[@]})) && echo ,)"
    done
    echo "  ]"
    echo "}"
  } >"$record_out"
}
