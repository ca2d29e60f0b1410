#!/usr/bin/env bash
# Held-out images, the best checkpoint, early stopping and averaged weights: the same on any number
# of ranks and threads, and after a stop and resume.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
find_python PIL || skip "found no python3 with PIL (Debian: python3-pil)"
cd "$tmp"
program=dn_dist
"$python" - <<'END' || fail "the pictures could not be made"
import os, random
from PIL import Image
draw = random.Random(1)
for label in range(4):
    os.makedirs(f"pictures/{label}")
    for i in range(25):
        shade = bytes(min(255, max(0, int(draw.gauss(60 + 40 * label, 60)))) for _ in range(3 * 144))
        Image.frombytes("RGB", (12, 12), shade).resize((32, 32)).save(f"pictures/{label}/{i}.png")
END
program=create_records works FOLDER --source pictures --out records

# small RANKS OUT OPTION...: epochs of 4 steps of 4 x 4 of the 90 training images.
small() {
    local ranks=$1 out=$2
    shift 2
    on_ranks "$ranks" "$build/dn_dist" train --model fashion-mnist-tiny --data records --size 28 \
        --out "$out" --batch-size 4 --virtual-ranks 4 "$@" >>"$out.log" 2>&1
}

# scores OUT: the epochs' lines without the values of this process's steps only.
scores() {
    sed -nE '/"epoch", /{s/"(images_per_s|seconds|data_wait|sum_wait|late_rank|late_wait)": [^,]*, //g;p}' "$1/metrics.jsonl"
}

# tested OUT: the line of the test images' scores at the run's end.
tested() { grep '"kind": "test"' "$1/metrics.jsonl" | tail -n 1; }

options=(--val-fraction 0.2 --ema 0.8 --optimizer adam --lr 0.03 --epochs 5)
small 1 whole "${options[@]}" --threads 2 || fail "training" whole.log
expected=$(scores whole)
[[ $(wc -l <<<"$expected") == 5 && $expected == *'"val_loss"'*'"ema_val_top5"'* ]] ||
    fail "expected five epochs with scores of validation and averages" whole/metrics.jsonl
grep -q "^held out for validation: 18 of 90 training images" whole.log || fail "--val-fraction" whole.log
grep -q "^an epoch takes 64 of the 72 training images, whole batches of 16; each leaves out others$" whole.log ||
    fail "images that fill no batch" whole.log
for ranks in 2 3; do
    small $ranks on-$ranks "${options[@]}" --threads 1 --max-steps 10 || fail "training" on-$ranks.log
    small $((5 - ranks)) on-$ranks --threads 2 || fail "resuming" on-$ranks.log
    [[ $(scores on-$ranks) == "$expected" && $(tested on-$ranks) == "$(tested whole)" ]] ||
        fail "$ranks ranks, stopped, then others: other scores" {whole,on-$ranks}/metrics.jsonl
done
small 2 sync "${options[@]}" --sync-bn --threads 1 && small 3 sync-3 "${options[@]}" --sync-bn ||
    fail "--sync-bn" sync.log
[[ $(scores sync) == "$(scores sync-3)" ]] || fail "--sync-bn: other scores" {sync,sync-3}/metrics.jsonl

# Test images are scored once, with the best weights; best.h5 is the epoch with the greatest accuracy of averaged weights, and of these the lowest loss.
"$python" - whole/metrics.jsonl >best <<'END'
import json, sys
epochs = [json.loads(line) for line in open(sys.argv[1]) if '"epoch", ' in line]
best = max(epochs, key=lambda e: (e["ema_val_top1"], -e["ema_val_loss"], -e["epoch"]))
assert best["epoch"] < len(epochs), epochs  # so that best.h5 differs from the last weights
lines = [json.loads(line) for line in open(sys.argv[1])]
test = lines[-2]
assert [r["kind"] for r in lines].count("test") == 1 and test["best_epoch"] == best["epoch"], test
assert all(e["test_loss"] is None and "ema_test_loss" not in e for e in epochs), epochs
assert lines[0]["judge"] == "ema_val" and [lines[-1][k] for k in ("best_epoch", "best", "best_by")] == [
    best["epoch"], best["ema_val_top1"], "ema_val_top1"], lines[-1]
