#!/usr/bin/env bash
# The threads of a rank under the thread sanitizer: loader, stage, saver, communication and heartbeat,
# each in its tests and all in a run on two ranks. One OpenMP thread: OpenMP's library is not built
# for that sanitizer.
#
#   threads.sh BUILD_FOLDER DATA    # of -DDN_SANITIZE=thread; records of Fashion-MNIST
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
data=$(cd "$2" && pwd)
export OMP_NUM_THREADS=1 TSAN_OPTIONS=ignore_noninstrumented_modules=1 # such as MPI

# sound NAME COMMAND...
sound() {
    local name=$1
    shift
    echo "$name"
    "$@" >"$tmp/out" 2>&1 || fail "$name: found status $?, expected 0" "$tmp/out"
}

for name in test_loader test_encoded test_saver; do
    sound "$name" limited "$build/tests/$name"
done
for name in test_comm test_allreduce; do
    sound "$name" on_ranks 2 "$build/tests/$name"
done
for thread in on off; do
    sound "train, --comm-thread $thread" on_ranks 2 "$build/dn_dist" train \
        --model fashion-mnist-tiny --data "$data" --out "$tmp/run" --batch-size 4 --virtual-ranks 8 \
        --eval-every 0 --threads 1 --comm-thread "$thread" --deadline 20 --checkpoint-every 5 \
        --max-steps "$([[ $thread == on ]] && echo 15 || echo 30)"
done
finish
