#!/usr/bin/env bash
# dn_dist from the outside: help, configuration files, evaluation, and bad input. Each bad input
# must end in one line that names the option or file, with a failing status, without hanging and
# without leaving a checkpoint.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
records
dn_dist=$build/dn_dist
out=$tmp/run
small=(--model fashion-mnist-tiny --data "$data" --batch-size 4 --threads 1 --eval-every 0)

# check_refusal WHAT STATUS PATTERN: $tmp/error holds one line with PATTERN, and a message's parts.
check_refusal() {
    local lines
    sed -e '/^-----/,/^-----/d' -e '/^$/d' "$tmp/error" >"$tmp/lines" # without mpirun's boxes
    lines=$(wc -l <"$tmp/lines")
    case $2 in
    0) fail "$1: expected a failing status, found 0" "$tmp/error" ;;
    124 | 137) fail "$1: hangs" "$tmp/error" ;;
    *) (($2 < 126)) || fail "$1: ended by a signal, status $2" "$tmp/error" ;;
    esac
    [[ $lines == 1 ]] || fail "$1: expected one line on standard error, found $lines" "$tmp/error"
    grep -qE -e "$3" "$tmp/lines" || fail "$1: expected a line with '$3', found" "$tmp/error"
}

# refused WHAT PATTERN OPTION...: dn_dist alone ends with one line on standard error.
refused() {
    local what=$1 pattern=$2 status=0
    shift 2
    limited "$dn_dist" "$@" >"$tmp/output" 2>"$tmp/error" || status=$?
    check_refusal "$what" $status "$pattern"
    leaves_nothing "$what" "$out"
}

# leaves_nothing WHAT FOLDER: it holds no checkpoint and no part of one.
leaves_nothing() {
    [[ ! -d $2 ]] || [[ -z $(find "$2" -name '*checkpoint*') ]] ||
        fail "$1: expected no checkpoint, found $(find "$2" -name '*checkpoint*')"
}

# --- help ---------------------------------------------------------------------------------------

for command in train eval predict export report top info bench plan models recipes; do
    limited "$dn_dist" $command --help >"$tmp/help-$command" 2>"$tmp/error" ||
        fail "$command --help" "$tmp/error"
    [[ ! -s $tmp/error ]] || fail "$command --help: standard error is not empty" "$tmp/error"
done
for program in "$dn_dist" "$dn_dist train" "$build/create_records"; do
    limited $program --version >"$tmp/version" 2>"$tmp/error" || fail "$program --version" "$tmp/error"
    grep -qE '^(dn_dist|create_records) [0-9]+\.[0-9]+\.[0-9]+$' "$tmp/version" ||
        fail "$program --version: expected a version, found" "$tmp/version"
done
limited "$dn_dist" >"$tmp/help" 2>"$tmp/error" || fail "dn_dist alone" "$tmp/error"
grep -q "^  bench    time training steps" "$tmp/help" || fail "dn_dist alone: expected bench" "$tmp/help"
for option in model data out epochs max-steps batch-size virtual-ranks lr optimizer momentum \
    '\[no-\]nesterov' beta1 beta2 eps weight-decay schedule warmup-epochs label-smoothing dropout augment \
    init seed threads eval-every checkpoint-every keep resume classes size config init-from; do
    grep -qE -e "--$option\b" "$tmp/help-train" || fail "train --help: expected --$option"
done
for command in eval predict export plan; do
    ! grep -qF data/cifar10 "$tmp/help-$command" || fail "$command --help: expected no default of --data" "$tmp/help-$command"
done
! grep -qE -e '--(threads|pin|dtype) ' "$tmp/help-export" || fail "export --help: options without effect" "$tmp/help-export"

# --- more ranks x threads than processors ---------------------------------------------------------

# starts N VARIABLE=VALUE...: OpenMP starts N times on a node whose one processor srun grants: a
# second time to wait passively. Counted is libgomp, which OpenBLAS loads whatever the compiler.
starts() {
    limited env -u OMP_WAIT_POLICY -u OMP_NUM_THREADS OMP_DISPLAY_ENV=true SLURM_CPUS_ON_NODE=1 \
        SLURM_STEP_NUM_TASKS=2 "${@:2}" >"$tmp/output" 2>&1 || fail "${*:2}" "$tmp/output"
    [[ $(grep -c "_OPENMP = '" "$tmp/output") == "$1" ]] ||
        fail "${*:2}: expected OpenMP to start $1 times" "$tmp/output"
}
info=("$dn_dist" info --model fashion-mnist-tiny)
starts 1 SLURM_STEP_NUM_NODES=2 "${info[@]}"
starts 2 SLURM_STEP_NUM_NODES=1 "${info[@]}"
starts 2 SLURM_STEP_NUM_NODES=2 "${info[@]}" --threads 2
starts 2 SLURM_STEP_NUM_NODES=2 OMP_NUM_THREADS=2 "${info[@]}"
starts 1 SLURM_STEP_NUM_NODES=1 OMP_WAIT_POLICY=active "${info[@]}"

# --- options ------------------------------------------------------------------------------------

refused "unknown command" "'trian', expected train, eval, predict, export, report, top, info, bench, plan, models or recipes; did you mean 'train'" trian
refused "a longer command" "did you mean 'eval'" evaluate
refused "unknown option for a command" "did you mean '--version'" --versoin
refused "unknown option" "--epoch:.*found.*expected.*did you mean '--epochs'" train --epoch 3
refused "an option by its help" "--learning_rate: .*did you mean '--lr'" train --learning_rate=1
refused "one dash" "-lr: .*did you mean '--lr'" train -lr 1
refused "help of no command" "did you mean 'train'" help trian
refused "a folder to resume from" "--resume $tmp: found no checkpoint-STEP.h5, expected the folder of a run" \
    train "${small[@]}" --resume "$tmp"
