#!/usr/bin/env bash
# Weights in and out, and what is made with them: safetensors and ONNX by other readers, predict,
# eval, --init-from, --freeze.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
find_python torch numpy PIL || skip "found no python3 with torch, numpy and PIL"
records
program=dn_dist
readers=${DN_READERS_PYTHON:-} # a python3 with safetensors, onnx and onnxruntime, of PyPI
[[ -n $readers ]] || untried "safetensors' and ONNX's readers, for lack of DN_READERS_PYTHON"
cd "$tmp"

check() { limited "$python" "$tests/oracles/check_weights.py" "$@" >out 2>&1 || fail "check_weights.py $*" out; }
read_by_others() {
    [[ -z $readers ]] || limited "$readers" "$tests/oracles/check_weights.py" "$@" >out 2>&1 || fail "$*" out
}
said() { grep -qE -- "$1" out err || fail "expected '$1'" out err; }
check pictures rgb/train
check pictures rgb/test
check pictures grey L 28 28
program=create_records works FOLDER --source rgb --out colour

# --- files of weights -----------------------------------------------------------------------------

# exchange MODEL CHANNELS OPTION...: in, and out again, with the same logits everywhere.
exchange() {
    local model=$1 channels=$2 set=colour classes=3 images=rgb/test side=40
    ((channels == 3)) || { set=$data classes=10 images=grey side=28; }
    local net=(--model "$model" --data "$set" --size $side)
    shift 2
    check state "$model" "$channels" $classes in.safetensors "$@"
    works predict --checkpoint in.safetensors "${net[@]}" --eval-transform resize:$side,center-crop:$side \
        --top 100 --json $images
    mv out predictions.json
    works export in.safetensors "${net[@]}" out.safetensors
    check logits out.safetensors "$set" predictions.json kept.npz
    [[ $* == *F16* ]] || check same out.safetensors in.safetensors
    read_by_others loads out.safetensors
    for options in '--opset 13' '--opset 17 --fold-batch-norm'; do
        works export in.safetensors "${net[@]}" net.onnx $options
        read_by_others onnx net.onnx kept.npz
    done
}
small=blocks=2,2:growth=4:stem=imagenet:stem-channels=8
exchange blocks=2,3:growth=4,6:bottleneck=0:compression=1:stem=cifar:stem-channels=8 1 old untracked
exchange $small 3 F16
exchange blocks=1,2,1:growth=4:bottleneck=2:stem=7x7:stem-channels=6:last-transition=1 3 BF16 old
exchange blocks=1,1:growth=16,32:bottleneck=0:compression=1:stem=7x7:stem-channels=16:last-transition=1 1
exchange blocks=2,2:growth=4:bottleneck=0:stem=imagenet:stem-channels=8:head-norm=0 3
exchange blocks=2,2:growth=4:stem-channels=8:head-pool=3:transition-dropout=0.2 1
exchange blocks=6,12,24,16:growth=32:stem=imagenet:stem-channels=64 3 old
[[ -n $readers ]] || [[ -s net.onnx ]] || fail "an ONNX file"
for out in nowhere/net.onnx nowhere/net.safetensors; do
    refused "$out: cannot write: no folder nowhere" export in.safetensors --model densenet121 --data colour $out
done
for format in onnx safetensors; do
    printf '\211HDF\r\n\032\n\0\0\0' >run.h5
    refused "run.h5: found a file that is no *, which is not replaced" \
        export in.safetensors --model densenet121 --data colour --format $format run.h5
done
refused "net.bin: found no .safetensors or .onnx at its end, expected one, or --format; PyTorch loads safetensors" export in.safetensors --model densenet121 net.bin

# --- weights to start from ------------------------------------------------------------------------

run=(train --model $small --data colour --batch-size 4 --threads 1 --eval-every 0
    --augment resize:40,center-crop:32,hflip --eval-transform resize:40,center-crop:32)
for spoilt in "more:found the tensor features.extra.weight, which model" \
    "uneven:classifier.bias: found shape (6), expected (3)"; do
    check state $small 3 3 bad.safetensors "${spoilt%%:*}"
    refused "bad.safetensors: *${spoilt#*:}" "${run[@]}" --out bad --init-from bad.safetensors
done
check state ${small/=8/=6} 3 3 bad.safetensors
refused "conv0.weight: found shape (6, 3, 7, 7), expected (8, 3, 7, 7)" "${run[@]}" --out bad \
    --init-from bad.safetensors
