#!/usr/bin/env bash
# A SLURM of one node on this machine, as root or as a user: no service, no cgroup, pretended GPUs.
#
#   local_slurm.sh start|stop|env FOLDER      all that it writes lies in FOLDER, which stop leaves
#   eval "$(local_slurm.sh env FOLDER)"       lets sbatch and Snakemake find it
#
# Needs the Debian packages slurm-wlm and munge. Set CPUS, GPUS and the ports from outside.
set -euo pipefail

folder=$(mkdir -p "$2" && cd "$2" && pwd)
cpus=${CPUS:-$(nproc)}
gpus=${GPUS:-1}
export SLURM_CONF=$folder/slurm.conf
export PATH=$PATH:/usr/sbin:/sbin

configure() {
    local here host user memory_mb
    here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    host=$(hostname -s)
    user=$(id -un)
    # A node that has less than it says is drained.
    memory_mb=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
    mkdir -p "$folder"/{bin,log,munge,slurmctld,slurmd}
    chmod 0755 "$folder" "$folder/munge"
    chmod 0700 "$folder/log"
    [[ -f $folder/munge/key ]] || (umask 077 && head -c 1024 /dev/urandom > "$folder/munge/key")
    sed -e "s|@folder@|$folder|; s|@host@|$host|; s|@user@|$user|" \
        -e "s|@cpus@|$cpus|; s|@gpus@|$gpus|; s|@memory_mb@|$memory_mb|" \
        -e "s|@slurmctld_port@|${SLURMCTLD_PORT:-16817}|; s|@slurmd_port@|${SLURMD_PORT:-16818}|" \
        "$here/slurm.conf.in" > "$SLURM_CONF"
    echo "# Nothing: no plugin uses cgroups." > "$folder/cgroup.conf"
    : > "$folder/gres.conf"
    local pretended=(null zero full random) device # a GPU must be a character device
    for device in "${pretended[@]:0:$gpus}"; do
        echo "NodeName=$host Name=gpu File=/dev/$device" >> "$folder/gres.conf"
    done
    # The plugin hides every SLURM_* variable, SLURM_CONF too, from the srun within its jobs.
    printf '#!/bin/sh\nSLURM_CONF=%q exec %q "$@"\n' "$SLURM_CONF" "$(type -P srun)" \
        > "$folder/bin/srun"
    chmod 0755 "$folder/bin/srun"
}

is_alive() { # DAEMON
    [[ -s $folder/$1.pid ]] && kill -0 "$(cat "$folder/$1.pid")" 2> /dev/null
}

start() {
    configure
    is_alive munged || munged --force --key-file="$folder/munge/key" \
        --socket="$folder/munge/socket" --seed-file="$folder/munge/seed" \
        --pid-file="$folder/munged.pid" --log-file="$folder/log/munged.log"
    is_alive slurmctld || slurmctld
    is_alive slurmd || slurmd
    for _ in {1..60}; do
        [[ $(sinfo --noheader --format=%T 2> /dev/null) == idle ]] && return
        sleep 0.5
    done
    echo "The node does not become idle:" >&2
    tail -n 20 "$folder"/log/*.log >&2
    return 1
}

stop() {
    if is_alive slurmctld; then
        scancel --user="$(id -un)" || true
        for _ in {1..100}; do # as long as SLURM's KillWait and some
            [[ -z $(squeue --noheader --states=RUNNING,COMPLETING 2> /dev/null) ]] && break
            sleep 0.5
        done
    fi
    local daemon pid
    for daemon in slurmd slurmctld munged; do
        is_alive "$daemon" || continue
        pid=$(cat "$folder/$daemon.pid")
        kill "$pid"
        for _ in {1..100}; do
            kill -0 "$pid" 2> /dev/null || break
            sleep 0.1
        done
    done
}

case $1 in
    start) start ;;
    stop) stop ;;
    env) echo "export SLURM_CONF=$SLURM_CONF PATH=$folder/bin:\$PATH" ;;
    *) echo "usage: $0 start|stop|env FOLDER" >&2 && exit 2 ;;
esac
