#!/usr/bin/env bash
# dn_dist: help, options, configuration files, models, recipes, and too little memory.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
begin_dn_dist

# --- help ---------------------------------------------------------------------------------------

for command in train eval predict export report top info bench plan models recipes; do
    works $command --help
    mv out "help-$command"
    [[ ! -s err ]] || fail "$command --help: standard error is not empty" err
done
for words in "dn_dist" "dn_dist train" "create_records"; do
    limited "$build/"$words --version >version 2>err || fail "$words --version" err
    grep -qE '^(dn_dist|create_records) [0-9]+\.[0-9]+\.[0-9]+$' version ||
        fail "$words --version: expected a version, found" version
done
accepted "  bench    time training steps"
for option in model data out epochs max-steps batch-size virtual-ranks lr optimizer momentum \
    '\[no-\]nesterov' beta1 beta2 eps weight-decay schedule warmup-epochs label-smoothing dropout augment \
    init seed threads eval-every checkpoint-every keep resume classes size config init-from; do
    grep -qE -e "--$option\b" help-train || fail "train --help: expected --$option"
done
for command in eval predict export plan; do
    ! grep -qF data/cifar10 "help-$command" || fail "$command --help: expected no default of --data" "help-$command"
done
! grep -qE -e '--(threads|pin|dtype) ' help-export || fail "export --help: options without effect" help-export

# --- options ------------------------------------------------------------------------------------

refused "'trian', expected train, eval, predict, export, report, top, info, bench, plan, models or recipes; did you mean 'train'" trian
refused "did you mean 'eval'" evaluate
refused "did you mean '--version'" --versoin
refused "did you mean 'train'" help trian
OMPI_MCA_pml=none refused "found the command 'trian'" trian # where MPI does not start
refused "--resume $tmp: found no checkpoint-STEP.h5, expected the folder of a run" train "${small[@]}" --resume "$tmp"
refused "--class-weights: found 3, expected 10, one a class of FASHION_MNIST" \
    train "${small[@]}" --out run --class-weights 1,2,3
refused "--class-weights: found '0', expected" \
    train "${small[@]}" --out run --class-weights 1,0
refused "blocks=?6: expected" info --model $'blocks=\n6:growth=4'
refused "--isa (or DN_ISA): found sse, expected" train "${small[@]}" --out run --isa sse
refused "head-pool=9, expected at most the 8x8 pixels" \
    info --model blocks=1,1,1:growth=12:head-pool=9
refused "head-pool=1 with * features, expected at most 1048576" \
    info --model blocks=1:growth=12:head-pool=1 --size 4096
refused "growth=-1: expected whole numbers from 1 to 4096$" info --model blocks=6,12:growth=-1
mkdir raw
ln -s "$data" raw/records
refused "but one in raw/records, expected that folder" train --data raw --out run
rm raw/records
refused "create_records FOLDER --source raw --out DIR, or of a known data set with its name" train --data raw --out run
refused "--plateau-metric: found 'none', expected accuracy|loss|balanced|auroc|auto" \
    train "${small[@]}" --out run --schedule plateau --plateau-metric none
refused "--milestones: found --schedule step, which *expected multi-step$" \
    train "${small[@]}" --out run --milestones 30,60
[[ ! -e run ]] || fail "refused starts left $(ls -d run/*)"

printf 'epochs = 3\nlr = 1\0 and more\n' >bad.ini
refused "bad.ini:2: found a zero byte" train --config bad.ini --out run
refused "/dev/zero:1: found a zero byte" train --config /dev/zero --out run

# --- models, recipes and the rate ---------------------------------------------------------------

works models
for line in "densenet264-k48 +72686632 +3x224x224 +1000 " "densenet121-plain +10867048 " \
    "densenet-course +114394 .*:head-pool=2:" "densenet-bc-40-48 +2733130 "; do
    grep -qE "^  $line" out || fail "models: expected '$line'" out
done
works train --recipe cifar10-paper --print --lr 0.2
for line in "lr = 0.2" "weight-decay = 0.0001" "out = runs/cifar10-paper"; do
    grep -qx "$line" out || fail "--print: expected $line" out
done
mv out printed.ini
works train --config printed.ini --print
cmp printed.ini out >/dev/null || fail "--print: expected what --config read" out
works train --optimizer adam --print
grep -qx "beta2 = 0.999" out && ! grep -q momentum out || fail "--print: expected what adam reads" out
works recipes
for file in "$repo"/recipes/*.ini; do
    name=$(basename "$file" .ini)
    grep -qE "^  $name  +[A-Z]" out || fail "recipes: expected $name" out
    limited "$build/dn_dist" info --recipe "$name" >recipe 2>err &&
        grep -q "^learning rate, [a-z-]* schedule" recipe || fail "--recipe $name" err
done
accepted "  later epochs are not shown" info --model fashion-mnist-tiny --schedule step --step-epochs 1 --epochs 1000000000
accepted "learning rate, one-cycle schedule, global batch 128, 468 steps an epoch, at the first step" \
    info --model fashion-mnist-tiny --data "$data" --schedule one-cycle --epochs 4 --lr 0.1 --lr-scaling none --batch-size 128
accepted "learning rate, step schedule" info --model fashion-mnist-tiny --gamma 0.5
accepted ", 421 steps an epoch, at the first step" \
    info --model fashion-mnist-tiny --data "$data" --val-fraction 0.1 --epochs 4 --batch-size 128
refused "--batch-size 65536 x 1 virtual ranks: found a global batch of 65536 images, expected at most" \
    info --model fashion-mnist-tiny --data "$data" --schedule step --batch-size 65536
accepted "global batch 4294967296, " info --model fashion-mnist-tiny --batch-size 65536 --virtual-ranks 65536 --epochs 1
works info --model densenet121 --schedule plateau --plateau-patience 3
[[ $(grep -c . out) == 10 ]] && grep -q "^parameters 7978856, multiply-adds .* 2602950656$" out ||
    fail "info: expected a summary of 10 lines" out
works info --model densenet121 --layers
grep -q "^features.denseblock4.denselayer16.conv2 .* 128x7x7 .* 32x7x7 " out || fail "info --layers" out
mkdir recipes
printf '; Mine\nlr = 0.5\nepochs = 4\nschedule = multi-step\nmilestones = 3\n' >recipes/mine.ini
DN_RECIPES=recipes works recipes
grep -qE '^  mine +Mine$' out || fail "recipes: expected mine" out
works info --recipe recipes/mine.ini --lr_scaling none --lr 0.4
[[ $(grep -A 2 '^learning rate' out | tail -n 2 | xargs) == "1 to 3 0.4 4 0.04" ]] ||
    fail "info --recipe: expected 0.4 and 0.04" out
DN_RECIPES=recipes refused "--recipe: found 'mein'*did you mean 'mine'" \
    train --recipe mein
DN_RECIPES=recipse refused "DN_RECIPES: found *recipse', expected a folder" recipes
refused "--recipe: cannot read ./none.ini" train --recipe ./none.ini
refused "found the key 'recipe'" train --config <(echo "recipe = mine")
for switch in --sync-bn=true --sync_bn=yes "--sync-bn on" --sync-bn=1; do
    works train $switch --help
done

# --- large models ---------------------------------------------------------------------------------

works info --layers --size 4096 --model blocks=4096,4096:growth=1:stem=imagenet

for limit in v d; do
    status=0
    (ulimit -$limit 200000 && limited "$build/dn_dist" models) >out 2>err || status=$?
    refusal "ulimit -$limit: found 200000 KiB of memory, expected 524288" $status "ulimit -$limit"
done
finish
