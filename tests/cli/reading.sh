#!/usr/bin/env bash
# Training from encoded shards: the weights do not depend on ranks, I/O threads, copies, or a kill
# and resume in the middle of an epoch; damage is reported when it is read; and the benchmark of the
# reader.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
find_python PIL numpy || skip "found no python3 with PIL and numpy (Debian: python3-pil)"
cd "$tmp"
program=dn_dist

"$python" - <<'END' || fail "the images could not be made"
import os
import numpy
from PIL import Image
draw = numpy.random.default_rng(1)
for name in "abc":
    os.makedirs(f"images/{name}")
    for i in range(67):
        small = draw.integers(0, 256, (5 + i % 3, 6, 3)).astype(numpy.uint8)
        Image.fromarray(small).resize((40 + i % 11, 36 + i % 7)).save(f"images/{name}/{i}.jpg")
END
program=create_records works FOLDER --source images --out records --shards 3

# 181 images, 5 steps an epoch.
train=("$build/dn_dist" train --model blocks=1,1:growth=4:stem=cifar --size 32 --data records
    --batch-size 4 --virtual-ranks 9 --eval-every 0 --threads 1)

# run RANKS OUT OPTION...
run() {
    local ranks=$1 out=$2
    shift 2
    on_ranks "$ranks" "${train[@]}" --out "$out" --max-steps 18 "$@" >>"$out.log" 2>&1
}

# same OUT: its hash must be that of the first run after `expected` was cleared.
same() {
    local hash
    hash=$(last_hash "$1") || hash=none
    expected=${expected:-$hash}
    echo "$1: $hash"
    [[ $hash == "$expected" && $hash != none ]] || fail "$1: expected $expected, found $hash" "$1.log"
}