"$python" "$repo/scripts/pth_to_safetensors.py" a.pth 2>err &&
    fail "pth_to_safetensors.py of one word"
grep -qx "pth_to_safetensors.py IN.pth OUT.safetensors  *needs torch" err || fail "its usage" err
"$python" -c 'import torch; torch.save({"a": torch.ones(2)}, "a.pth")'
refused "a.pth: found a zip file*pth_to_safetensors" "${run[@]}" --out bad --init-from a.pth
"$python" -c 'import torch; torch.save(torch.nn.Linear(2, 2), "model.pth")'
"$python" "$repo/scripts/pth_to_safetensors.py" model.pth model.safetensors 2>err &&
    fail "pth_to_safetensors.py of a pickled model"
grep -qx "pth_to_safetensors.py: model.pth: found no plain tensors but a pickled model .*expected what torch.save(model.state_dict(), FILE) writes (torch .*" err &&
    [[ $(wc -l <err) == 1 ]] || fail "a pickled model" err
# names that wrappers put before torchvision's
"$python" -c 'import torch
names = "module.densenet121.features.norm0.weight", "model.classifier.0.bias", "classifier.weight"
torch.save({"epoch": 3, "model_state_dict": {name: torch.ones(2) for name in names} | {"steps": 3}}, "b.pth")'
"$python" "$repo/scripts/pth_to_safetensors.py" b.pth b.safetensors 2>err &&
    [[ $(head -c 999 b.safetensors | grep -oaE '"[a-z]+[.][^"]+"' | sort | tr '\n' ' ') == \
        '"classifier.bias" "classifier.weight" "features.norm0.weight" ' ]] ||
    fail "the names of wrappers" err
refused "--init-from: none.safetensors: cannot read: No such file*pth_to_safetensors" \
    "${run[@]}" --out bad --init-from none.safetensors
[[ ! -e bad ]] || fail "a refused start left $(ls -d bad bad/*)"

check state $small 3 3 three.safetensors
check state $small 3 5 five.safetensors
works "${run[@]}" --out three --init-from three.safetensors --max-steps 1
said "^weights of three.safetensors$"
works "${run[@]}" --out five --init-from five.safetensors --max-steps 1
said "five.safetensors, except its head of 5 classes: a new head for 3 is initialised"
# the recipe for pictures of one's own
works train --recipe finetune --model $small --data colour --init-from five.safetensors --batch-size 4 \
    --max-steps 1 --out tuned
said "five.safetensors, except its head of 5 classes: a new head for 3 is initialised"
works train --recipe finetune --max-steps 2 --out tuned
said "^resumed from tuned/checkpoint-0+1.h5 at step 1$"
said "^batch-size: 4 as in the checkpoint, not 32 as in the recipe$"
! grep "^warning: --" err || fail "a recipe, resumed: warnings of options that were not given" err
works "${run[@]}" --out five --init xavier --max-steps 2
said "^warning: --init xavier: ignored, as the run resumes from a checkpoint that began with kaiming"
works "${run[@]}" --out five --init-from three.safetensors --max-steps 2
grep -q '"init-from": "five.safetensors"' five/metrics.jsonl || fail "metrics.jsonl: expected init-from" five/metrics.jsonl
said "^warning: --init-from three.safetensors: ignored, as the run resumes from a checkpoint that began with five.safetensors"
works "${run[@]}" --out again --init-from five --max-steps 1
said "^weights of five$"
works export five now.safetensors
said "^now.safetensors: .* of step 2 from five/checkpoint-00000002.h5, [0-9]+ parameters$"
! grep "averaged" out || fail "word of averages that there are none of" out
works eval now.safetensors --data colour
! grep "averaged" out || fail "word of averages that there are none of" out
check same now.safetensors now.safetensors
check fewer now.safetensors bad.safetensors
refused "bad.safetensors: found 2 class names, expected 3 as its head has classes" "${run[@]}" --out bad \
    --init-from bad.safetensors

# The net of a run that says no --model is the file's; one that is said wins.
bare=(train "${run[@]:3}")
for from in five now.safetensors; do
    works "${bare[@]}" --out "bare-${from##*.}" --init-from $from --max-steps 1
    said "^weights of $from$"
    said "^$small on the data in colour"
    cp -r $from kept && rm -r $from
    works "${bare[@]}" --out "bare-${from##*.}" --init-from $from --max-steps 2
    ! grep ignored err || fail "--init-from of the run's start: found a warning" err
    mv kept $from
