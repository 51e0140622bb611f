#!/bin/bash
# Starts a Slurm of one node, this machine, on the loopback device: slurm.sh FOLDER CONTROLLER_PORT NODE_PORT
set -e
mkdir -p "$1/state" "$1/spool"
head -c 1024 /dev/urandom > "$1/munge.key"
chmod 600 "$1/munge.key"
munged --force --key-file="$1/munge.key" --socket="$1/munge.socket" --pid-file="$1/munged.pid" \
    --log-file="$1/munged.log" --seed-file="$1/munge.seed" --num-threads=2
cat > "$1/slurm.conf" <<X
ClusterName=hml
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$1/munge.socket
SlurmctldPort=$2
SlurmdPort=$3
StateSaveLocation=$1/state
SlurmdSpoolDir=$1/spool
SlurmctldPidFile=$1/slurmctld.pid
SlurmdPidFile=$1/slurmd.pid
SlurmctldLogFile=$1/slurmctld.log
SlurmdLogFile=$1/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=64 RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
X
slurmctld -f "$1/slurm.conf"
slurmd -f "$1/slurm.conf"
