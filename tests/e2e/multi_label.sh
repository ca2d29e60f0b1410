#!/usr/bin/env bash
# Images with any number of classes, some of them unknown, from training to the report: the weights do
# not depend on ranks, threads or restarts; scores are those that numpy finds; the other kind of labels is
# refused.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
find_python PIL numpy || skip "found no python3 with PIL and numpy (Debian: python3-pil, python3-numpy)"
cd "$tmp"
program=dn_dist
"$python" "$tests/oracles/tags.py" make pictures
program=create_records works FOLDER --source pictures --multi-label none --out tags
net=(--model blocks=2,2:growth=8:stem=cifar:stem-channels=16 --size 16 --augment resize:16,center-crop:16,hflip --eval-transform resize:16,center-crop:16)
small=(train "${net[@]}" --data tags --batch-size 4 --virtual-ranks 4)

# --- training -------------------------------------------------------------------------------------

every=(--class-weights balanced --label-smoothing 0.1 --mixup 0.4 --cutmix 1 --ema 0.9 --val-fraction 0.25 --epochs 4)
on_ranks 1 "$build/dn_dist" "${small[@]}" "${every[@]}" --threads 1 --out all >log 2>&1 || fail "1 rank" log
on_ranks 4 "$build/dn_dist" "${small[@]}" "${every[@]}" --threads 2 --out all-4 >log 2>&1 || fail "4 ranks" log
[[ $(last_hash all-4) == "$(last_hash all)" ]] || fail "4 ranks x 2 threads: expected the hash of one" log
for ranks in 1 4; do
    on_ranks $ranks "$build/dn_dist" "${small[@]}" --sync-bn --threads 1 --epochs 2 --out sync-$ranks >log 2>&1 || fail "--sync-bn" log
done
[[ $(last_hash sync-4) == "$(last_hash sync-1)" && $(last_hash sync-1) != "$(last_hash all)" ]] ||
    fail "--sync-bn: expected the same hash on 1 and 4 ranks" log
works "${small[@]}" "${every[@]}" --threads 1 --max-steps 7 --out parts
works train --print "${small[@]:1}" "${every[@]}" --threads 1
grep -E "^(best|normalize) = auto$" out >parts.ini && [[ $(wc -l <parts.ini) == 2 ]] || fail "--print: expected best = auto" out
accepted "best epoch" train --config parts.ini --out parts
! grep -q " as in the checkpoint, not\|the run continues with" err || fail "automatic values of --config at a resume" err
[[ $(last_hash parts) == "$(last_hash all)" ]] || fail "a run in two parts: other weights" out
printed "exact [0-9.]* %  validation loss [0-9.]*  AUROC [01][.0-9]*  exact [0-9.]* %  " "the line of an epoch"
printed "^best epoch [0-9]*, .*AUROC [01][.0-9]*: parts/best.h5$" "AUROC judges"
printed "^class weights of images with the class: blue [0-9.]*, green [0-9.]*, red [0-9.]*$" "weights by names"
works "${small[@]}" --threads 1 --epochs 12 --schedule plateau --plateau-metric auroc --best loss --early-stop 9 --out run
grep -q '"multi_label": true' run/metrics.jsonl || fail "metrics.jsonl: expected multi_label" run/metrics.jsonl
for metric in best plateau-metric; do
    grep -q "\"$metric\": \"auroc\"" parts/metrics.jsonl || fail "metrics.jsonl: expected $metric auroc" parts/metrics.jsonl
done
refused "--best balanced: found images with sets of classes" "${small[@]}" --out bad --best balanced
refused "--plateau-metric balanced: found images with sets of classes" "${small[@]}" --out bad --schedule plateau --plateau-metric balanced

# --- eval, predict, report, top -------------------------------------------------------------------

for ranks in 1 3; do
    on_ranks $ranks "$build/dn_dist" eval run --json --per-sample $ranks.csv >$ranks.json 2>err || fail "eval" err
