#!/usr/bin/env bash
# The baseline has only instructions of every x86-64: kernel tests and training steps run on an
# emulated processor that faults at anything beyond SSE3, and choose `generic`.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"

[[ $(uname -m) == x86_64 ]] || skip "this processor is no x86-64"
qemu=$(command -v qemu-x86_64 || command -v qemu-x86_64-static) ||
    skip "qemu-x86_64 is missing (package qemu-user)"
unset OPENBLAS_CORETYPE # it would make OpenBLAS use instructions it was not asked about

# baseline PATTERN COMMAND...: the command must succeed and print a line that matches the pattern.
baseline() {
    local pattern=$1
    shift
    limited "$qemu" -cpu kvm64 "$@" >"$tmp/out" 2>&1 || fail "${1##*/} ended with status $?" "$tmp/out"
    grep -q "$pattern" "$tmp/out" || fail "${1##*/}: expected \"$pattern\" in" "$tmp/out"
}

baseline '^generic: .* 0 failures' "$build/tests/check_kernels"
baseline 'kernels generic' "$build/dn_dist" bench --model fashion-mnist-tiny --batch-size 4 --steps 1 \
    --warmup 0 --threads 1
finish
