#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A Slurm cluster of two hosts on this machine, for tests: runs a command in it and ends with its code.
#   tests/e2e/slurm_cluster.sh COMMAND [ARG ...]
# Each slurmd has a host name, /dev/shm and /tmp/.pmix of its own; everything talks over one address, and the kernel ends all of it with the
# last process, since they live in a PID namespace of their own. Exit 77 where Slurm is not installed or namespaces are not allowed.
set -euo pipefail

for tool in slurmctld slurmd munged sbatch unshare; do
  command -v "$tool" > /dev/null && continue
  echo "slurm: $tool is not here: apt-get install slurm-wlm slurmctld slurmd munge slurm-wlm-basic-plugins libpmix2" >&2
  exit 77
done
[ "$(id -u)" = 0 ] || { echo "slurm: the cluster's daemons want root" >&2; exit 77; }

if [ "${SLURM_CLUSTER_STAGE:-}" != inside ]; then
  unshare -m -n -p --fork --kill-child --mount-proc true 2> /dev/null || { echo "slurm: no namespaces here" >&2; exit 77; }
  SLURM_CLUSTER=$(mktemp -d "${TMPDIR:-/tmp}/slurm.XXXXXX")
  export SLURM_CLUSTER
  trap 'rm -rf "$SLURM_CLUSTER"' EXIT
  code=0
  SLURM_CLUSTER_STAGE=inside unshare -m -n -p --fork --kill-child --mount-proc -- "$0" "$@" || code=$?
  exit $code
fi
unset SLURM_CLUSTER_STAGE

d=$SLURM_CLUSTER
ip link set lo up
# Names are looked up, and Open MPI connects, only where there is a network beside loopback.
ip link add eth0 type veth peer name eth1
ip addr add 10.9.8.7/24 dev eth0
ip link set eth0 up
ip link set eth1 up
chmod 755 "$d"
mkdir -p "$d"/{state,log,run,pmix,spool/n1,spool/n2,pmix_of/n1,pmix_of/n2}
head -c 1024 /dev/urandom > "$d/munge.key"
chmod 400 "$d/munge.key"
munged --force --socket="$d/run/munge.sock" --key-file="$d/munge.key" --pid-file="$d/run/munged.pid" \
  --log-file="$d/log/munged.log" --seed-file="$d/run/munged.seed"
cat > "$d/slurm.conf" <<CONF
ClusterName=dltrain
SlurmctldHost=$(hostname -s)(10.9.8.7)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$d/run/munge.sock
CredType=cred/munge
StateSaveLocation=$d/state
SlurmdSpoolDir=$d/spool/%n
SlurmctldPidFile=$d/run/slurmctld.pid
SlurmdPidFile=$d/run/slurmd-%n.pid
SlurmctldLogFile=$d/log/slurmctld.log
SlurmdLogFile=$d/log/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=10000,requeue_delay=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
MpiDefault=none
ReturnToService=2
KillWait=10
JobRequeue=1
MailProg=/bin/true
NodeName=n1 NodeAddr=10.9.8.7 NodeHostname=n1 Port=46901 CPUs=2 State=UNKNOWN
NodeName=n2 NodeAddr=10.9.8.7 NodeHostname=n2 Port=46902 CPUs=2 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Nodes=ALL State=UP PriorityTier=10 PreemptMode=OFF
CONF
echo "PMIxCliTmpDirBase=$d/pmix" > "$d/mpi.conf"
export SLURM_CONF=$d/slurm.conf
slurmctld -f "$SLURM_CONF"
for node in n1 n2; do
  unshare -m -u bash -c 'hostname "$1"; mount --bind "$SLURM_CLUSTER/pmix_of/$1" "$SLURM_CLUSTER/pmix"
    mount -t tmpfs tmpfs /dev/shm; exec slurmd -f "$SLURM_CONF" -N "$1"' - "$node"
done
for _ in $(seq 100); do
  [ "$(sinfo -h -o %T 2> /dev/null | sort -u)" = idle ] && break
  sleep 0.1
done
code=0
"$@" || code=$?
exit $code