refused "no value" "--epochs.*found.*expected" train --epochs
refused "zero" "--batch-size.*'0'.*expected" train --batch-size 0
refused "negative" "--lr.*'-1'.*expected" train --lr -1
refused "not a number" "--epochs.*'ten'.*expected" train --epochs ten
refused "rest behind a number" "--epochs.*'3x'.*expected" train --epochs 3x
refused "class weights" "--class-weights: found 3, expected 10, one a class of FASHION_MNIST" \
    train "${small[@]}" --out "$out" --class-weights 1,2,3
refused "a class weight" "--class-weights: found '0', expected" \
    train "${small[@]}" --out "$out" --class-weights 1,0
refused "too large" "--dropout.*'1.5'.*expected" train --dropout 1.5
refused "not a choice" "--schedule.*'linear'.*step\|cosine\|constant" train --schedule linear
refused "stray word" "'fast'.*expected" train fast
refused "unknown model" "densenet122" train --model densenet122 --data "$data" --out "$out"
refused "a model's fault before the data's" "'densenet-121'.*did you mean 'densenet121'" \
    train --model densenet-121 --data "$tmp/none" --out "$out"
refused "a message of one line" "blocks=.6: expected" info --model $'blocks=\n6:growth=4'
refused "unknown kernels" "--isa.*sse.*expected" train "${small[@]}" --out "$out" --isa sse
refused "too small a map for the head" "head-pool=9, expected at most the 8x8 pixels" \
    info --model blocks=1,1,1:growth=12:head-pool=9
refused "too many features" "head-pool=1 with .* features, expected at most 1048576" \
    info --model blocks=1:growth=12:head-pool=1 --size 4096
refused "bad written form" "growth" info --model blocks=6,12:growth=-1
mkdir "$tmp/raw"
ln -s "$data" "$tmp/raw/records"
refused "a folder above records" "one in $tmp/raw/records, expected that" train --data "$tmp/raw" --out "$out"
rm "$tmp/raw/records"
refused "a raw folder" "create_records FOLDER --source $tmp/raw --out DIR, or of a known data set with its name" train --data "$tmp/raw" --out "$out"
refused "no folder" "create_records NAME --out $tmp/none" train --data "$tmp/none" --out "$out"
refused "an option of another schedule" "--milestones: found --schedule step, which .*expected multi-step$" \
    train "${small[@]}" --out "$out" --milestones 30,60
refused "an option of another optimizer" "--momentum: found --optimizer adam, .*expected sgd or rmsprop or lars$" \
    train --recipe fashion-mnist-tiny --data "$data" --out "$out" --momentum 0.9
[[ ! -e $out ]] || fail "refused starts left $(ls -d "$out"/*)"
refused "eval without a checkpoint" "--checkpoint.*found.*expected" eval --data "$data"

printf 'epochs = 3\nepoch = 4\n' >"$tmp/bad.ini"
refused "unknown key" "bad.ini:2.*epoch.*expected" train --config "$tmp/bad.ini" --out "$out"
printf 'lr = high\n' >"$tmp/bad.ini"
refused "bad value of a key" "bad.ini:1.*lr.*high.*expected" train --config "$tmp/bad.ini" --out "$out"
printf 'epochs = 3\nlr = 1\0 and more\n' >"$tmp/bad.ini"
refused "a zero byte" "bad.ini:2: found a zero byte" train --config "$tmp/bad.ini" --out "$out"
refused "a file without end" "/dev/zero:1: found a zero byte" train --config /dev/zero --out "$out"
refused "no configuration file" "none.ini" train --config "$tmp/none.ini" --out "$out"

# --- models, recipes and the rate ---------------------------------------------------------------

limited "$dn_dist" models >"$tmp/output" 2>"$tmp/error" || fail "models" "$tmp/error"
for line in "densenet264-k48 +72686632 +3x224x224 +1000 " "densenet121-plain +10867048 " \
    "densenet-course +114394 .*:head-pool=2:" "densenet-bc-40-48 +2733130 "; do
    grep -qE "^  $line" "$tmp/output" || fail "models: expected '$line'" "$tmp/output"
done
limited "$dn_dist" train --recipe cifar10-paper --print --lr 0.2 >"$tmp/output" 2>"$tmp/error" || fail "--print" "$tmp/error"
for line in "lr = 0.2" "weight-decay = 0.0001" "out = runs/cifar10-paper"; do
    grep -qx "$line" "$tmp/output" || fail "--print: expected $line" "$tmp/output"
