#!/usr/bin/env bash
# A step on 64 ranks, simulated by SimGrid on a fat tree from the program's own plan of messages,
# takes the time that `dn_dist plan` predicts: once bound by bandwidth, once by latency.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
command -v smpirun >/dev/null || skip "smpirun is not installed (Debian: libsimgrid-dev)"
simulate=$repo/scripts/simulate_scaling.sh
decimal_commas

# A hundred layers of 1 ms and 20000 floats each.
{
    printf '{"format": "dn_dist profile", "format_version": 1, "model": "made up", "mode": "fp32",'
    printf '"isa": "none", "size": 32, "batch": 8, "ranks": 1, "threads": 1, "statistics": 1000,'
    printf '"forward_seconds": 0.05, "update_seconds": 0.001, "backward": ['
    for ((i = 1; i < 100; i++)); do printf '{"seconds": 0.001, "floats": 20000},'; done
    printf '{"seconds": 0.001, "floats": 21000}]}'
} >"$tmp/profile.json"

# check WHAT LATENCY BANDWIDTH: both agree within 4 %, and most of the time is communication. (In
# SimGrid paths inside a switch have half the latency, which the prediction ignores.)
check() {
    limited env "${commas[@]}" "$simulate" "$build" "$tmp/profile.json" 64 "$2" "$3" >"$tmp/output" 2>&1 ||
        fail "$1" "$tmp/output"
    awk '{ ok = $8 > 0.96 && $8 < 1.04 && $6 > 0.16 } END { exit !ok }' "$tmp/output" ||
        fail "$1: expected a ratio from 0.96 to 1.04 and more than 0.16 s, found" "$tmp/output"
}
check "bandwidth" 5 0.15
check "latency" 1000 10
finish