# killed SIGNAL OUT: sends it to the two ranks of a long run with copies, in the middle of an epoch.
killed() {
    local signal=$1 out=$2 launcher
    mpirun --oversubscribe --bind-to none -np 2 "${train[@]}" --out "$out" --stage stage \
        --epochs 1000000 --checkpoint-every 7 --keep 0 >>"$out.log" 2>&1 &
    launcher=$!
    await $launcher test -e "$out/checkpoint-00000007.h5"
    cat /proc/$launcher/task/*/children | xargs -r kill "-$signal" || fail "$out ended early" "$out.log"
    wait $launcher || true
}

for order in full window:64; do
    expected=
    for ranks in 1 3; do
        for threads in 1 4; do
            out=$order-$ranks-$threads
            run $ranks "$out" --shuffle $order --io-threads $threads || fail "$out" "$out.log"
            same "$out"
        done
    done
    out=$order-stopped
    for steps in 3 12 18; do # in the middle of the first and of the third epoch
        run $((steps % 4 + 1)) "$out" --shuffle $order --max-steps $steps --stage stage ||
            fail "$out" "$out.log"
    done
    same "$out"
    [[ -z $(ls stage) ]] || fail "$out: found copies, expected none after the run"
    [[ $order == full ]] && full=$expected
done
[[ $expected != "$full" ]] || fail "--shuffle window:64: found the weights of another order"
run 1 window:64-stopped --shuffle full --max-steps 19 && fail "another --shuffle is accepted"
grep -q -- "--shuffle: found full, expected window:64 as in the checkpoint" window:64-stopped.log ||
    fail "another --shuffle" window:64-stopped.log
grep -q '"data_wait": [0-9]' full-3-4/metrics.jsonl || fail "data_wait" full-3-4/metrics.jsonl

# Killed with its copies left, then resumed; and stopped by a signal
killed KILL killed
[[ -n $(ls stage) ]] || fail "killed: expected copies to be left"
run 3 killed --stage stage --resume killed/checkpoint-00000007.h5 --max-steps 13 || fail "killed, then resumed" killed.log
run 1 whole --max-steps 13 || fail "the run left alone" whole.log
expected=
same whole
same killed
[[ -z $(ls stage) ]] || fail "killed: found copies, expected none after the resumed run"
killed TERM signalled
grep -q "stopped on a request (SIGTERM)" signalled.log || fail "signalled" signalled.log
[[ -z $(ls stage) ]] || fail "signalled: found copies, expected none"

# The bench
limited "$build/dn_dist" bench --reader --data records --threads 2 --seconds 0.2 --json \
    --augment random-resized-crop:16,hflip --shuffle window:64 >bench.json 2>out || fail "bench" out
on_ranks 2 "$build/dn_dist" bench --reader --data records --threads 1 --seconds 0.2 --batch-size 8 \
    >out 2>&1 || fail "bench, 2 ranks" out
grep -qE "^images, random-resized-crop:224,hflip: [0-9.]+ images/s, .* 2 ranks x 1 threads" out ||
    fail "bench, 2 ranks" out
"$python" - <<'END' || fail "bench --json" bench.json
import json, os
bench = json.load(open("bench.json"))
sizes = [os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk("images") for f in files]
assert bench["size"] == [16, 16] and bench["threads"] == 2 and bench["batch"] == 32, bench
assert bench["images_per_s"] > 0 and abs(bench["images_per_s"] * bench["seconds"] / bench["images"] - 1) < 1e-3
assert min(sizes) <= bench["bytes"] / bench["images"] <= max(sizes), bench
END

refused "--data: found it without --reader" bench --data records
for option in "--model densenet121" "--steps 3" "--profile p.json" "--roofline" "--sync-bn" "--dtype bf16" \
    "--timeline t.json"; do
    # shellcheck disable=SC2086
    refused "${option%% *}: found it with --reader: reading alone is timed, and no step" \
        bench --reader --data records --seconds 0.1 $option
done
[[ ! -e p.json && ! -e t.json ]] || fail "bench --reader: wrote what it refused"
refused '--shuffle: found "window:63", expected full, or window:N of 64 or more' \
    bench --reader --data records --shuffle window:63
refused '--shuffle: found "blocks"' train --data records --out refused --shuffle blocks --size 32
small=(train --model blocks=1,1:growth=4:stem=cifar --data records --batch-size 64 --epochs 1 --threads 1)
refused "--eval-transform resize:9,center-crop:8: found images of 8 x 8, expected 16 x 16" \
    "${small[@]}" --out refused --augment random-resized-crop:16 --eval-transform resize:9,center-crop:8
refused "found 182 images for all ranks, expected at most the 181 of records" bench --reader --data records --batch-size 182

# The net's size, which --augment alone says, is that of the evaluation, too
accepted "test loss" "${small[@]}" --out sized --augment random-resized-crop:16

# Damage is told when it is met, and named
put records/images-train-00001-of-00003.h5 20000 'xxxxxxxx'
run 2 damaged && fail "a damaged image is trained on" damaged.log
grep -q "images-train-00001-of-00003.h5: image [0-9]* at byte [0-9]* is damaged: found bytes of" damaged.log ||
    fail "a damaged image" damaged.log

# Damage of two indexes, which two ranks read, is one line
for shard in 1 2; do
    put records/images-train-0000$shard-of-00003.h5 0 'xxxxxxxx'
done
status=0
on_ranks 3 "${train[@]}" --out damaged >out 2>err || status=$?
refusal "rank 1 on host *: records/images-train-00001-of-00003.h5: damaged: HDF5 cannot open it$" $status "indexes"

# A damaged image in evaluation, after the epoch was saved; after a repair the next start repeats the
# evaluation.
rm -rf records
"$build/create_records" FOLDER --source images --out records --shards 3 >out 2>&1 || fail "create_records, again" out
cp records/images-test-00000-of-*.h5 whole.h5
test=$(echo records/images-test-00000-of-*.h5)
put "$test" $(($(stat -c %s "$test") / 2)) 'xxxxxxxx'
run 2 evaluated --eval-every 1 && fail "a damaged image is evaluated on" evaluated.log
grep -q "^dn_dist: evaluation after step 5: .*$test: image .* is damaged.*; the state after the step is in evaluated/checkpoint-00000005.h5$" evaluated.log ||
    fail "a damaged image that is evaluated on" evaluated.log
cp whole.h5 "$test"
run 1 evaluated --eval-every 1 || fail "an evaluation that is made up for" evaluated.log
run 1 unharmed --eval-every 1 || fail "the run left alone" unharmed.log
expected=
same unharmed
same evaluated
finish
