#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a command on the first of N hosts that exist as long as the command does.
#   bench/netlab/hosts.sh [--hosts N] [--rate RATE] [--slots S] -- COMMAND [ARG ...]
# A host is a network, mount and UTS namespace with its own name (lab1, lab2, ...), address (10.77.0.1, ...), /dev/shm
# and share of the cores; a bridge joins them, and RATE (tc's: 1gbit, 100mbit, none) limits what each host sends. All of
# it lives in namespaces of its own, so nothing of this machine's network changes, several labs may run side by side, and
# the kernel removes everything when the last process ends; a PID namespace ends the processes, however this script ends.
# In COMMAND's environment, $NETLAB is a folder with
#   mpirun ...       Open MPI's, over all hosts, S ranks a host (its only setting: how to reach a host)
#   on HOST ...      a command on a host (HOST: lab1, ...)
#   rate RATE        another rate, on all hosts
#   hosts            the hosts' names, one a line
# Needs root, or a kernel that lets users make namespaces. Exit 77 and a line that says so where neither is.
set -euo pipefail

hosts=2 rate=1gbit slots=1
usage() { sed -n '3,5p' "$0" >&2; exit 64; }

missing() { echo "netlab: $1" >&2; exit 77; }

# A core list such as 0-2,5 as words.
expand() {
  local part; for part in ${1//,/ }; do seq "${part%-*}" "${part#*-}"; done
}

# Cores of host $1 (from 0): its share of those this process may use, one core if there are fewer than hosts.
cores_of() {
  local all; mapfile -t all < <(expand "$(taskset -cp $$ | sed 's/.*: //')")
  local count=${#all[@]} first last
  if [ "$count" -lt "$hosts" ]; then echo "${all[$(($1 % count))]}"; return; fi
  first=$(($1 * count / hosts)) last=$((($1 + 1) * count / hosts - 1))
  local IFS=,; echo "${all[*]:$first:$((last - first + 1))}"
}

write_scripts() {
  cat > "$NETLAB/on" <<'END'
#!/bin/bash
# Entering a mount namespace leads to its root folder, so the way back is given along.
host=$1; shift
exec nsenter -t "$(cat "$NETLAB/$host.pid")" -n -u -m -- taskset -c "$(cat "$NETLAB/$host.cores")" \
  bash -c 'cd "$1" && shift && exec "$@"' - "$PWD" "$@"
END
  cat > "$NETLAB/rsh" <<'END'
#!/bin/bash
# Called by Open MPI as rsh [options] HOST WORDS-FOR-A-SHELL...
while [[ $1 == -* ]]; do shift; done
host=$1; shift
exec "$NETLAB/on" "$host" bash -c "$*"
END
  cat > "$NETLAB/mpirun" <<'END'
#!/bin/bash
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
exec mpirun -mca plm_rsh_agent "$NETLAB/rsh" -hostfile "$NETLAB/hostfile" --map-by node --bind-to none "$@"
END
  cat > "$NETLAB/rate" <<'END'
#!/bin/bash
# tbf's bucket holds 2 ms of the line: with less, a timer that is late on a busy core loses capacity for good; with more,
# the first messages behind a pause would travel faster than the line.
case $1 in
  *gbit) burst=$((${1%gbit} * 250))k ;;
  *mbit) burst=$((${1%mbit} / 4 > 32 ? ${1%mbit} / 4 : 32))k ;;
  none) ;;
  *) echo "netlab: rate: expected none, Ngbit or Nmbit, got '$1'" >&2; exit 64 ;;
esac
for host in $(cat "$NETLAB/hosts"); do
  in_host="nsenter -t $(cat "$NETLAB/$host.pid") -n"
  $in_host tc qdisc del dev eth0 root 2>/dev/null
  [ "$1" = none ] || $in_host tc qdisc add dev eth0 root tbf rate "$1" burst "$burst" limit 4m || exit 1
done
END
  chmod +x "$NETLAB"/{on,rsh,mpirun,rate}
}

# One host: a process that holds its namespaces, joined to the bridge.
add_host() {
  local name=lab$1
  unshare -n -m -u -- bash -c '
    hostname "$1"; mount --bind "$NETLAB/etc_hosts" /etc/hosts; mount -t tmpfs -o size=50% tmpfs /dev/shm
    ip link set lo up; echo $$ > "$NETLAB/$1.pid.new"; mv "$NETLAB/$1.pid.new" "$NETLAB/$1.pid"; exec sleep infinity' - "$name" &
  until [ -s "$NETLAB/$name.pid" ]; do kill -0 $! || return 1; sleep 0.01; done
  ip link add "to_$name" type veth peer name eth0 netns $!
  ip link set "to_$name" master bridge up
  nsenter -t $! -n ip addr add "10.77.0.$1/16" dev eth0
  nsenter -t $! -n ip link set eth0 up
  # A namespace begins with this machine's congestion control; reno is allowed everywhere, and on a line without losses
  # does what cubic does (bbr stays at 0.96 of the line's rate).
  nsenter -t $! -n -- bash -c 'echo reno > /proc/sys/net/ipv4/tcp_congestion_control'
  cores_of $(($1 - 1)) > "$NETLAB/$name.cores"
  echo "$name" >> "$NETLAB/hosts"
  echo "$name slots=$slots" >> "$NETLAB/hostfile"
}

# Inside the lab's own namespaces, as process 1 of them.
inside() {
  ip link set lo up
  ip link add bridge type bridge
  ip link set bridge up
  local i
  echo "127.0.0.1 localhost" > "$NETLAB/etc_hosts"
  for i in $(seq "$hosts"); do echo "10.77.0.$i lab$i"; done >> "$NETLAB/etc_hosts"
  write_scripts
  for i in $(seq "$hosts"); do add_host "$i"; done
  "$NETLAB/rate" "$rate"
  "$NETLAB/on" lab1 "$@"
}

stage=${NETLAB_STAGE:-outside}
unset NETLAB_STAGE
while [ $# -gt 0 ]; do
  case $1 in
    --hosts) hosts=$2; shift 2 ;;
    --rate) rate=$2; shift 2 ;;
    --slots) slots=$2; shift 2 ;;
    --) shift; break ;;
    *) usage ;;
  esac
done
[ $# -gt 0 ] || usage
if [ "$stage" = inside ]; then inside "$@"; exit; fi

for tool in unshare nsenter ip tc taskset; do
  command -v "$tool" > /dev/null || missing "$tool is not here: apt-get install util-linux iproute2"
done
spaces=(-n -m -p --fork --kill-child --mount-proc)
[ "$(id -u)" = 0 ] || spaces=(-U -r "${spaces[@]}")
unshare "${spaces[@]}" -- ip link add probe type bridge 2> /dev/null ||
  missing "no network namespaces here (run as root, or allow unprivileged user namespaces)"

NETLAB=$(mktemp -d "${TMPDIR:-/tmp}/netlab.XXXXXX")
export NETLAB
trap 'rm -rf "$NETLAB"' EXIT
NETLAB_STAGE=inside setpriv --pdeathsig KILL unshare "${spaces[@]}" -- "$0" --hosts "$hosts" --rate "$rate" \
  --slots "$slots" -- "$@" &
lab=$!
trap 'kill -KILL $lab 2> /dev/null; wait $lab 2> /dev/null; exit 130' INT TERM HUP
code=0
wait $lab || code=$?
exit $code
