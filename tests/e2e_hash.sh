#!/usr/bin/env bash
# The trained weights do not depend on the number of ranks or threads: after 20 steps of 8 virtual
# ranks, every combination ends with the same hash.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
records

expected=
for ranks in 1 2 3 4 5 8; do
    for threads in 1 2; do
        out=$tmp/$ranks-$threads
        if ! train "$ranks" "$out" --threads "$threads" --max-steps 20; then
            fail "training on $ranks ranks with $threads threads" "$out.log"
            continue
        fi
        hash=$(last_hash "$out") || hash=none
        expected=${expected:-$hash}
        echo "$ranks ranks, $threads threads: $hash"
        [[ $hash == "$expected" && $hash != none ]] ||
            fail "$ranks ranks, $threads threads: expected $expected, found $hash" "$out.log"
    done
done
finish