print(f'{test["ema_test_top1"]:.2f} {best["val_top1"]:.2f} {best["epoch"]} {best["ema_val_top1"]:.2f} {test["ema_test_loss"]:.4f}')
END
read -r average trained epoch judged loss <best
grep -qE "^best epoch $epoch, test \(averaged weights\) loss [0-9.]+, top-1 $average %," whole.log ||
    fail "expected the test images' scores" whole.log
grep -qx "best epoch $epoch, validation (averaged weights) top-1 $judged %: whole/best.h5" whole.log ||
    fail "expected word of the best epoch, $epoch" whole.log
# A process that ended before it had scored the test images: the same command does so.
cp whole/metrics.jsonl complete
head -n -2 complete >whole/metrics.jsonl
small 2 whole --threads 1 || fail "scoring the test images again" whole.log
[[ $(tested whole) == "$(grep '"kind": "test"' complete)" && $(tail -n 1 whole/metrics.jsonl) == *'"the last step"'* ]] ||
    fail "expected the test images' scores and the end again" whole/metrics.jsonl
small 2 whole --threads 1 || fail "a complete run" whole.log
[[ $(tail -n 1 whole.log) == *"nothing was trained: the run is complete"* ]] || fail "a complete run" whole.log
accepted "top-1 $average %" eval --data records --checkpoint whole/best.h5 --weights average
printed ", loss $loss$" "the test loss of best.h5"
accepted "top-1 $trained %" eval --split val --checkpoint whole/best.h5 --weights trained

