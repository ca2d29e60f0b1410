#!/usr/bin/env bash
# dn_dist and its data: damaged and unsuitable records, batch norms over one value, full disks.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
begin_dn_dist

# --- data ---------------------------------------------------------------------------------------

# damaged NAME: sets `bad` to a folder of links to the records, and `shard` to its first training
# shard, which is a copy.
damaged() {
    bad=$1
    mkdir "$bad"
    ln -s "$data"/* "$bad"
    shard=$(find "$bad" -name '*.h5' | grep train | sort | head -n 1)
    cp --remove-destination "$(readlink "$shard")" "$shard"
}
train_on() { # FOLDER: the options of a run on other data
    echo train --model fashion-mnist-tiny --data "$1" --out run --batch-size 4 --threads 1 --max-steps 2
}

refused "none/dataset.json: cannot read*create_records NAME --out none" $(train_on none)

damaged short
truncate -s -1000 "$shard"
refused "${shard##*/}: found * bytes, expected" $(train_on "$bad")

status=0
on_ranks 3 "$build/dn_dist" $(train_on "$bad") >out 2>err || status=$?
refusal "${shard##*/}: found * bytes, expected" $status "a shard cut short, on 3 ranks"

damaged flipped
flip "$shard" $(($(stat -c %s "$shard") / 2))
refused "${shard##*/}: found bytes of checksum *, expected *damaged" $(train_on "$bad")
# dataset.json tells enough to refuse a transform before a shard is opened
refused "--augment none: found images of 28 x 28, expected 64 x 64" $(train_on "$bad") --size 64 --augment none

refused "model densenet121: found 28x28 images, expected larger" \
    train --model densenet121 --data "$data" --out run
refused "--normalize: found '0.5', expected " train "${small[@]}" --normalize 0.5 --out run
refused "--augment hflip:2: hflip, p: found '2', expected a number from 0 to 1" \
    train "${small[@]}" --augment hflip:2 --out run
refused "--augment none: found images of 28 x 28, expected 64 x 64, the net's" train "${small[@]}" --size 64 --augment none --out run
refused "--classes 5: found 10 in data set FASHION_MNIST" train "${small[@]}" --classes 5 --out run

# --- batch norms over one value -------------------------------------------------------------------

halved=(--model blocks=1,1,1,1,1:growth=4:stem=cifar --batch-size 1 --threads 1) # 28 pixels to 1
one_value="features.denseblock5.denselayer1.norm1: found a batch norm over one value, expected"
refused "$one_value" train "${halved[@]}" --data "$data" --out run
refused "$one_value" bench "${halved[@]}" --size 28
refused "$one_value" plan "${halved[@]}" --size 28
refused "$one_value" \
    train "${halved[@]}" --data "$data" --out run --sync-bn --virtual-ranks 1
works train "${halved[@]}" --data "$data" --out halved --sync-bn --virtual-ranks 2 --eval-every 0 --max-steps 1
on_ranks 2 "$build/dn_dist" bench "${halved[@]}" --size 28 --sync-bn --steps 1 --warmup 0 \
    >out 2>err || fail "the same, bench on 2 ranks" err

# --- full disks and read-only folders -----------------------------------------------------------

# on_disk OPTIONS: a run whose --out is a separate file system, mounted with the options and visible
# to the run only; lists the files that it left in `left`.
on_disk() {
    mkdir -p disk
    limited unshare --mount bash -c '
        mount -t tmpfs -o "$1" none "$2/disk" || exit 99
        status=0
        "${@:3}" --out "$2/disk" >"$2/out" 2>"$2/err" || status=$?
        ls -A "$2/disk" >"$2/left"
        exit $status' bash "$1" "$tmp" "$build/dn_dist" train "${small[@]}" --max-steps 2
}
if unshare --mount bash -c 'mount -t tmpfs none "$1"' bash "$tmp" 2>/dev/null; then
    for case in "a full disk:size=100k" "a read-only folder:ro"; do
        status=0
        on_disk "${case#*:}" || status=$?
        refusal "$tmp/disk" $status "${case%:*}"
        ! grep checkpoint left || fail "${case%:*}: expected no checkpoint, found one"
    done
else
    untried "a full disk and a read-only folder: this user cannot mount tmpfs"
fi
finish
