#!/usr/bin/env bash
# dn_dist train and eval: the lines of a start, the contents of checkpoints, and those that are
# refused.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
begin_dn_dist

# --- what a start says ----------------------------------------------------------------------------

# starts_with LINE OPTION...: a run of `steps` steps prints the line at its start.
steps=0
starts_with() {
    steps=$((steps + 1))
    works train --model fashion-mnist-tiny --data "$data" --threads 1 --eval-every 0 --out said \
        --max-steps $steps "${@:2}"
    grep -qxF -- "$1" out || fail "a start: expected '$1'" out
}
starts_with "images 1x28x28, --augment hflip; global batch 128, lr 0.2 (0.1 scaled linearly), warm-up 5 epochs" \
    --augment hflip --batch-size 32 --virtual-ranks 4
starts_with "images 1x28x28, --augment hflip; global batch 128, lr 0.05" --lr-scaling none --lr 0.05
grep -q "^warning: --lr: the checkpoint has 0.1, the run continues with 0.05" err || fail "--lr" err
printf 'beta1 = 0.5\n' >beta1.ini # of no effect, so no word of it
starts_with "images 1x28x28, --augment hflip; global batch 128, lr 0.05" --config beta1.ini
! grep -q beta1 err || fail "an option that is not read" err
refused "--beta1: found --optimizer sgd, which" \
    train --model fashion-mnist-tiny --data "$data" --out said --beta1 0.5

# --- checkpoints --------------------------------------------------------------------------------

printf '[run]\nmodel = fashion-mnist-tiny\nmax-steps = 3\nbatch-size = 9\n' >good.ini
works train --config good.ini --data "$data" --batch-size 4 --threads 1 --eval-every 0 --out good
checkpoint=good/checkpoint-00000003.h5
[[ -f $checkpoint ]] || fail "expected $checkpoint, found $(ls good)"

limited "$build/dn_dist" eval --checkpoint "$checkpoint" --data "$data" --json >json 2>err ||
    fail "eval" err
for key in top1 top5 loss; do
    grep -qE "\"$key\": *[0-9]" json || fail "eval --json: expected the key $key" json
done
on_ranks 3 "$build/dn_dist" eval --checkpoint "$checkpoint" --data "$data" --json >json3 2>err ||
    fail "eval on 3 ranks" err
cmp -s json json3 || fail "eval: expected the same on 1 and 3 ranks" json json3

# Only rank 0 reads the checkpoint: rank 1 runs where there is none.
mkdir elsewhere
on_ranks 1 "$build/dn_dist" eval good --json : -np 1 -wdir "$tmp/elsewhere" "$build/dn_dist" eval good --json \
    >json2 2>err || fail "eval with the run on rank 0 only" err
cmp -s json json2 || fail "eval: expected the same with the run on rank 0 only" json json2
cp "$checkpoint" damaged.h5
flip damaged.h5 1000
status=0
on_ranks 2 "$build/dn_dist" eval damaged.h5 >out 2>err || status=$?
refusal "damaged.h5: found bytes of checksum *, expected * (damaged)" $status "eval of a damaged checkpoint"

# The normalisation of training images is recorded, and used in evaluation.
works train --config good.ini --data "$data" --batch-size 4 --threads 1 --eval-every 0 \
    --normalize 0.25/0.5 --out normalised
scores() { # of the images, with options or as recorded
    limited "$build/dn_dist" eval --checkpoint normalised/checkpoint-00000003.h5 --data "$data" \
        --json "$@" 2>err || fail "eval $*" err
}
recorded=$(scores)
[[ $recorded == "$(scores --normalize 0.25/0.5)" ]] || fail "eval: not as --normalize is recorded"
[[ $recorded != "$(scores --normalize none)" ]] || fail "eval --normalize none: changed nothing"
works export normalised normalised.safetensors
works eval normalised.safetensors --data "$data" --json
loss='"loss": *[0-9.]+'
[[ $(grep -oE "$loss" out) == "$(grep -oE "$loss" <<<"$recorded")" ]] ||
    fail "eval of safetensors: not as --normalize is recorded" out

other=(train --model blocks=2:growth=4:stem=cifar --data "$data" --out run --batch-size 4 --threads 1)
refused "checkpoint-00000003.h5: --model: found blocks=2:growth=4:stem=cifar, expected fashion-mnist-tiny" \
    "${other[@]}" --resume "$checkpoint"
refused "checkpoint-00000003.h5: --model: found" "${other[@]}" --resume "${checkpoint%/*}"
refused "checkpoint-00000003.h5: features.conv0.weight: found shape (16, 1, 7, 7), expected (24, 1, 3, 3)" \
    "${other[@]}" --init-from "$checkpoint"
refused "--resume: found no file 'none.h5', expected auto, none, a checkpoint or a run's folder" train "${small[@]}" --out run --resume none.h5
refused "none.h5: *; expected the folder of a run" eval --checkpoint none.h5 --data "$data"

mkdir black # a CIFAR-10 of black images, but for one
head -c 3073 </dev/zero | tr '\0' '\1' >black/data_batch_1.bin
truncate -s 30730000 black/{data_batch_{1..5},test_batch}.bin
program=create_records works CIFAR10 --source black --out other --level 1
refused "--data other: found CIFAR10 (50000 images*, expected FASHION_MNIST *checkpoint-00000003.h5" \
    train --out good --data other
finish
