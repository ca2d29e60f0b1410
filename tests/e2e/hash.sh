#!/usr/bin/env bash
# The trained weights do not depend on the number of ranks or threads, nor on how gradients travel:
# after 20 steps of 8 virtual ranks, every combination ends with the same hash.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
records
export OMPI_MCA_btl_tcp_if_include=lo # without it Open MPI 5 has no TCP within a machine

expected=

# same NAME RANKS OPTION...: a run must end with the hash of those before it.
same() {
    local out=$tmp/${1// /-} name=$1 ranks=$2 hash
    shift 2
    if ! train "$ranks" "$out" --max-steps 20 "$@"; then
        fail "training, $name" "$out.log"
        return
    fi
    hash=$(last_hash "$out") || hash=none
    expected=${expected:-$hash}
    echo "$name: $hash"
    [[ $hash == "$expected" && $hash != none ]] ||
        fail "$name: expected $expected, found $hash" "$out.log"
}

for ranks in 1 2 3 5 8; do
    for threads in 1 2; do
        same "$ranks ranks x $threads threads" "$ranks" --threads "$threads"
    done
    # Buckets of one cache line or so, and of the whole vector; shared memory and TCP.
    same "$ranks ranks, small buckets, thread" "$ranks" --bucket-mb 0.001 --comm-thread on
    OMPI_MCA_btl=self,tcp same "$ranks ranks, polled, TCP" "$ranks" --comm-thread off
done
same "2 ranks, 3 reading threads" 2 --io-threads 3
OMPI_MCA_btl=self,tcp same "3 ranks, small buckets, thread, TCP" 3 --bucket-mb 0.001 --comm-thread on

fp32=$expected expected=
for ranks in 1 2 3 8; do
    same "$ranks ranks, bf16 on the wire" "$ranks" --wire bf16
done
[[ $expected != "$fp32" ]] || fail "bf16 on the wire: found the hash of fp32"

expected=
for ranks in 1 2 3 5 8; do
    for threads in 1 2; do
        same "$ranks ranks x $threads threads, sync-bn" "$ranks" --threads "$threads" --sync-bn
    done
done
OMPI_MCA_btl=self,tcp same "5 ranks, sync-bn, small buckets, recompute, TCP" 5 --sync-bn --comm-thread on \
    --bucket-mb 0.001 --recompute
[[ $expected != "$fp32" ]] || fail "--sync-bn: found the hash of statistics a virtual rank"
finish