# eval --split: the images that were held out, of the run's own data alone; and those it trained on.
# scored RUN SCORES EVAL-OPTION...: eval prints the top-1 that the run's last epoch has of that name.
scored() {
    local run=$1 name=$2
    shift 2
    local top1=$("$python" -c 'import json, sys
epochs = [json.loads(line) for line in open(sys.argv[1]) if "\"epoch\", " in line]
print("%.2f" % epochs[-1][sys.argv[2]])' "$run/metrics.jsonl" "$name")
    on_ranks 2 "$build/dn_dist" eval "$(newest "$run")" "$@" >eval.log 2>&1
    grep -q "top-1 $top1 %" eval.log || fail "eval $run $*: expected top-1 $top1" eval.log
}
newest() { ls "$1"/checkpoint-*.h5 | tail -1; }
scored whole ema_val_top1 --split val --per-sample val.csv
scored whole val_top1 --split val --weights trained
grep -q "^18 images" eval.log || fail "the images that were held out" eval.log
grep -q "^fashion-mnist-tiny from whole/.*, trained weights, not the averaged ones, kernels " eval.log ||
    fail "eval --weights trained: expected word of it" eval.log
accepted "72 images" eval whole --split train --per-sample train.csv
[[ $(cat train.csv val.csv | grep '^[0-9]' | cut -d, -f1 | sort -n) == "$(seq 0 89)" ]] ||
    fail "eval --split train and val: expected each of 90 training images once" train.csv val.csv
small 1 seed-2 --val-fraction 0.2 --seed 2 --max-steps 1 --batch-size 18 --lr 0 --ema 0.5 || fail "--seed 2" seed-2.log
works eval seed-2 --split val --per-sample seed-2.csv
cmp <(cut -d, -f1 val.csv) <(cut -d, -f1 seed-2.csv) || fail "--seed 2: expected the same images held out" seed-2.log
# Averages have the means of the batches' statistics. That run's only step had the same batches and weights: it moved
# the running statistics from mean 0 and variance 1 by the momentum, 0.1, of the way to them.
for weights in trained average; do works export seed-2 $weights.safetensors --weights $weights; done
"$python" - {trained,average}.safetensors >out 2>&1 <<'END' || fail "the statistics of averaged weights" out
import json, struct, sys
def statistics(path):
    data = open(path, "rb").read()
    head = 8 + struct.unpack("<Q", data[:8])[0]
    for name, tensor in json.loads(data[8:head]).items():
        if "running" in name:
            begin, end = tensor["data_offsets"]
            yield from ((name, x) for x, in struct.iter_unpack("<f", data[head + begin:head + end]))
trained, average = (list(statistics(path)) for path in sys.argv[1:])
assert len(trained) == len(average) > 0
for (name, x), (_, measured) in zip(trained, average):
    found = (x - (0.9 if name.endswith("var") else 0)) / 0.1
    assert abs(measured - found) < 1e-5, (name, measured, found)  # 6e-7 by rounding
END

# Without --weights the averaged ones, by which the run was judged.
scored whole ema_val_top1 --split val
grep -q "^fashion-mnist-tiny from whole/.*, averaged weights, kernels " eval.log || fail "eval: averaged weights" eval.log
works eval whole/best.h5 --json
grep -q '"weights": *"average"' out || fail "eval --json: averaged weights" out
mv out average.json
accepted "best.h5, averaged weights, " export whole whole.safetensors
grep -aq '"weights":"average"' whole.safetensors || fail "export: averaged weights"
works eval whole.safetensors --data records --json
cmp out average.json || fail "eval: expected the same of averaged weights and their safetensors" out
refused "--weights trained: found safetensors of averaged weights, expected a checkpoint" \
    eval whole.safetensors --data records --weights trained
small 1 from-average --init-from whole --max-steps 1 && grep -q "^averaged weights of whole$" from-average.log ||
    fail "--init-from averaged weights" from-average.log
[[ ! -e whole/evaluation.json ]] || fail "eval --split train: expected no evaluation for reports" eval.log
for split in train test val; do
    works eval whole --split $split --per-sample $split.csv
done
"$python" - pictures {train,test,val}.csv >eval.log 2>&1 <<'END' || fail "the files of eval --per-sample" eval.log
import csv, os, sys
train, test, held_out = ([(row["label"], row["file"]) for row in csv.DictReader(open(f))] for f in sys.argv[2:])
assert sorted(file for _, file in train + test + held_out) == sorted(
    f"{label}/{name}" for label in os.listdir(sys.argv[1]) for name in os.listdir(f"{sys.argv[1]}/{label}"))
assert all(file.startswith(label + "/") for label, file in train + test + held_out)
assert len(set(held_out)) == 18
END
rm -f whole/evaluation.json
program=create_records works FOLDER --source pictures --out other --seed 2 --limit 9
refused "--split val: found * in other, expected *, of which the run held" eval whole --split val --data other
accepted "32 images" eval whole --split train --data other # all of it

# A val split of the data judges the run; test images are scored beside it.
mkdir three
cp -r pictures three/train
for split in val test; do
    for label in 0 1 2 3; do
        mkdir -p three/$split/$label && mv three/train/$label/*$((${#split} + 1)).png three/$split/$label
    done
done
program=create_records works FOLDER --source three --out val
three() { on_ranks "$1" "$build/dn_dist" train --model fashion-mnist-tiny --data val --size 28 --out "$2" \
    --batch-size 4 --virtual-ranks 4 --optimizer adam --lr 0.01 --epochs 3 "${@:3}" >>"$2.log" 2>&1; }
three 1 judged || fail "training with a val split" judged.log
three 2 judged-2 --max-steps 5 && three 2 judged-2 || fail "training with a val split" judged-2.log
[[ $(scores judged) == *'"val_top1"'* && $(scores judged) == "$(scores judged-2)" && $(tested judged) == "$(tested judged-2)" ]] ||
    fail "a val split: other scores" {judged,judged-2}/metrics.jsonl
scored judged val_top1 --split val
top1=$("$python" -c 'import json, sys; print("%.2f" % json.load(sys.stdin)["test_top1"])' <<<"$(tested judged)")
accepted "top-1 $top1 %" eval judged
small 1 last --val-fraction 0.2 --best none --epochs 1 || fail "--best none with held-out images" last.log
top1=$(sed -nE 's/^last weights, test loss [0-9.]+, top-1 ([0-9.]+ %),.*/\1/p' last.log)
accepted "top-1 ${top1:-not found}" eval last
"$python" - >eval.log 2>&1 <<'END' || fail "the worst samples' files" eval.log
import json
worst = json.load(open("judged/evaluation.json"))["worst"]
assert worst and all(s["file"].startswith(f"test/{s['label']}/") for s in worst), worst
END
three 1 both --val-fraction 0.2 && fail "--val-fraction beside a val split"
grep -q "^dn_dist: --val-fraction 0.2: found a val split in val, which judges the run" both.log ||
    fail "--val-fraction beside a val split" both.log
small 1 plain --epochs 1 || fail "training without --ema" plain.log
grep -q "^no validation images: the test images choose best.h5" plain.log &&
    ! grep -q "^no validation images" whole.log judged.log || fail "word of what chooses best.h5" plain.log
refused "--split val: found none in *records, and plain/* learnt without --val-fraction" eval plain --split val
refused "plain/best.h5: found no averaged weights" eval --data records --checkpoint plain/best.h5 --weights average

# Averaged weights have their own statistics at the run's last step, whether it was evaluated or
# not, and after a stop before that. At other steps a warning tells which statistics they have, and
# without any they are refused.
averages=(--ema 0.8 --epochs 2 --checkpoint-every 1 --keep 0)
small 2 judged-averages "${averages[@]}" && small 1 unjudged "${averages[@]}" --eval-every 0 ||
    fail "averages" judged-averages.log unjudged.log
of_averages=(eval --data records --weights average)
works "${of_averages[@]}" judged-averages/checkpoint-00000010.h5
expected=$(grep "^10 images" out)
accepted "$expected" "${of_averages[@]}" unjudged/checkpoint-00000010.h5
refused "unjudged/*07.h5: found averaged weights whose batch statistics were never measured" \
    "${of_averages[@]}" unjudged/checkpoint-00000007.h5
works "${of_averages[@]}" judged-averages/checkpoint-00000007.h5
grep -q "^warning: judged-averages/.*07.h5: the averaged weights are those of step 7, their batch statistics were measured at step 5$" err ||
    fail "averages with the statistics of an epoch before" err
small 2 awaited --resume unjudged/checkpoint-00000007.h5 --max-steps 7 || fail "statistics that are left" awaited.log
works "${of_averages[@]}" awaited/checkpoint-00000007.h5
! grep -q "^warning" err || fail "statistics that are left" err
small 1 awaited --max-steps 7 && grep -q "the run is complete, awaited/" awaited.log || fail "complete" awaited.log

# A norm group of single images has the results of one virtual rank with all of them, with class
# weights over the global batch, and with statistics of averaged weights.
group=(--sync-bn --clip-norm 0.1 --ema 0.5 --class-weights 0.5,2,1,0.25 --epochs 2 --lr 0.01)
small 1 one "${group[@]}" --virtual-ranks 1 --batch-size 16 || fail "one virtual rank" one.log
small 3 singles "${group[@]}" --virtual-ranks 16 --batch-size 1 || fail "a norm group of single images" singles.log
"$python" - one/metrics.jsonl singles/metrics.jsonl >out 2>&1 <<'END' || fail "a norm group of single images: other losses" out
import json, sys
ORDER_TOLERANCE = 1e-4  # of a loss: sums in another order, measured 6e-8; a ReLU may decide otherwise
one, singles = ([json.loads(line) for line in open(path) if '"epoch", ' in line] for path in sys.argv[1:])
assert len(one) == len(singles) == 2
for a, b in zip(one, singles):
    for name in ("train_loss", "test_loss", "ema_test_loss", "gradient_norm"):
        assert a[name] > 0 and abs(a[name] - b[name]) < ORDER_TOLERANCE, (name, a, b)
END

# State of epochs is resumed, too: the plateau schedule, which scores of the trained weights move, and the order of
# images for the class weights of the loss.
fall=(--schedule plateau --plateau-patience 0 --plateau-threshold 0.5 --gamma 0.5 --class-weights 0.5,2,1,0.25
    --optimizer adam --lr 0.01 --ema 0.8 --epochs 6)
small 1 fall "${fall[@]}" && small 2 fall-on "${fall[@]}" --max-steps 22 && small 3 fall-on || fail "plateau" fall*.log
grep -qx "class weights: 0 0.5, 1 2, 2 1, 3 0.25" fall.log || fail "--class-weights: expected them by name" fall.log
[[ $(last_hash fall) == "$(last_hash fall-on)" ]] || fail "plateau, stopped: other weights" fall*/metrics.jsonl
"$python" - fall/metrics.jsonl >out 2>&1 <<'END' || fail "plateau: other rates" out
import json, sys
epochs = [json.loads(line) for line in open(sys.argv[1]) if '"epoch", ' in line]
def rates(score):
    rate, best = 0.01, float("inf")
    for epoch in epochs:
        yield rate
        if epoch[score] < 0.5 * best:
            best = epoch[score]
        else:
            rate *= 0.5
found, expected = [epoch["lr"] for epoch in epochs], list(rates("test_loss"))
assert found == expected and 0.01 > found[-1] and expected != list(rates("ema_test_loss")), (found, expected, epochs)
END

# A run that was stopped before the evaluation of its last epoch has it when it is started again.
small 1 late --epochs 1 --eval-every 0 || fail "training without evaluations" late.log
[[ ! -e late/best.h5 ]] || fail "a best epoch without evaluations" late.log
small 2 late --eval-every 1 || fail "the evaluation that is left" late.log
[[ -e late/best.h5 && $(last_step late) == 5 ]] || fail "the evaluation that is left: no best.h5" late.log
small 1 late && grep -q "the run is complete, late/checkpoint-00000005.h5 " late.log ||
    fail "a complete run" late.log

# The same for a last epoch outside --eval-every, whose scores only metrics.jsonl has; that start is stopped, too.
small 2 outside --epochs 3 --eval-every 2 || fail "a last epoch outside --eval-every" outside.log
last_loss() { grep '"epoch", ' outside/metrics.jsonl | tail -n 1 | grep -oE '"test_loss": [0-9.]+'; }
expected=$(last_loss) || fail "a last epoch outside --eval-every: no score" outside/metrics.jsonl
sed -i '/"epoch": 3,/d' outside/metrics.jsonl
trap '' USR1 # until dn_dist catches it
"$build/dn_dist" train --out outside >>outside.log 2>&1 &
job=$!
trap - USR1
while kill -USR1 $job 2>/dev/null; do sleep 0.01; done
status=0
wait $job || status=$?
[[ $status == 75 && $(tail -n 1 outside/metrics.jsonl) == *SIGUSR1* ]] ||
    fail "a stop before the last evaluation: found status $status, expected 75" outside.log
small 2 outside || fail "the last evaluation that is left" outside.log
[[ $(last_loss) == "$expected" ]] || fail "the last evaluation that is left: expected $expected" outside/metrics.jsonl
small 2 outside && grep -q "the run is complete, outside/" outside.log || fail "a complete run" outside.log

status=0
small 2 late --lr 0.02 --seed 1 || status=$?
[[ $status == 1 ]] && grep -q "^dn_dist: --lr: found another value than late/checkpoint-00000005.h5 was trained with, and nothing was trained" late.log ||
    fail "a complete run with other options: found status $status, expected 1" late.log

# Another length of the run, another rate.
small 2 plain --epochs 8 --max-steps 6 || fail "another --epochs" plain.log
grep -q "^learning rate at step 6: 0.00025 by the checkpoint's options, 0.025 by these$" plain.log ||
    fail "another --epochs: expected both rates" plain.log

# After an early stop the run is complete; with a longer patience it resumes from there.
small 2 early --lr 0 --early-stop 2 --best loss --eval-every 2 || fail "--early-stop" early.log
grep -qE "^stopped after epoch [0-9]+: no better loss since epoch [0-9]+$" early.log ||
    fail "expected word of an early end" early.log
last=$(last_step early)
small 3 early && grep -q "the run is complete, early/checkpoint-.* of its last step, $last, weights " early.log ||
    fail "an early end, again" early.log
small 3 early --early-stop 3 || fail "a longer patience" early.log
[[ $(last_step early) -gt $last ]] || fail "a longer patience: no step" early.log

# Lines of metrics.jsonl that cannot be written do not end the training; the last one can be added later.
small 1 unrecorded --epochs 1 && small 1 recorded --epochs 1 || fail "an epoch" unrecorded.log
for out in unrecorded recorded; do # room for 200 bytes to the limit of 4 MiB, which no line has
    filled=$(($(stat -c %s $out/metrics.jsonl) + 224))
    printf '{"kind": "filler", "step": 1, "x": "%0*d"}\n' $(((4 << 20) - filled - 20)) 0 >>$out/metrics.jsonl
done
status=0
(ulimit -f 4096 && small 1 unrecorded --epochs 3) || status=$?
small 1 recorded --epochs 3 || fail "three epochs" recorded.log
[[ $status == 1 && $(grep -c "^warning: unrecorded/metrics.jsonl: cannot write: File too large; training continues" unrecorded.log) == 2 ]] ||
    fail "expected two lines that could not be written and status 1, found status $status" unrecorded.log
small 1 unrecorded && grep -q "the run is complete" unrecorded.log || fail "a run without the end's record" unrecorded.log
[[ $(last_hash unrecorded) == "$(last_hash recorded)" && $(tail -n 1 unrecorded/metrics.jsonl) == *'"reason": "the last step"'* &&
    $(grep -c '"epoch", ' unrecorded/metrics.jsonl) == 1 ]] || fail "a run without records" unrecorded.log

# After a restart from an earlier step a later best checkpoint is set aside.
newest=$(find whole -name 'checkpoint-*.h5' | sort | head -n 1)
echo '{}' >whole/evaluation.json
small 1 whole --resume "$newest" --max-steps "$(($(grep -oE '[0-9]+\.h5' <<<"$newest" | sed 's/^0*//; s/.h5//') + 1))" ||
    fail "another way" whole.log
[[ $(find whole -name 'checkpoint-*.h5' -path '*/old-1/*' | wc -l) -gt 0 ]] || fail "nothing set aside" whole.log
[[ -e whole/old-1/evaluation.json && ! -e whole/evaluation.json ]] || fail "an evaluation of what was set aside" whole.log

# The best epoch of a checkpoint stays the best one after --resume FILE: it is FILE itself, or has the best.h5 beside it.
small 1 back --val-fraction 0.2 --best loss --early-stop 2 --lr 0 --keep 0 --epochs 40 || fail "training" back.log
end=$(last_step back)
first=back/checkpoint-00000004.h5
printf -v before 'back/checkpoint-%08d.h5' $((end - 4))
small 2 itself --resume $first && small 2 beside --resume "$before" || fail "another folder" {itself,beside}.log
for out in itself beside; do
    [[ $(last_step $out) == "$end" && $(tested $out) == "$(tested back)" ]] ||
        fail "$out: expected the end and the scores of the undisturbed run" {back,$out}/metrics.jsonl
done
cmp back/best.h5 beside/best.h5 && grep -q "^best epoch so far, [0-9]*: beside/best.h5, a copy of back/best.h5$" beside.log ||
    fail "the best epoch of another folder" beside.log
mkdir bare
cp "$before" bare
small 2 elsewhere --resume "bare/${before#*/}" || fail "without its best epoch" elsewhere.log
grep -q "^no best.h5 in elsewhere: a new best epoch is searched for" elsewhere.log ||
    fail "expected word of a best epoch that is forgotten" elsewhere.log
small 1 back --resume $first --lr 3 --max-steps 8 || fail "going back" back.log
cmp $first back/best.h5 && grep -q "^best epoch 1, validation loss [0-9.]*: back/best.h5$" back.log ||
    fail "going back: expected the best epoch in best.h5" back.log

# Classes of unequal sizes are judged by the mean of their accuracies, the same on any number of ranks.
mkdir -p uneven/test
cp -r pictures uneven/train
for label in 0 1 2; do
    mkdir "uneven/test/$label"
    for ((i = 0; i < 20 - 8 * label; i++)); do cp "pictures/$label/$i.png" "uneven/test/$label"; done
done
program=create_records works FOLDER --source uneven --out uneven.records
for ranks in 1 3; do
    small $ranks uneven-$ranks --data uneven.records --best balanced --epochs 6 || fail "--best balanced" uneven-$ranks.log
    on_ranks "$ranks" "$build/dn_dist" eval uneven-$ranks --json >eval-$ranks.json 2>eval.log || fail "eval" eval.log
    sed -i "s/uneven-$ranks//g" eval-$ranks.json
done
[[ $(scores uneven-1) == "$(scores uneven-3)" ]] || fail "other scores" uneven-{1,3}/metrics.jsonl
cmp -s eval-1.json eval-3.json || fail "eval: other scores on 3 ranks" eval-{1,3}.json
grep -qE "test loss [0-9.]+  top-1 [0-9.]+ %  balanced [0-9.]+ %  AUROC [01].[0-9]+  [0-9.]+ images/s" uneven-1.log ||
    fail "expected the balanced accuracy, and no top-5 of 4 classes" uneven-1.log
small 2 rare --data uneven.records --epochs 1 || fail "the default of --best" rare.log
few="warning: 2 of 4 classes have fewer than 10 of the images that judge the run, such as 3 with 0:"
grep -q "^$few" uneven-1.log && [[ $(grep -c "^$few" rare.log) == 1 ]] || fail "classes of few images" rare.log
grep -q "^--best accuracy judges classes of unequal size, 0 with 20 images and 3 with 0:" rare.log &&
    ! grep -q "^--best accuracy judges" uneven-1.log whole.log || fail "classes of unequal size" rare.log
"$python" - uneven-1/metrics.jsonl eval-1.json >out 2>&1 <<'END' || fail "the best by balanced accuracy" out
import json, sys
epochs = [json.loads(line) for line in open(sys.argv[1]) if '"epoch", ' in line]
found = json.load(open(sys.argv[2]))
recalls = [c["recall"] for c in found["classes"]]
assert recalls.pop() is None
assert abs(found["balanced"] - sum(recalls) / 3) < 1e-9, found
best = max(epochs, key=lambda e: (e["test_balanced"], -e["test_loss"], -e["epoch"]))
assert abs(found["balanced"] - best["test_balanced"]) < 1e-6 and abs(found["top1"] - best["test_top1"]) < 1e-6
assert abs(found["loss"] - best["test_loss"]) < 1e-6
assert abs(found["auroc"] - best["test_auroc"]) < 1e-6
assert any(abs(e["test_balanced"] - e["test_top1"]) > 1 for e in epochs), epochs
END

# The probabilities of all classes, and AUROC: the pairs of an image of the class and another. The
# net is untrained, as a good one separates these classes.
for ranks in 1 3; do
    on_ranks "$ranks" "$build/dn_dist" eval early --data uneven.records --json --per-sample p-$ranks.csv >p-$ranks.json 2>eval.log ||
        fail "eval --per-sample" eval.log
done
cmp -s p-1.csv p-3.csv && cmp -s p-1.json p-3.json || fail "eval --per-sample: other scores on 3 ranks" p-{1,3}.csv
"$python" - p-1.json p-1.csv >out 2>&1 <<'END' || fail "AUROC" out
import csv, json, sys
found = json.load(open(sys.argv[1]))
samples = list(csv.DictReader(open(sys.argv[2])))
areas = []
for c in range(3):
    p = [float(s[f"p:{c}"]) for s in samples]
    ours, others = ([x for x, s in zip(p, samples) if (s["label"] == str(c)) == is_ours] for is_ours in (True, False))
    areas.append(sum((a > b) + (a == b) / 2 for a in ours for b in others) / (len(ours) * len(others)))
    assert abs(found["classes"][c]["auroc"] - areas[c]) < 1e-8, (c, areas, found["classes"])
assert found["classes"][3]["auroc"] is None and abs(found["auroc"] - sum(areas) / 3) < 1e-8
assert all(0 < area < 1 for area in areas), areas
for s in samples:
    assert s[f"p:{s['predicted']}"] == s["probability"] and abs(sum(float(s[f"p:{c}"]) for c in range(4)) - 1) < 1e-6
END
works eval uneven-1 --per-class
grep -qE "^    3 3 +0 images: recall      -    precision +[-0-9.]+ .*  AUROC    -$" out || fail "a class without images" out
grep -qE "^mean of the classes: recall [0-9.]+ %, precision [0-9.]+ %, F1 [0-9.]+ %, AUROC [01].[0-9]+$" out || fail "the mean AUROC" out
awk '/ images: recall +[0-9]/ { sum += $6; n++ } /^mean of the classes:/ { found = $6 }
    END { mean = sum / n; exit !(n == 3 && found > mean - 0.02 && found < mean + 0.02) }' out ||
    fail "the mean recall of the classes with images" out

# AUROC judges.
small 2 auroc --data uneven.records --best auroc --schedule plateau --plateau-metric balanced --epochs 2 && small 1 auroc --data uneven.records --epochs 3 || fail "--best auroc" auroc.log
"$python" - auroc/metrics.jsonl >best 2>&1 <<'END' || fail "the best by AUROC" best
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
epochs, end = [line for line in lines if line["kind"] == "epoch"], lines[-1]
best = max(epochs, key=lambda e: (e["test_auroc"], -e["test_loss"], -e["epoch"]))
assert [end[k] for k in ("best_epoch", "best", "best_by")] == [best["epoch"], best["test_auroc"], "test_auroc"], end
print(f'best epoch {best["epoch"]}, test AUROC {best["test_auroc"]:.4f}: auroc/best.h5')
END
grep -qxFf best auroc.log || fail "expected word of the best epoch" best auroc.log

status=0
small 1 none --early-stop 2 --eval-every 0 || status=$?
[[ $status == 1 ]] && grep -q "^dn_dist: --early-stop 2: found no evaluations to judge by" none.log ||
    fail "--early-stop without evaluations" none.log
finish
