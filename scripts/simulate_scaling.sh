#!/usr/bin/env bash
# Simulates a training step on a fat tree of nodes in SimGrid (Debian: libsimgrid-dev), and prints
# its time beside the prediction of `dn_dist plan`.
#
#   scripts/simulate_scaling.sh BUILD PROFILE NODES LATENCY_US BANDWIDTH_GB [BUCKET_MB]
#
# PROFILE is a file of `dn_dist bench --profile FILE`; NODES is 16, 64, 256 or 1024, with one rank
# on each. There are two levels of switches with full bisection bandwidth; a node's link has the
# given bandwidth, and the four links of the longest path together have the given latency. SimGrid's
# default model of an old Ethernet (bandwidth and latency factors, TCP's window) is switched off. So
# is the bandwidth that it deducts for acknowledgements in the other direction, as a bandwidth
# measured with both sides sending includes that.
set -euo pipefail
export LC_ALL=C # awk prints numbers with decimal points

(($# == 5 || $# == 6)) || {
    sed -n '5s/^# */usage: /p' "$0" >&2
    exit 2
}
build=$1 profile=$2 nodes=$3 latency=$4 bandwidth=$5 bucket=${6:-1}
case $nodes in
16 | 64 | 256 | 1024) ;;
*)
    echo "NODES: found $nodes, expected 16, 64, 256 or 1024" >&2
    exit 2
    ;;
esac
command -v smpirun >/dev/null || {
    echo "expected smpirun: install Debian's libsimgrid-dev" >&2
    exit 77
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

width=$(awk "BEGIN { print sqrt($nodes) }")
hop=$(awk "BEGIN { print $latency / 4 }")
cat >"$folder/platform.xml" <<END
<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1">
  <zone id="world" routing="Full">
    <cluster id="cluster" prefix="node-" radical="0-$((nodes - 1))" suffix="" speed="1Gf" core="8"
             bw="${bandwidth}GBps" lat="${hop}us" topology="FAT_TREE"
             topo_parameters="2;$width,$width;1,$width;1,1" loopback_bw="1000GBps" loopback_lat="0"/>
  </zone>
</platform>
END
processes=$("$build/tools/step_traces" "$profile" "$nodes" "$bucket" "$folder")
simulated=$(smpirun -no-privatize -np "$processes" -platform "$folder/platform.xml" \
    -hostfile "$folder/hosts" -replay "$folder/list" --cfg=contexts/stack-size:256 \
    --cfg=smpi/host-speed:1Gf --cfg=smpi/bw-factor:0:1 --cfg=smpi/lat-factor:0:1 \
    --cfg=network/TCP-gamma:1e9 --cfg=network/weight-S:0 --cfg=network/crosstraffic:0 2>&1 |
    sed -n 's/.*Simulation time \([0-9.e+-]*\).*/\1/p' | tail -n 1)
[[ -n $simulated ]] || {
    echo "SimGrid printed no time" >&2
    exit 1
}
predicted=$("$build/dn_dist" plan --profile "$profile" --nodes "$nodes" --latency "$latency" \
    --bandwidth "$bandwidth" --bucket-mb "$bucket" --comm-thread on --json |
    grep -o '"step_s": *[0-9.e+-]*' | tail -n 1 | sed 's/.*: *//')
printf 'nodes %d predicted %s simulated %s ratio %s\n' "$nodes" "$predicted" "$simulated" \
    "$(awk "BEGIN { printf \"%.4f\", $predicted / $simulated }")"