done
limited "$dn_dist" recipes >"$tmp/output" 2>"$tmp/error" || fail "recipes" "$tmp/error"
recipes=$(cd "$(dirname "${BASH_SOURCE[0]}")/../recipes" && pwd)
for file in "$recipes"/*.ini; do
    name=$(basename "$file" .ini)
    grep -qE "^  $name  +[A-Z]" "$tmp/output" || fail "recipes: expected $name" "$tmp/output"
    limited "$dn_dist" info --recipe "$name" >"$tmp/recipe" 2>"$tmp/error" &&
        grep -q "^learning rate, [a-z-]* schedule" "$tmp/recipe" || fail "--recipe $name" "$tmp/error"
done
limited "$dn_dist" info --model fashion-mnist-tiny --schedule step --step-epochs 1 --epochs 1000000000 \
    >"$tmp/output" && grep -q "^  later epochs are not shown$" "$tmp/output" || fail "info of many epochs" "$tmp/output"
limited "$dn_dist" info --model fashion-mnist-tiny --batch-size 65536 --virtual-ranks 65536 --epochs 1 >"$tmp/output" &&
    grep -q "global batch 4294967296, " "$tmp/output" || fail "info of the largest global batch" "$tmp/output"
limited "$dn_dist" info --model densenet121 --schedule plateau --plateau-patience 3 >"$tmp/output" ||
    fail "info --plateau-patience"
[[ $(grep -c . "$tmp/output") == 10 ]] && grep -q "^parameters 7978856, multiply-adds .* 2602950656$" "$tmp/output" ||
    fail "info: expected a summary of 10 lines" "$tmp/output"
limited "$dn_dist" info --model densenet121 --layers >"$tmp/output" &&
    grep -q "^features.denseblock4.denselayer16.conv2 .* 128x7x7 .* 32x7x7 " "$tmp/output" ||
    fail "info --layers" "$tmp/output"
mkdir "$tmp/recipes"
printf '; Mine\nlr = 0.5\nepochs = 4\nschedule = multi-step\nmilestones = 3\n' >"$tmp/recipes/mine.ini"
DN_RECIPES=$tmp/recipes limited "$dn_dist" recipes >"$tmp/output" || fail "recipes of one's own"
grep -qE '^  mine +Mine$' "$tmp/output" || fail "recipes: expected mine" "$tmp/output"
limited "$dn_dist" info --recipe "$tmp/recipes/mine.ini" --lr_scaling none --lr 0.4 >"$tmp/output" ||
    fail "info --recipe FILE"
[[ $(grep -A 2 '^learning rate' "$tmp/output" | tail -n 2 | xargs) == "1 to 3 0.4 4 0.04" ]] ||
    fail "info --recipe: expected 0.4 and 0.04" "$tmp/output"
DN_RECIPES=$tmp/recipes refused "no such recipe" "--recipe: found 'mein'.*did you mean 'mine'" \
    train --recipe mein
DN_RECIPES=$tmp/recipse refused "no folder of recipes" "DN_RECIPES: found .*/recipse', expected a folder" recipes
refused "no recipe file" "--recipe: cannot read ./none.ini" train --recipe ./none.ini
refused "a recipe in a recipe" "found the key 'recipe'" train --config <(echo "recipe = mine")
for switch in --sync-bn=true --sync_bn=yes "--sync-bn on" --sync-bn=1; do
    limited "$dn_dist" train $switch --help >"$tmp/output" 2>"$tmp/error" || fail "$switch" "$tmp/error"
done

# --- data ---------------------------------------------------------------------------------------

