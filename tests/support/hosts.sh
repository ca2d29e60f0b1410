#!/usr/bin/env bash
# Several hosts on this machine, for tests of mpirun over links that can be cut.
#
#   hosts.sh run COMMAND...        runs it in a network of its own, in which it may call the others
#   hosts.sh up N                  makes hosts h1, h2, ... with the addresses 10.99.0.1, 10.99.0.2, ...
#   hosts.sh exec HOST COMMAND...  runs it on a host
#   hosts.sh mpirun ARGUMENT...    runs mpirun on h1, with --host h1:2,h2:2 or the like
#   hosts.sh cut HOST              takes its link down
#   hosts.sh join HOST             takes it up again
#   hosts.sh answers HOST          succeeds if packets reach the host and return
#
# A host is a network namespace; a bridge joins them. `run` also gives the command its own processes
# and mounts, an empty /run as TMPDIR, and this folder on the PATH. All ends with the command, even if
# it is killed. Nothing reaches the machine's network, and several can run at once. Needs iproute2,
# and root or a kernel that lets users create namespaces.
set -euo pipefail

begin() {
    mount -t tmpfs hosts /run
    ip link set lo up
    ip link add bridge type bridge
    ip addr add 10.99.0.254/24 dev bridge
    ip link set bridge up
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # here every user is root
    export DN_OWN_NETWORK=yes TMPDIR=/run PATH=${self%/*}:$PATH
    exec "$@"
}

on_host() { exec nsenter --net="/run/$1.net" --uts="/run/$1.uts" -- "${@:2}"; }

up() {
    local i
    for ((i = 1; i <= $1; i++)); do
        touch "/run/h$i.net" "/run/h$i.uts"
        unshare --net="/run/h$i.net" --uts="/run/h$i.uts" hostname "h$i"
        ip link add "h$i" type veth peer name eth0 netns "/run/h$i.net"
        ip link set "h$i" master bridge up
        (on_host "h$i" ip link set lo up)
        (on_host "h$i" ip addr add "10.99.0.$i/24" dev eth0)
        (on_host "h$i" ip link set eth0 up)
    done
}

self=$(readlink -f "$0")
command=${1:-}
[[ $command == run || $$ == 1 || -n ${DN_OWN_NETWORK:-} ]] || command= # never in the machine's network
shift || true
case $command in
run)
    as_root=()
    ((EUID == 0)) || as_root=(--map-root-user)
    exec unshare "${as_root[@]}" --net --mount --mount-proc --pid --fork --kill-child -- "$self" begin "$@" ;;
begin) begin "$@" ;;
up) up "$1" ;;
exec) on_host "$@" ;;
mpirun)
    on_host h1 mpirun --mca plm_rsh_agent 'hosts.sh agent' --mca oob_tcp_if_include 10.99.0.0/24 \
        --mca btl_tcp_if_include 10.99.0.0/24 --mca btl self,vader,tcp "$@" ;;
agent) on_host "$1" bash -c "${*:2}" ;;
cut) ip link set "$1" down ;;
join) ip link set "$1" up ;;
answers) # by refusing a connection: no server runs there
    [[ $(timeout 3 bash -c "</dev/tcp/10.99.0.${1#h}/9" 2>&1) == *refused* ]] ;;
*)
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
    exit 2 ;;
esac