done
on_ranks 2 "$build/dn_dist" "${bare[@]}" --init-from five --max-steps 1 >out 2>err || fail "--init-from on 2 ranks" out err
said "^weights of five$"
[[ -d runs/${small//[=:,]/_} ]] || fail "--init-from without --model: the folder of that model" out
refused "conv0.weight: found shape *, expected *model densenet-bc-100-12" "${bare[@]}" --out bad --init-from five \
    --model densenet-bc-100-12
refused "conv0.weight: found shape *, expected *model densenet-bc-100-12" "${bare[@]}" --out bad \
    --init-from five.safetensors
refused "--init-from: nowhere: cannot read: No such file" "${bare[@]}" --out bad --init-from nowhere
[[ ! -e bad ]] || fail "a refused start left $(ls -d bad bad/*)"
rm -r runs

# A head of other classes, as many of them, is not taken.
cp -r rgb/test others && mv others/bee others/bug
program=create_records works FOLDER --source others --out bugs
for from in "" five now.safetensors; do
    works "${run[@]}" --data bugs --out "head-$from" --lr 0 --max-steps 1 ${from:+--init-from $from}
    [[ -z $from ]] ||
        said "^weights of $from, except its head, whose class 1 is \"bee\", not \"bug\": a new head for these classes is initialised$"
    works export "head-$from" "head-$from.safetensors"
    [[ -z $from ]] || check frozen head-.safetensors "head-$from.safetensors" classifier
done

check turned now.safetensors "$repo/scripts/pth_to_safetensors.py"

# --- eval and predict of a run --------------------------------------------------------------------

works eval five --crops 10 --json --per-sample samples.csv
mv out one.json
check crops now.safetensors colour rgb/test 32 samples.csv one.json
on_ranks 3 "$build/dn_dist" eval --checkpoint five --crops 10 --json --per-sample three.csv \
    --batch-size 4 >three.json 2>err || fail "eval on 3 ranks" err
cmp -s samples.csv three.csv || fail "eval --per-sample: expected the same on 1 and 3 ranks" three.csv
refused "now.safetensors: found a file that is no such CSV" eval five --per-sample now.safetensors
works eval five --per-class
said "confusion matrix"
said "cow, brown +4 images: recall"
refused "found --eval-transform random-resized-crop:32" eval five --crops 10 --eval-transform random-resized-crop:32
refused "found no checkpoint" eval rgb
if "$python" -c 'import h5py, xxhash' 2>/dev/null; then
    cp -r five unread
    check spoilt five/checkpoint-00000002.h5 unread/checkpoint-00000002.h5
    refused "unread/checkpoint-+(0)2.h5: optimizer/momentum/classifier.bias: found inf" "${run[@]}" \
        --out other --resume unread/checkpoint-00000002.h5
    works "${run[@]}" --out unread --max-steps 2
    said "^warning: the newest checkpoint is skipped: .*classifier.bias: found inf"
    said "^resumed from unread/checkpoint-0+1.h5 at step 1$"
    [[ $(last_hash unread) == "$(last_hash five)" ]] || fail "from an older checkpoint: other weights"
    rm unread/checkpoint-00000001.h5
    check spoilt five/checkpoint-00000002.h5 unread/checkpoint-00000002.h5
    refused "unread: found no checkpoint before step 2, whose is not readable" "${run[@]}" --out unread
else
    untried "checkpoints with infinite momentum, for lack of python3-h5py or python3-xxhash"
fi
mkdir best && cp five/checkpoint-*1.h5 best/best.h5 && cp five/checkpoint-*2.h5 best
works eval best
said "from best/best.h5"
truncate -s -1 best/best.h5
refused "best/best.h5: found no checksum" eval best/best.h5
on_ranks 2 "$build/dn_dist" eval best >out 2>err || fail "eval, a damaged best.h5" out err
said "^warning: best checkpoint skipped: best/best.h5: found no checksum .*; using best/checkpoint-0+2.h5$"
said "from best/checkpoint-0+2.h5"
picture=$(find rgb/test -name '*.png' | head -n 1)
# shellcheck disable=SC2086
for use in "predict best $picture" "export best best.onnx"; do
    works $use
    said "^warning: best checkpoint skipped: best/best.h5: found no checksum .*; using best/checkpoint-0+2.h5$"
done
mkdir -p runs/{a,b,c,d,e}
touch runs/{b,c,d,e}/metrics.jsonl
refused "runs//: *expected the folder of a run; runs there: runs/b, runs/c, runs/d and 1 more$" eval runs//
mv colour elsewhere
refused "--data: found none, and */colour, which five/checkpoint-+(0)2.h5 learnt from" eval five
refused "--data: found none, and */colour, which five/checkpoint-+(0)2.h5 learnt from, is no longer there$" \
    train --out five --max-steps 3
program=create_records works FOLDER --source rgb --classes ant,bee --out two
mkdir -p more && cp -r rgb/test/* more && cp -r rgb/test/bee more/dog
program=create_records works FOLDER --source more --out four
for from in five now.safetensors; do
    for command in "eval $from" "predict $from rgb/test" "export $from other.onnx"; do
        refused "bugs: found \"bug\" as class 1, expected \"bee\" as in $from" $command --data bugs
        refused "two: found 2 classes, expected the 3 of $from*; \"cow, brown\" is not among them$" $command --data two
        refused "four: found 4 classes, expected the 3 of $from*, which lacks \"dog\"$" $command --data four
    done
done
refused "two: found 2 classes, expected the 3 of three.safetensors$" eval three.safetensors --model $small --data two
program=create_records works fashion_mnist --limit 5 --classes Sandal,Sneaker,Bag --out shoes
refused "shoes: found images of 1 channels, expected 3 as in three.safetensors$" eval three.safetensors --model $small --data shoes
[[ ! -e other.onnx ]] || fail "export: a refused one left other.onnx"
cp -r rgb/test accents && mv accents/bee "accents/chien, été"
program=create_records works FOLDER --source accents --val-fraction 0.5 --out chiens
works eval three.safetensors --model $small --size 32 --data chiens --per-class
said "^    1 chien, été {20} +[0-9]+ images: recall"
[[ $(sed -n 's/ images: recall.*//p' out | "$python" -c 'import sys
print(len({len(line) for line in sys.stdin.buffer.read().decode().split("\n") if line}))') == 1 ]] ||
    fail "eval --per-class: expected names of one width" out
rm five/evaluation.json
works eval five --data elsewhere
[[ -s five/evaluation.json ]] || fail "eval of the run's own data, which was moved: no evaluation.json"
program=create_records works FOLDER --source rgb --limit 3 --out fewer
cp five/evaluation.json kept.json
works eval five --data fewer
said "^fewer is not what five learnt from: no evaluation.json for its report$"
cmp -s five/evaluation.json kept.json || fail "eval of other data: the run's evaluation.json was replaced"
mv elsewhere colour

# A file that was exported tells what the checkpoint knew; another's only what its tensors are.
works predict five rgb/test --json
mv out one.json
works predict now.safetensors rgb/test --json
cmp -s out one.json || fail "predict: expected the same of a run and of its safetensors" out
works export now.safetensors again.safetensors
cmp -s again.safetensors now.safetensors || fail "export: expected the same file again"
refused "--data: found none, expected records to evaluate now.safetensors on" eval now.safetensors
works eval now.safetensors --data colour
refused "five.safetensors: found safetensors that do not tell their model, expected --model" \
    predict five.safetensors rgb/test
refused "five.safetensors: found neither --data nor --normalize, expected one" \
    predict five.safetensors rgb/test --model $small
header='{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
printf "\\x$(printf %02x ${#header})\0\0\0\0\0\0\0%s\0\0\0\0" "$header" >other.safetensors
refused "other.safetensors: found no features.conv0.weight and classifier.weight" \
    predict other.safetensors rgb/test --model $small --normalize imagenet
works predict five.safetensors rgb/test/bee --model $small --size 32 --normalize imagenet --top 5
said "^rgb/test/bee/0.png: [0-4] [0-9.]+ %, [0-4] "
refused "features.conv0.weight: found shape" train --data colour --init-from five.safetensors --size 32 --batch-size 4 --max-steps 1 --out untold
said "^warning: --init-from five.safetensors: does not tell its model, taken for that of densenet-bc-100-12"
# Of a folder what is hidden is left out, as create_records does, and what is none is counted.
mkdir -p mixed/.hidden
cp rgb/test/bee/0.png mixed/one.png
cp mixed/one.png mixed/.hidden
echo none | tee mixed/._one.png >mixed/notes.txt
works predict now.safetensors mixed --csv
said "^warning: other files skipped: 2$"
[[ $(cut -d, -f1 out | sort -u | xargs) == "file mixed/one.png" ]] || fail "predict: hidden files" out
refused "a.pth: found a zip file*pth_to_safetensors" predict a.pth rgb/test

# Weights of one channel start a net of three.
works train --model $small --data "$data" --out grey.run --batch-size 4 --max-steps 1 --eval-every 0 --threads 1
works export grey.run grey.safetensors
for from in grey.run grey.safetensors; do
    works "${run[@]}" --out "wide-$from" --init-from $from --lr 0 --weight-decay 0 --max-steps 1
    said "$from.*: features.conv0.weight is of one channel: each of three gets a third"
    works export "wide-$from" wide.safetensors
    check spread grey.safetensors wide.safetensors
done

# Pictures are converted as the training images were.
check photos photos/train
cp -r photos/train photos/test
for how in "" "--grey-window 0-4095" "--exif apply --short-side 40 --grey-window 0-4095"; do
    program=create_records works FOLDER --source photos --out photos.records $how
    rm -rf photos.run
    works train --model $small --data photos.records --out photos.run --batch-size 8 --threads 1 \
        --max-steps 2 --augment resize:40,center-crop:32 --eval-transform resize:40,center-crop:32
    works eval photos.run --per-sample photos.csv
    works predict photos.run photos/test --csv --top 1
    mv out predicted.csv
    check agree photos.csv predicted.csv photos
    dark="^warning: photos/test/ant/0.16.png: a dark PNG of 16 bits, of which only the high 8 are used"
    [[ $(grep -c "$dark" err) == "$((${#how} == 0))" ]] || fail "predict ${how:-of dark images}" err
    works export photos.run photos.safetensors
    works predict photos.safetensors photos/test --csv --top 1
    cmp -s out predicted.csv || fail "predict: expected the same of a run and of its safetensors, $how" out
done
works export photos.run photos.onnx
for file in photos.onnx photos.safetensors; do
    grep -aq "short side 40, turned by EXIF, grey 0-4095, quality 90" $file || fail "$file: the conversion"
done
sed 's,turned by EXIF,mirrored EXIFs,' photos.safetensors >unknown.safetensors
works predict unknown.safetensors photos/test/ant/0.png
said "^warning: the training images were converted in an unknown way .short side 40, mirrored EXIFs, grey 0-4095, quality 90.: pictures are used as they are"

# Images that are no squares.
check pictures oblong RGB 24
for words in "FOLDER --source oblong --out files" "to-tfrecord files --out examples" \
    "from-tfrecord examples --out oblong.records"; do
    program=create_records works $words
done
works train --model blocks=1,1:growth=4:stem=cifar --data oblong.records --out oblong.run \
    --batch-size 4 --max-steps 1 --eval-every 0 --threads 1
works eval oblong.run --json
mv out one.json
works export oblong.run oblong.safetensors
grep -aqF '"image":"3x24x40"' oblong.safetensors || fail "the size of images that are no squares"
works eval oblong.safetensors --data oblong.records --json
cmp -s out one.json || fail "eval: expected the same of a run and of its safetensors" out one.json
works export oblong.run run.onnx
works export oblong.safetensors net.onnx
cmp -s run.onnx net.onnx || fail "export: expected the same ONNX file"
oblong=(train --data oblong.records --batch-size 4 --eval-every 0 --threads 1
    --model blocks=1,1:growth=4:stem=cifar:head-pool=4)
works "${oblong[@]}" --out pooled --max-steps 1
works export pooled pooled.safetensors
for from in pooled pooled/checkpoint-00000001.h5 pooled.safetensors; do
    works "${oblong[@]}" --out "from-${from##*.}" --max-steps 1 --init-from $from
    said "^weights of $from$"
done
works predict pooled oblong --json
mv out one.json
works predict pooled.safetensors oblong --json
cmp -s out one.json || fail "predict: expected the same of a run and of its safetensors, no squares" out
# A square of 40 x 40 is what is 24 x 40 in its middle.
mkdir cropped
"$python" -c 'from PIL import Image; Image.open("rgb/test/bee/1.png").crop((0, 8, 40, 32)).save("cropped/1.png")'
cd cropped && works predict ../pooled 1.png --csv && cd ..
mv cropped/out one.csv
cd rgb/test/bee && works predict ../../../pooled 1.png --csv && cd ../../..
cmp -s one.csv rgb/test/bee/out || fail "predict: expected the centre of a square" rgb/test/bee/out
# Also where the net was shown what a resize made of that.
larger=(predict "$PWD/oblong.run" 1.png --eval-transform resize:32,center-crop:32 --csv)
cd cropped && works "${larger[@]}" && cd ..
mv cropped/out one.csv
cd rgb/test/bee && works "${larger[@]}" && cd ../../..
cmp -s one.csv rgb/test/bee/out || fail "predict: expected the centre of a square, resized" rgb/test/bee/out
rm rgb/test/bee/{out,err}

echo "no image" >broken.png
refused "found 2 of 14 images that cannot be read" predict five rgb/test broken.png nowhere.jpg --csv
grep -q 'warning: broken.png: ' err && grep -q 'warning: nowhere.jpg: ' err || fail "names of bad images" err
grep -qE '^rgb/test/ant/0.png,1,[0-2],("cow, brown"|ant|bee),[01]' out || fail "predict --csv" out
grep -vxFf err out | sort >one.csv
[[ $(wc -l <one.csv) == 37 ]] || fail "predict --csv: expected 12 images of 3 classes" out
on_ranks 2 "$build/dn_dist" predict five rgb/test broken.png nowhere.jpg --csv 2>err | sort >two.csv || true
cmp -s one.csv two.csv || fail "predict: expected the same on 1 and 2 ranks" two.csv
mkdir apart # where rank 1 finds neither run nor weights
for from in five now.safetensors; do
    works predict $from "$tmp/rgb/test" --csv
    mv out one.csv
    on_ranks 1 "$build/dn_dist" predict $from "$tmp/rgb/test" --csv : -np 1 -wdir "$tmp/apart" \
        "$build/dn_dist" predict $from "$tmp/rgb/test" --csv >out 2>err || fail "predict with $from on rank 0 only" err
    cmp -s out one.csv || fail "predict: expected the same with $from on rank 0 only" out
done
works predict five rgb/test/bee --top 0 --csv
[[ $(wc -l <out) == 13 ]] || fail "predict --top 0: expected 4 images of 3 classes" out

# Blocks: of one rank 32 batches each. An early end leaves whole images and says how to go on.
lots=()
for ((i = 0; i < 200; i++)); do lots+=(rgb/test); done
for format in --csv --json; do
    works predict five "${lots[@]:0:9}" --batch-size 128 $format
    mv out one.block
    works predict five "${lots[@]:0:9}" --batch-size 1 $format
    cmp -s out one.block || fail "predict $format: expected the same in blocks" out
    on_ranks 2 "$build/dn_dist" predict five "${lots[@]:0:9}" --batch-size 1 $format >out 2>err ||
        fail "predict on 2 ranks" err
    cmp -s out one.block || fail "predict $format: expected the same in blocks of 2 ranks" out
done
works predict five "${lots[@]:0:28}" --csv --skip 6
mv out one.block # 330 images, of which 5 ranks have 33 batches of 2 each
on_ranks 5 "$build/dn_dist" predict five "${lots[@]:0:28}" --batch-size 2 --csv --skip 6 >out 2>err ||
    fail "predict on 5 ranks" err
cmp -s out one.block || fail "predict: expected the same in blocks of 5 ranks" out
works predict five "${lots[@]:0:9}" --csv
tail -n +152 out >rest.csv # 50 images
works predict five "${lots[@]:0:9}" --csv --skip 50
tail -n +2 out | cmp -s - rest.csv || fail "predict --skip" out
refused "--skip 12: found 12 images, expected more" predict five rgb/test --skip 12
status=0
limited "$build/dn_dist" predict five rgb/test --time-limit 0 --json >out 2>err || status=$?
((status == 75)) && [[ $(<out) == "[]" ]] &&
    said "^dn_dist: the evaluation was stopped by the time limit after 0 of 12 images; --skip 0 continues$" ||
    fail "predict --time-limit: found status $status, expected 75" out err
mkfifo slow.csv
for signal in TERM KILL; do # while it waits for the reader of a full pipe
    "$build/dn_dist" predict five "${lots[@]}" "${lots[@]}" --csv --batch-size 1 >slow.csv 2>err &
    process=$! status=0
    {
        for ((i = 0; i < 7; i++)); do read -r && echo "$REPLY"; done # the head and two images
        kill -$signal $process
        timeout 60 tail --pid=$process -f /dev/null || echo "did not end"
        cat
    } <slow.csv | tail -n 1 >out
    wait $process || status=$?
    said '^"?rgb/test/[a-z, ]+/[0-3].png"?,3,' || fail "predict, $signal: expected whole images"
    [[ $signal$status == TERM75 || $signal$status == KILL137 ]] || fail "predict, $signal: found status $status" err
    [[ $signal == KILL ]] || said "^dn_dist: the evaluation was stopped by a request \\(SIGTERM\\) after [0-9]+ of 4800 images; --skip"
done
works predict five rgb/test/bee --top 1
[[ $(grep -cE '^rgb/test/bee/[0-3].png: .* [0-9.]+ %$' out) == 4 ]] || fail "predict" out
cp rgb/test/bee/0.png $'two\nlines\e\302\233.png'
works predict five $'two\nlines\e\302\233.png'
[[ $(wc -l <out) == 1 ]] && said '^two\?lines\?{3}\.png: ' || fail "predict: control characters of a name" out
works predict five $'two\nlines\e\302\233.png' --json
printed 'two.nlines.u001B.u009B.png' "predict --json: control characters of a name"
refused "found an empty name, expected files" predict five ""
check state $small 3 3 huge.safetensors huge
refused "found 4 of 4 images that the net gives no finite number for" predict huge.safetensors \
    rgb/test/bee --model $small --size 32 --normalize imagenet
said "warning: rgb/test/bee/3.png: the net gives no finite number for it"
refused "image 0 of +([0-9]), counted from 0: the net gives no finite loss for it" eval huge.safetensors \
    --model $small --size 32 --data colour
cp rgb/test/bee/0.png $'b\xe9.png' # no UTF-8, which JSON's texts are
works predict five $'b\xe9.png' --json
grep -qF '"file":"b\\xE9.png"' out || fail "predict --json" out

# --- frozen parameters ----------------------------------------------------------------------------

frozen() { train "$1" "$2" --freeze features.conv0,features.denseblock1 --lr-head 0.3 --threads 1 "${@:3}"; }
train 1 plain --max-steps 6 --threads 1 || fail "a run" plain.log
frozen 1 frozen --max-steps 6 || fail "a frozen run" frozen.log
frozen 3 ranks --max-steps 3 && frozen 2 ranks --max-steps 6 || fail "a frozen run, stopped" ranks.log
[[ $(last_hash frozen) == "$(last_hash ranks)" ]] || fail "--freeze: other weights on other ranks"
[[ $(last_hash frozen) != "$(last_hash plain)" ]] || fail "--freeze: without effect"
# a frozen run whose last steps train all
frozen 1 thaws --max-steps 3 && train 1 thaws --freeze none --lr-head 0.3 --max-steps 6 --threads 1 ||
    fail "--freeze none" thaws.log
[[ $(last_hash thaws) != "$(last_hash frozen)" ]] || fail "--freeze none: without effect"
train 1 one-rate --max-steps 6 --freeze features.conv0,features.denseblock1 --threads 1 || fail "a frozen run" one-rate.log
[[ $(last_hash frozen) != "$(last_hash one-rate)" ]] || fail "--lr-head: without effect"
# gradient_norm is that of the parameters that learn
first=(--max-steps 1 --lr 0 --clip-norm 1 --threads 1)
train 1 start "${first[@]}" && train 1 no-norms "${first[@]}" --freeze '*norm*' || fail "a run" start.log no-norms.log
norm() { sed -nE 's/.*"gradient_norm": ([0-9.]+).*/\1/p' "$1/metrics.jsonl"; }
awk "BEGIN { exit !(0 < $(norm no-norms) && $(norm no-norms) < $(norm start)) }" ||
    fail "--freeze: gradient_norm as without" {no-norms,start}/metrics.jsonl
for rate in 0 1e-307; do
    refused "--lr-head 1000: found --lr $rate, expected a greater one; --freeze features --lr 1000 trains" \
        "${run[@]}" --out bad --lr $rate --lr-head 1000
done
[[ ! -e bad ]] || fail "a refused start left $(ls -d bad bad/*)"
refused "colour: found 3 classes, expected the 10 of start/checkpoint-+(0)1.h5; \"T-shirt/top\" is not among them$" \
    eval start --data colour
for name in start frozen; do works export $name $name.safetensors; done
check frozen start.safetensors frozen.safetensors features.conv0 features.denseblock1
finish