# damaged NAME: sets `bad` to a folder of links to the records, and `shard` to its first training
# shard, which is a copy.
damaged() {
    bad=$tmp/$1
    mkdir "$bad"
    ln -s "$data"/* "$bad"
    shard=$(find "$bad" -name '*.h5' | grep train | sort | head -n 1)
    cp --remove-destination "$(readlink "$shard")" "$shard"
}
flip() { # FILE OFFSET: inverts one byte
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    printf "\\x$(printf %x $((byte ^ 255)))" |
        dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
train_on() { # FOLDER: the options of a run on other data
    echo train --model fashion-mnist-tiny --data "$1" --out "$out" --batch-size 4 --threads 1 --max-steps 2
}

refused "no data" "none" $(train_on "$tmp/none")

damaged short
truncate -s -1000 "$shard"
refused "shard cut short" "$(basename "$shard").*found.*expected" $(train_on "$bad")

damaged flipped
flip "$shard" $(($(stat -c %s "$shard") / 2))
refused "one flipped byte" "$(basename "$shard")" $(train_on "$bad")

damaged edited
cp --remove-destination "$data/dataset.json" "$bad/dataset.json"
sed -i 's/"zstd_level": 6/"zstd_level": 7/' "$bad/dataset.json"
refused "an edited dataset.json" "dataset.json.*checksum.*expected" $(train_on "$bad")

damaged missing
rm "$shard"
refused "a missing shard" "$(basename "$shard")" $(train_on "$bad")

damaged future
cp --remove-destination "$data/dataset.json" "$bad/dataset.json"
sed -i 's/\("format_version": *\)[0-9]*/\199/' "$bad/dataset.json"
refused "data of a future format" "dataset.json.*99.*expected 4" $(train_on "$bad")

refused "too small an image" "densenet121|28" train --model densenet121 --data "$data" --out "$out"
refused "a bad normalisation" "--normalize: found '0.5', expected .*" train "${small[@]}" --normalize 0.5 --out "$out"
refused "a bad step" "--augment hflip:2: hflip, p: found '2', expected a number from 0 to 1" \
    train "${small[@]}" --augment hflip:2 --out "$out"
refused "another image size" "--augment none: found images of 28 x 28, expected 64 x 64, the net's" \
    train "${small[@]}" --size 64 --augment none --out "$out"
refused "another class count" "classes.*(found|expected)" train "${small[@]}" --classes 5 --out "$out"

# --- batch norms over one value -------------------------------------------------------------------

halved=(--model blocks=1,1,1,1,1:growth=4:stem=cifar --batch-size 1 --threads 1) # 28 pixels to 1
one_value="features.denseblock5.denselayer1.norm1: found a batch norm over one value, expected"
refused "batch norm over one value" "$one_value" train "${halved[@]}" --data "$data" --out "$out"
refused "batch norm over one value, bench" "$one_value" bench "${halved[@]}" --size 28
refused "batch norm over one value, plan" "$one_value" plan "${halved[@]}" --size 28
refused "one batch to synchronise" "$one_value" \
    train "${halved[@]}" --data "$data" --out "$out" --sync-bn --virtual-ranks 1
limited "$dn_dist" train "${halved[@]}" --data "$data" --out "$tmp/halved" --sync-bn \
    --virtual-ranks 2 --eval-every 0 --max-steps 1 >"$tmp/output" 2>"$tmp/error" ||
    fail "batch norm over one value of each virtual rank, synchronised" "$tmp/error"
on_ranks 2 "$dn_dist" bench "${halved[@]}" --size 28 --sync-bn --steps 1 --warmup 0 \
    >"$tmp/output" 2>"$tmp/error" || fail "the same, bench on 2 ranks" "$tmp/error"

# --- large models ---------------------------------------------------------------------------------

limited "$dn_dist" info --layers --size 4096 --model \
    blocks=4096,4096,4096,4096,4096,4096,4096,4096:growth=1:stem=imagenet >"$tmp/output" 2>"$tmp/error" ||
    fail "info of 65,000 layers" "$tmp/error"

for limit in v d; do
    status=0
    (ulimit -$limit 200000 && limited "$dn_dist" models) >"$tmp/output" 2>"$tmp/error" || status=$?
    check_refusal "ulimit -$limit" $status "ulimit -$limit: found 200000 KiB of memory, expected 524288"
done

# --- ranks --------------------------------------------------------------------------------------

status=0
on_ranks 3 "$dn_dist" train "${small[@]}" --out "$out" --virtual-ranks 2 \
    >"$tmp/output" 2>"$tmp/error" || status=$?
check_refusal "more ranks than virtual ranks" $status \
    'found 3 ranks, expected .*; for 3: --virtual-ranks 4 --batch-size 2 --sync-bn$'
leaves_nothing "more ranks than virtual ranks" "$out"

status=0
on_ranks 3 "$dn_dist" $(train_on "$tmp/short") >"$tmp/output" 2>"$tmp/error" || status=$?
check_refusal "shard cut short, on 3 ranks" $status "$(basename "$shard")"

# A thread that one rank cannot start: of the heartbeat, whose lack is borne, and of the reader.
few=("$build/tests/dn_dist_few_threads" train "${small[@]}" --max-steps 2 --virtual-ranks 2)
FEW_THREADS=2 on_ranks 2 "${few[@]}" --out "$tmp/few" >"$tmp/output" 2>"$tmp/error" ||
    fail "no thread for the heartbeat" "$tmp/error"
grep -q "^warning: .*the heartbeat cannot start: rank 1 .*cannot start its thread" "$tmp/error" ||
    fail "no thread for the heartbeat: expected a warning" "$tmp/error"
for ((i = 0; i < 3; i++)); do
    status=0
    FEW_THREADS=3 on_ranks 2 "${few[@]}" --batch-size 4096 --io-threads 1 --out "$out" >"$tmp/output" 2>"$tmp/error" || status=$?
    check_refusal "no thread for a reader" $status "rank 1 .*threads: found 0"
    rm -rf "$out"
done

# unlike WHAT PATTERN COMMAND... : COMMAND...: rank 0 runs the former, rank 1 the latter.
unlike() {
    local what=$1 pattern=$2 status=0 first=()
    shift 2
    while [[ $1 != : ]]; do
        first+=("$1")
        shift
    done
    on_ranks 1 "${first[@]}" : -np 1 "${@:2}" >"$tmp/output" 2>"$tmp/error" || status=$?
    check_refusal "$what" $status "$pattern"
    leaves_nothing "$what" "$out"
}
alike=("$dn_dist" train "${small[@]}" --max-steps 2 --out "$out")
other="as on rank 0, host [^ ]+: all ranks take the same options"
unlike "virtual ranks" "rank 1 .*'--virtual-ranks 6', expected '--virtual-ranks 4' $other" \
    "${alike[@]}" --virtual-ranks 4 : "${alike[@]}" --virtual-ranks 6
unlike "a default that is given" "'--lr 0.1', expected '--lr 0.1 .not given.' $other" \
    "${alike[@]}" : "${alike[@]}" --lr 0.1
unlike "commands" "command eval', expected 'dn_dist .*, command train' $other" \
    "${alike[@]}" : "$dn_dist" eval "$tmp/none"
sources=$("$dn_dist" --version | sed -n 's/^sources //p')
sed "s/$sources/0123456789abcdef/" "$dn_dist" >"$tmp/patched"
chmod +x "$tmp/patched"
unlike "other sources" "sources 0123456789abcdef, command .*, expected 'dn_dist .*, sources $sources, .* $other" \
    "${alike[@]}" : "$tmp/patched" "${alike[@]:1}"
unlike "a command that is none" "rank 1 .*found the command 'trian'" "${alike[@]}" : "$dn_dist" trian
printf 'seed = 1\n' >"$tmp/seed-1.ini"
printf 'seed = 2\n' >"$tmp/seed-2.ini"
unlike "configuration files" "'--seed 2', expected '--seed 1' $other" \
    "${alike[@]}" --config "$tmp/seed-1.ini" : "${alike[@]}" --config "$tmp/seed-2.ini"
has_kernels() { limited "$dn_dist" info --model fashion-mnist-tiny; } >"$tmp/output" 2>&1
if DN_ISA=avx2 has_kernels; then
    unlike "kernels" "rank 1 .*: found kernels avx2, expected those of rank 0 .*, generic, or .* --isa [a-z]" \
        "${alike[@]}" --isa generic : "${alike[@]}" --isa avx2
fi
if DN_ISA=avx512 has_kernels; then # which comes to the same bits as avx2
    hashes=
    for isa in avx2 avx512; do
        both=("${alike[@]:0:${#alike[@]}-1}" "$tmp/beside-$isa")
        on_ranks 1 "${both[@]}" --isa $isa --threads 2 : -np 1 "${both[@]}" --isa avx512 \
            >"$tmp/output" 2>"$tmp/error" || fail "$isa beside avx512" "$tmp/error"
        hashes+=" $(last_hash "$tmp/beside-$isa")"
    done
    [[ $hashes =~ ^\ ([0-9a-f]+)\ ([0-9a-f]+)$ && ${BASH_REMATCH[1]} == "${BASH_REMATCH[2]}" ]] ||
        fail "avx2 beside avx512: expected one hash, found$hashes"
fi
if DN_ISA=avx512_bf16 has_kernels; then
    unlike "products in bf16" "found kernels avx512_bf16, expected those of rank 0 .*, avx512, or" \
        "${alike[@]}" --dtype bf16 --isa avx512 : "${alike[@]}" --dtype bf16 --isa avx512_bf16
fi

# goes_on ISA STEPS OPTION...: a run on 2 ranks, of which the next begins where it ended.
goes_on() {
    on_ranks 2 "$dn_dist" train "${small[@]}" --eval-every 0 --out "$tmp/kernels" --isa "$1" --max-steps "$2" \
        "${@:3}" >"$tmp/output" 2>"$tmp/error" || fail "going on with kernels $1" "$tmp/error"
    warned=$(grep "was trained with kernels" "$tmp/error") || warned=
}
if DN_ISA=avx2 has_kernels; then
    goes_on generic 1
    goes_on avx2 2
    [[ $warned == "warning: $tmp/kernels/checkpoint-00000001.h5 was trained with kernels generic, the run goes on \
with vectors: its weights will not be those of a run left alone; --isa generic keeps them" ]] ||
        fail "other kernels: found '$warned', expected a warning" "$tmp/error"
    goes_on avx2 3
    [[ -z $warned ]] || fail "the same kernels: found '$warned'"
fi
if DN_ISA=avx512 has_kernels; then
    goes_on avx512 4
    [[ -z $warned ]] || fail "kernels of the same bits: found '$warned'"
fi
if DN_ISA=avx512_bf16 has_kernels; then
    goes_on avx512_bf16 5 --dtype bf16
    [[ -z $warned ]] || fail "another --dtype, which is warned of: found '$warned'"
    goes_on avx512 6 --dtype bf16
    [[ $warned == *" kernels avx512_bf16, the run goes on with vectors: "*"; --isa avx512_bf16 keeps them" ]] ||
        fail "products in bf16: found '$warned', expected a warning" "$tmp/error"
fi
DN_ISA=nonsense refused "kernels that are none" '^dn_dist: isa .or DN_ISA.: found nonsense' "${alike[@]:1}"
DN_ISA=nonsense limited "${alike[@]:0:${#alike[@]}-1}" "$tmp/chosen" --isa generic \
    --augment resize:28,pad-crop:2 >"$tmp/output" 2>"$tmp/error" ||
    fail "--isa before DN_ISA, for images, too" "$tmp/error"

# --- what a start says ----------------------------------------------------------------------------

# starts_with LINE OPTION...: a run's start has the line; the run has `steps` steps.
steps=0
starts_with() {
    steps=$((steps + 1))
    limited "$dn_dist" train --model fashion-mnist-tiny --data "$data" --threads 1 --eval-every 0 \
        --out "$tmp/said" --max-steps $steps "${@:2}" >"$tmp/output" 2>"$tmp/error" || fail "${*:2}" "$tmp/error"
    grep -qxF -- "$1" "$tmp/output" || fail "a start: expected '$1'" "$tmp/output"
}
starts_with "images 1x28x28, --augment hflip; global batch 128, lr 0.2 (0.1 scaled linearly), warm-up 5 epochs" \
    --augment hflip --batch-size 32 --virtual-ranks 4
starts_with "images 1x28x28, --augment hflip; global batch 128, lr 0.05" --lr-scaling none --lr 0.05
grep -q "^warning: --lr: the checkpoint has 0.1, the run goes on with 0.05" "$tmp/error" || fail "--lr" "$tmp/error"
printf 'beta1 = 0.5\n' >"$tmp/beta1.ini" # of no effect, so no word of it
starts_with "images 1x28x28, --augment hflip; global batch 128, lr 0.05" --config "$tmp/beta1.ini"
! grep -q beta1 "$tmp/error" || fail "an option that is not read" "$tmp/error"
refused "an option that the checkpoint's optimizer does not read" "--beta1: found --optimizer sgd, which" \
    train --model fashion-mnist-tiny --data "$data" --out "$tmp/said" --beta1 0.5

# --- checkpoints --------------------------------------------------------------------------------

printf '[run]\nmodel = fashion-mnist-tiny\nmax-steps = 3\nbatch-size = 9\n' >"$tmp/good.ini"
limited "$dn_dist" train --config "$tmp/good.ini" --data "$data" --batch-size 4 --threads 1 \
    --eval-every 0 --out "$tmp/good" >"$tmp/output" 2>&1 || fail "a configuration file" "$tmp/output"
checkpoint=$tmp/good/checkpoint-00000003.h5
[[ -f $checkpoint ]] || fail "expected $checkpoint, found $(ls "$tmp/good")"

limited "$dn_dist" eval --checkpoint "$checkpoint" --data "$data" --json >"$tmp/json" 2>"$tmp/error" ||
    fail "eval" "$tmp/error"
for key in top1 top5 loss; do
    grep -qE "\"$key\": *[0-9]" "$tmp/json" || fail "eval --json: expected the key $key" "$tmp/json"
done
on_ranks 3 "$dn_dist" eval --checkpoint "$checkpoint" --data "$data" --json >"$tmp/json3" 2>"$tmp/error" ||
    fail "eval on 3 ranks" "$tmp/error"
cmp -s "$tmp/json" "$tmp/json3" || fail "eval: expected the same on 1 and 3 ranks" "$tmp/json" "$tmp/json3"

# What normalised the training images is recorded, and normalises what is evaluated.
limited "$dn_dist" train --config "$tmp/good.ini" --data "$data" --batch-size 4 --threads 1 \
    --eval-every 0 --normalize 0.25/0.5 --out "$tmp/normalised" >"$tmp/output" 2>&1 ||
    fail "train --normalize" "$tmp/output"
scores() { # of the images, with options or as recorded
    limited "$dn_dist" eval --checkpoint "$tmp/normalised/checkpoint-00000003.h5" --data "$data" \
        --json "$@" 2>"$tmp/error" || fail "eval $*" "$tmp/error"
}
recorded=$(scores)
[[ $recorded == "$(scores --normalize 0.25/0.5)" ]] || fail "eval: not as --normalize is recorded"
[[ $recorded != "$(scores --normalize none)" ]] || fail "eval --normalize none: changed nothing"
limited "$dn_dist" export "$tmp/normalised" "$tmp/normalised.safetensors" >"$tmp/output" 2>&1 ||
    fail "export" "$tmp/output"
limited "$dn_dist" eval "$tmp/normalised.safetensors" --data "$data" --json >"$tmp/json" 2>"$tmp/error" ||
    fail "eval of safetensors" "$tmp/error"
loss='"loss": *[0-9.]+'
[[ $(grep -oE "$loss" "$tmp/json") == "$(grep -oE "$loss" <<<"$recorded")" ]] ||
    fail "eval of safetensors: not as --normalize is recorded" "$tmp/json"

other=(train --model blocks=2:growth=4:stem=cifar --data "$data" --out "$out" --batch-size 4 --threads 1)
refused "resume from another model" "checkpoint-00000003.h5|model" "${other[@]}" --resume "$checkpoint"
refused "resume from another model's folder" "checkpoint-00000003.h5: --model: found" "${other[@]}" --resume "$(dirname "$checkpoint")"
refused "start from another model" "checkpoint-00000003.h5" "${other[@]}" --init-from "$checkpoint"
refused "no checkpoint" "none.h5" train "${small[@]}" --out "$out" --resume "$tmp/none.h5"
refused "no checkpoint to evaluate" "none.h5: .*; expected the folder of a run" eval --checkpoint "$tmp/none.h5" --data "$data"

head -c 20000 "$checkpoint" >"$tmp/half.h5"
refused "checkpoint cut short" "half.h5" train "${small[@]}" --out "$out" --resume "$tmp/half.h5"

mkdir "$tmp/black" # a CIFAR-10 of black images, but for one
head -c 3073 </dev/zero | tr '\0' '\1' >"$tmp/black/data_batch_1.bin"
truncate -s 30730000 "$tmp/black"/{data_batch_{1..5},test_batch}.bin
limited "$build/create_records" CIFAR10 --source "$tmp/black" --out "$tmp/other" --level 1 >"$tmp/output" 2>&1 ||
    fail "records of black images" "$tmp/output"
refused "resume with other data" \
    "--data .*/other: found CIFAR10 .50000 images.*, expected FASHION_MNIST .*checkpoint-00000003.h5" \
    train --out "$tmp/good" --data "$tmp/other"

cp "$checkpoint" "$tmp/flipped.h5"
flip "$tmp/flipped.h5" $(($(stat -c %s "$checkpoint") / 2))
refused "checkpoint with a flipped byte" "flipped.h5" eval --checkpoint "$tmp/flipped.h5" --data "$data"

head -c 20000 "$checkpoint" >"$tmp/good/checkpoint-00000004.h5"
limited "$dn_dist" train "${small[@]}" --out "$tmp/good" --max-steps 5 >"$tmp/output" 2>"$tmp/error" ||
    fail "resuming beside a damaged checkpoint" "$tmp/error"
grep -q "checkpoint-00000004.h5" "$tmp/error" ||
    fail "resuming beside a damaged checkpoint: expected a warning that names it" "$tmp/error"
[[ $(last_step "$tmp/good") == 5 ]] || fail "expected step 5, found $(last_step "$tmp/good")"

# --- plans --------------------------------------------------------------------------------------

tiny=(--model fashion-mnist-tiny --size 28 --channels 1 --batch-size 4 --threads 1 --steps 2)
profile=$tmp/profile.json
refused "a profile in no folder" "none/a.json: cannot write: no folder" bench "${tiny[@]}" --profile "$tmp/none/a.json"
[[ ! -s $tmp/output ]] || fail "a profile in no folder: expected that nothing is measured" "$tmp/output"
refused "a bench that fails" "--batch-size 65536: .*found" bench "${tiny[@]}" --batch-size 65536 --model densenet264 --size 1024 --profile "$profile"
[[ ! -e $profile ]] || fail "a bench that fails leaves a profile" "$profile"
echo '{"a": 1}' >"$tmp/other.json"
refused "another file" "other.json: found a file that is no profile" bench "${tiny[@]}" --profile "$tmp/other.json"
refused "another file" "other.json: found a file that is no timeline" bench "${tiny[@]}" --timeline "$tmp/other.json"
refused "no profile" "--profile: cannot read $tmp/none" plan --profile "$tmp/none"
on_ranks 2 "$dn_dist" bench "${tiny[@]}" --profile "$profile" >"$tmp/output" 2>"$tmp/error" ||
    fail "bench --profile" "$tmp/error"
limited "$dn_dist" plan --profile "$profile" --nodes 6 --latency 100000 >"$tmp/output" 2>"$tmp/error" ||
    fail "plan" "$tmp/error"
rows=$(awk '$1 + 0 > 0 && $2 == 2 * $1 { print $1 }' "$tmp/output" | xargs)
[[ $rows == "1 2 4 6" ]] || fail "plan: expected rows of 1 2 4 6 nodes of 2 ranks" "$tmp/output"
grep -q "latency of the network" "$tmp/output" || fail "plan: expected what limits" "$tmp/output"
limited "$dn_dist" plan "${tiny[@]}" --nodes 2 --json >"$tmp/json" 2>"$tmp/error" ||
    fail "plan --json, measuring" "$tmp/error"
for key in step_s communication_s hidden_s exposed_s images_per_s efficiency; do
    grep -qE "\"$key\": *[0-9]" "$tmp/json" || fail "plan --json: expected the key $key" "$tmp/json"
done
# An epoch's steps, of the whole batches in --data's training images, and the evaluation behind it
limited "$dn_dist" plan --profile "$profile" --data "$data" --nodes 2 --virtual-ranks 7 --epochs 3 --json \
    >"$tmp/json" 2>"$tmp/error" || fail "plan --data" "$tmp/error"
! find_python json || "$python" - "$profile" "$tmp/json" >"$tmp/output" 2>&1 <<'END' ||
import json, math, sys
profile, plan = (json.load(open(name)) for name in sys.argv[1:])
assert (plan["data_set"], plan["train_images"], plan["test_images"]) == ("FASHION_MNIST", 60000, 10000)
assert [row["ranks"] for row in plan["plan"]] == [2, 4]
for row in plan["plan"]:
    evaluation = math.ceil(10000 / 4 / row["ranks"]) * profile["forward_seconds"]
    epoch = 60000 // (4 * 7) * row["step_s"] + evaluation
    assert math.isclose(row["epoch_s"], epoch, rel_tol=1e-4), (row, epoch)
    assert math.isclose(row["run_s"], 3 * epoch, rel_tol=1e-4), (row, epoch)
END
    fail "plan --data: the times of an epoch and a run" "$tmp/output" "$tmp/json"
limited "$dn_dist" plan --profile "$profile" --nodes 1 >"$tmp/output" 2>"$tmp/error" || fail "plan" "$tmp/error"
grep -q "^MNIST by the images' size .* an epoch has 60000 images, .* a run has 300 epochs" "$tmp/output" &&
    grep -qE "%( +[0-9]+(:[0-9]{2})+){2} " "$tmp/output" || fail "plan: the times of an epoch and a run" "$tmp/output"
limited "$dn_dist" plan --profile "$profile" --nodes 1 --virtual-ranks 65536 >"$tmp/output" 2>&1 ||
    fail "plan of a batch of more than an epoch" "$tmp/output"
grep -qE "% +none +none" "$tmp/output" || fail "a batch of more than an epoch has times" "$tmp/output"
refused "no data set" "$tmp/none" plan --profile "$profile" --data "$tmp/none"
refused "no profile" "none.json" plan --profile "$tmp/none.json"
refused "no profile to write" "$tmp/none/p.json" bench "${tiny[@]}" --json --profile "$tmp/none/p.json"
head -c 300 "$profile" >"$tmp/half.json"
refused "profile cut short" "half.json" plan --profile "$tmp/half.json"
refused "a checkpoint as profile" "good.ini" plan --profile "$tmp/good.ini"
refused "a model beside a profile" "--model.*found.*expected" plan --profile "$profile" --model densenet121
refused "no nodes" "--nodes.*'0'.*expected" plan --profile "$profile" --nodes 0
refused "no bandwidth" "--bandwidth.*'0'.*expected" plan --profile "$profile" --bandwidth 0
refused "too many ranks" "--nodes.*found.*expected" plan --profile "$profile" --nodes 4096
refused "more ranks than virtual ranks" "--virtual-ranks.*found.*expected" \
    plan --profile "$profile" --nodes 8 --virtual-ranks 8

# --- progress -----------------------------------------------------------------------------------

# The rewritten line belongs to a terminal: not to a file, although mpirun gives ranks, and scripts
# that it starts them through, a terminal.
plain_lines() { # WRAPPER...
    rm -rf "$tmp/plain"
    on_ranks 2 "$@" "$dn_dist" train "${small[@]}" --out "$tmp/plain" --max-steps 50 >"$tmp/output" 2>&1 ||
        fail "a run with its output in a file" "$tmp/output"
    ! grep -q $'\r' "$tmp/output" || fail "expected plain lines in a file ($*), found" "$tmp/output"
    grep -q "^epoch 1/300 step 50/" "$tmp/output" || fail "expected a line of progress" "$tmp/output"
}
plain_lines
plain_lines bash -c '"$@"; exit $?' wrapper
if command -v script >/dev/null; then
    printf -v quoted '%q ' "${small[@]}" --out "$tmp/bar" --max-steps 50
    for launch in "" "mpirun --oversubscribe --bind-to none -np 2"; do
        rm -rf "$tmp/bar"
        limited script -qec "$launch $dn_dist train $quoted" /dev/null >"$tmp/output" </dev/null ||
            fail "a run on a terminal" "$tmp/output"
        grep -q $'\repoch 1/300 ' "$tmp/output" ||
            fail "expected a rewritten line on a terminal ($launch), found" "$tmp/output"
    done
else
    echo "skipped: progress on a terminal, for lack of script (Debian: bsdutils)"
fi

# --- bench --------------------------------------------------------------------------------------

bench=(bench --model fashion-mnist-tiny --batch-size 4 --steps 1 --warmup 0 --threads 1 --roofline)
limited "$dn_dist" "${bench[@]}" >"$tmp/output" 2>"$tmp/error" || fail "bench --roofline" "$tmp/error"
for line in "1 ranks x 1 threads, .* kernels" "^0 .* 1 " "roofs of a rank's 1 threads" \
    "^conv3x3 .*backward" "^layers that lose most"; do
    grep -qE "$line" "$tmp/output" || fail "bench --roofline: expected '$line', found" "$tmp/output"
done
on_ranks 2 "$dn_dist" "${bench[@]}" --json >"$tmp/output" 2>"$tmp/error" ||
    fail "bench --roofline --json" "$tmp/error"
if find_python json; then
    "$python" -c 'import json, sys
roofline = json.load(open(sys.argv[1]))["roofline"]
assert roofline["peak_gflops"] > 0 and roofline["read_gb_per_s"] > 0
layers = [x["s"] - x["bound_s"] for x in roofline["layers"]]
assert layers == sorted(layers, reverse=True) and len(layers) > 8
for key in "s", "flops", "bytes":
    parts = [sum(x[key] for x in roofline[of]) for of in ("phases", "layers")]
    assert abs(parts[0] - parts[1]) <= 1e-4 * parts[0] and parts[0] > 0, (key, parts)
' "$tmp/output" 2>"$tmp/error" || fail "bench --roofline --json: found" "$tmp/output" "$tmp/error"
fi

# --- standard output ------------------------------------------------------------------------------

# unwritten COMMAND...: with nowhere to write to, the command fails with one line.
unwritten() {
    local status=0
    limited "$@" >/dev/full 2>"$tmp/error" || status=$?
    check_refusal "$* >/dev/full" $status "standard output: .*No space left on device"
    status=0
    limited "$@" 2>"$tmp/error" >&- || status=$?
    check_refusal "$* >&-" $status "standard output: .*Bad file descriptor"
}
one_step=("${tiny[@]:0:8}" --steps 1 --warmup 0)
eval=(eval --checkpoint "$checkpoint" --data "$data" --threads 1)
unwritten "$dn_dist"
unwritten "$dn_dist" --version
unwritten "$dn_dist" train --help
unwritten "$dn_dist" info --layers --model densenet121 # more than a buffer of output
unwritten "$dn_dist" "${eval[@]}"
unwritten "$dn_dist" "${eval[@]}" --json
unwritten "$dn_dist" bench "${one_step[@]}"
unwritten "$dn_dist" bench "${one_step[@]}" --json
unwritten "$dn_dist" plan --profile "$profile"
unwritten "$dn_dist" plan --profile "$profile" --json
unwritten "$build/create_records"
unwritten "$build/create_records" --version
unwritten "$build/create_records" FASHION_MNIST --out "$data" # complete already
unwritten "$build/create_records" verify "$data"

# json_alone OPTION...: standard output is one JSON value, on 1 and 2 ranks.
json_alone() {
    local ranks
    for ranks in 1 2; do
        on_ranks $ranks "$dn_dist" "$@" --json >"$tmp/output" 2>"$tmp/error" ||
            fail "$* --json on $ranks ranks" "$tmp/error"
        "$python" -m json.tool "$tmp/output" >"$tmp/json" 2>"$tmp/error" ||
            fail "$* --json on $ranks ranks: expected JSON alone, found" "$tmp/output" "$tmp/error"
    done
}
if find_python json; then
    json_alone "${eval[@]}"
    json_alone bench "${one_step[@]}"
    json_alone bench "${one_step[@]}" --roofline
    json_alone plan "${one_step[@]}" --nodes 2
    json_alone plan --profile "$profile"
else
    echo "skipped: whether --json is alone on standard output, for lack of python3"
fi

# --- full disks and read-only folders -----------------------------------------------------------

# on_disk OPTIONS: a run whose --out is a file system of its own, mounted with the options and seen
# by the run alone; what it left there goes to $tmp/left.
on_disk() {
    mkdir -p "$tmp/disk"
    limited unshare --mount bash -c '
        mount -t tmpfs -o "$1" none "$2/disk" || exit 99
        status=0
        "${@:3}" --out "$2/disk" >"$2/output" 2>"$2/error" || status=$?
        ls -A "$2/disk" >"$2/left"
        exit $status' bash "$1" "$tmp" "$dn_dist" train "${small[@]}" --max-steps 2
}
if unshare --mount bash -c 'mount -t tmpfs none "$1"' bash "$tmp" 2>/dev/null; then
    for case in "a full disk:size=100k" "a read-only folder:ro"; do
        status=0
        on_disk "${case#*:}" || status=$?
        check_refusal "${case%:*}" $status "$tmp/disk"
        ! grep checkpoint "$tmp/left" || fail "${case%:*}: expected no checkpoint, found one"
    done
else
    echo "skipped: a full disk and a read-only folder, for lack of the right to mount one"
fi
finish