done
cmp 1.csv 3.csv && cmp 1.json 3.json || fail "eval: other scores on 3 ranks"
"$python" "$tests/oracles/tags.py" eval pictures 1.csv 1.json >out 2>&1 || fail "the scores of eval" out
"$python" "$tests/oracles/tags.py" metrics run 1.json >out 2>&1 || fail "metrics.jsonl and evaluation.json" out
works eval run --per-class
printed "^31 images: AUROC [01][.0-9]*, exact [0-9.]* %, loss [0-9.]*$" "eval"
printed "^    1 green  *11 images: recall .* precision .* F1 .* AUROC [01]" "eval --per-class"
! grep -q "confusion matrix" out || fail "eval of label sets: found a confusion matrix" out
works eval run --crops 10 --eval-transform resize:18,center-crop:16 --json
works predict run pictures/test/blue --top 2
printed "^pictures/test/blue/0.png: [a-z]* [0-9.]* %, [a-z]* [0-9.]* %$" "predict"
works report run --out page.html
if command -v node >/dev/null; then
    limited node "$tests/oracles/report_tables.js" page.html >out 2>&1 || fail "the page's script" out
    printed "^run|.*|best AUROC|test AUROC then|last AUROC|" "the summary's columns"
    printed "^run|.*|test images|[01][.0-9]* (epoch [0-9]*, loss [0-9.]*)|[01][.0-9]*|" "the summary's scores"
    printed "^green|11|[0-9]*|[0-9.]* %|.*|[01][.0-9]*$" "the classes of an evaluation"
    printed "^green|[01][.0-9]*$" "the classes of the best epoch"
else
    untried "the page's tables: found no node (Debian: nodejs)"
fi
works top run --once
printed "^AUROC: .* o test [01][.0-9]* .* best [01][.0-9]* in epoch" "top"

# --- files of weights -----------------------------------------------------------------------------

works export run run.onnx
grep -q Sigmoid run.onnx && ! grep -q Softmax run.onnx || fail "an ONNX file: expected Sigmoid"
if "${DN_READERS_PYTHON:-false}" -c 'import onnxruntime, PIL' 2>/dev/null; then
    "$DN_READERS_PYTHON" "$tests/oracles/tags.py" onnx pictures 1.csv run.onnx >out 2>&1 || fail "onnxruntime's probabilities" out
else
    untried "onnxruntime: DN_READERS_PYTHON names no python3 that has it and pillow"
fi
works export run run.safetensors
if find_python PIL numpy torch; then
    "$python" "$tests/oracles/tags.py" torch pictures 1.csv run.safetensors >out 2>&1 || fail "PyTorch's probabilities" out
else
    untried "PyTorch, for lack of python3-torch"
fi
works eval run.safetensors --data tags --json
cmp out 1.json || fail "eval of safetensors: other scores than of the run" out

# --- one class an image ---------------------------------------------------------------------------

mkdir -p single/train single/test
for split in train test; do
    for class in blue green red; do cp -r pictures/$split/$class single/$split; done
done
program=create_records works FOLDER --source single --out single.records
works train "${net[@]}" --data single.records --batch-size 4 --threads 1 --epochs 1 --out single.run
for from in run run.safetensors; do
    refused "single.records: found images with one class each, expected sets of classes as in $from" eval $from --data single.records
done
refused "tags: found images with sets of classes, expected one class each as in single.run" eval single.run --data tags
works "${small[@]}" --threads 1 --init-from single.run --max-steps 1 --out from-single

# --- images without a ROC curve, and a class that all have ----------------------------------------

"$python" "$tests/oracles/tags.py" alike alike
program=create_records works FOLDER --source alike --multi-label none --out alike.records
alike=(train "${net[@]}" --data alike.records --batch-size 4 --threads 1 --epochs 2)
works "${alike[@]}" --class-weights balanced --schedule plateau --out alike.run
printed "^class weights of images with the class: blue 1, green 3$" "the weight of a class that all have"
printed "^best epoch [12], test loss [0-9.]*: alike.run/best.h5$" "the loss judges without ROC curves"
grep -q '"plateau-metric": "loss"' alike.run/metrics.jsonl || fail "plateau-metric without ROC curves" alike.run/metrics.jsonl
refused "--best auroc: found no class that some, but not all, of the 4 images that judge the run have" "${alike[@]}" --best auroc --out bad

# --- too many probabilities to keep ---------------------------------------------------------------

"$python" "$tests/oracles/tags.py" many many
program=create_records works FOLDER --source many --multi-label none --out many.records
works train --model blocks=1:growth=4:stem=cifar --size 8 --data many.records --batch-size 32 --threads 1 --epochs 1 --out many.run
printed "^best epoch 1, test loss" "the loss judges without AUROC"
works eval many.run --per-class --per-sample many.csv
printed "^1100 images: exact [0-9.]* %, loss" "eval without AUROC"
[[ $(wc -l <many.csv) == 1101 && $(head -n 1 many.csv) == index,label,predicted,probability,loss,file ]] ||
    fail "eval --per-sample without probabilities" many.csv
finish
