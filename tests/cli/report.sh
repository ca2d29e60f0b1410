#!/usr/bin/env bash
# dn_dist report: one page of two runs, with the configurations, curves, confusion matrix and worst
# samples that the runs' folders have; and what is refused.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
find_python PIL || skip "found no python3 with PIL (Debian: python3-pil)"
records
program=dn_dist
cd "$tmp"

train() { # FOLDER OPTION...
    works train --data "$data" --model fashion-mnist-tiny --batch-size 32 --max-steps 8 --epochs 2 --threads 1 --out "$@"
}
train "a<b" --eval-every 0
train c --optimizer adam --val-fraction 0.25
works eval "a<b"
accepted "page?2.html: runs: 2" report "a<b" c --out $'page\n2.html'
accepted "page.html: runs: 2" report "a<b" c --out page.html
grep -q "c: 'dn_dist eval c' adds" out || fail "a run that was not evaluated" out

"$python" - page.html "$(realpath "$data")" >out 2>&1 <<'END' || fail "the page" out
import base64, io, json, re, sys
from PIL import Image
page = open(sys.argv[1]).read()
assert page.count("<script") == 2 and page.count("</script>") == 2, "scripts"
assert not re.search(r'(src|href)\s*=\s*"', page), "a request"
assert "default-src 'none'" in page and "Chart.js v" in page
report = json.loads(re.search(r"\nconst report = (.*);\n", page)[1])
one, two = report["runs"]
assert (one["name"], two["name"]) == ("a<b", "c")
assert one["config"]["optimizer"] == "sgd" and two["config"]["optimizer"] == "adam"
assert [r["kind"] for r in one["records"]].count("run") == 1 and one["records"][-1]["step"] == 8
assert "evaluation" not in two
for run, train, validation in (one, 60000, 0), (two, 45000, 15000):
    data = run["data"]
    assert data.pop("path") == sys.argv[2]
    assert data == {"name": "FASHION_MNIST", "classes": 10, "multi_label": False, "train": train,
                    "validation": validation, "test": 10000}, data
ends = [r for r in two["records"] if r["kind"] in ("interval", "epoch")]
assert all(0 <= r[k] <= r["seconds"] for r in ends for k in ("data_wait", "sum_wait")) and ends
e = one["evaluation"]
cells = e["confusion_cells"]
assert sum(n for _, _, n in cells) == 10000 and len(e["class_names"]) == 10
assert cells == sorted(cells) and all(n > 0 and 0 <= p < 10 for _, p, n in cells)
assert abs(sum(n for c, p, n in cells if c == p) / 100 - e["top1"]) < 1e-6
losses = [s["loss"] for s in e["worst"]]
assert len(losses) == 24 and losses == sorted(losses, reverse=True)
for s in e["worst"]:
    picture = Image.open(io.BytesIO(base64.b64decode(s["png"])))
    assert picture.size == (28, 28) and picture.mode == "L" and max(picture.getdata()) > 50, s
    assert s["label"] != s["predicted"]
END
works report "a<b" --no-pictures --out bare.html
grep -q '"worst":' page.html && ! grep -q '"worst":' bare.html || fail "report --no-pictures"

# What judges a run, by which the best epoch is found, and the data sets beside each other
runs() { # FOLDER BEST DATA SCORES...: an epoch a word
    local folder=$1 epoch=0 word
    mkdir "$folder"
    printf '{"kind":"run","config":{"model":"m","best":"%s"}%s}\n' "$2" "$3" >"$folder/metrics.jsonl"
    for word in "${@:4}"; do
        printf '{"kind":"epoch","epoch":%d,"step":%d,"seconds":1,%s}\n' $((++epoch)) $epoch "$word"
    done >>"$folder/metrics.jsonl"
}
runs held accuracy ',"judge":"ema_val","data":{"name":"birds","path":"/x","classes":3,"train":8,"validation":2,"test":5}' \
    '"late_rank":2,"late_wait":0.25,"val_top1":70,"val_loss":0.5,"test_top1":66,"ema_val_top1":40,"ema_val_loss":2,"ema_test_top1":41' \
    '"late_rank":0,"late_wait":0.375,"val_top1":60,"val_loss":0.6,"test_top1":99,"ema_val_top1":75,"ema_val_loss":0.7,"ema_test_top1":72' \
    '"late_rank":2,"late_wait":0.25,"val_top1":90,"val_loss":0.4,"test_top1":98,"ema_val_top1":74,"ema_val_loss":0.6,"ema_test_top1":77'
runs least loss '' '"test_top1":50,"test_loss":0.25' '"test_top1":60,"test_loss":0.5'
runs rare balanced '' '"test_top1":70,"test_loss":0.25,"test_balanced":40' '"test_top1":60,"test_loss":0.5,"test_balanced":55'
runs tested auroc ',"judge":"val"' '"test_top1":null,"val_top1":50,"val_loss":0.25,"val_auroc":0.5' \
    '"test_top1":null,"val_top1":40,"val_loss":0.5,"val_auroc":0.75'
echo '{"kind":"test","epoch":2,"step":2,"best_epoch":2,"test_top1":45}' >>tested/metrics.jsonl
runs sets auroc ',"data":{"multi_label":true}' '"test_top1":50,"test_loss":0.5,"test_auroc":1' \
    '"test_top1":40,"test_loss":0.25,"test_auroc":1' '"test_top1":45,"test_loss":0.3,"test_auroc":0.5'
works top sets --once
grep -q "^AUROC: .* best 1.0000 in epoch 2$" out || fail "top: the loss breaks ties" out
runs short accuracy '' '"test_top1":null,"test_loss":null'
failed='{"kind":"end","epoch":1,"step":1,"reason":"failed","error":"step 2: gone"}'
echo "$failed" >>short/metrics.jsonl
sed -i "2a $failed" held/metrics.jsonl # and resumed
works report held least rare tested sets short --out tables.html
if command -v node >/dev/null; then
    limited node "$tests/oracles/report_tables.js" page.html >out 2>&1 || fail "the page's script" out
    ! grep -q "latest rank" out || fail "the latest rank of one" out
    [[ $(grep -c '^Ankle boot|' out) == 1 && $(grep -c ' taken for ' out) == 0 ]] || fail "the confusion matrix" out
    limited node "$tests/oracles/report_tables.js" tables.html >out 2>&1 || fail "the page's script" out
    for row in "held|m|birds|3|validation images, averaged weights|75.00 % (epoch 2)|72.00 %|74.00 %|0.6000|–|3 s|2 (17 %)|–" \
        "least|m|–|2|test images|50.00 % (epoch 1, loss 0.2500)|50.00 %|60.00 %|0.5000|–|2 s|–|–" \
        "rare|m|–|2|test images|60.00 % (epoch 2, balanced 55.00 %)|60.00 %" \
        "tested|m|–|2|validation images|40.00 % (epoch 2, AUROC 0.7500)|45.00 %|40.00 %" "sets|m|–|3|test images|1.0000 (epoch 2)|1.0000|0.5000|" \
        "short|m|–|1|test images|–|–|–|–|–|" "data set|birds|–|–|–|–" "data set: path|/x|–|–|–|–" \
        "data set: images to train on|8|–|–|–|–" "data set: validation images|2|–|–|–|–" "short failed: step 2: gone"; do
        grep -qF -- "$row" out || fail "the tables: expected \"$row\"" out
    done
    ! grep -q "held failed" out || fail "a resumed run has failed" out
else
    untried "the page's tables: found no node (Debian: nodejs)"
fi

# With thousands of classes memory and output grow with the images, not with the square of the
# classes.
"$python" - <<'END' || fail "the images of many classes" out
import os
from PIL import Image
for split in "train", "test":
    for c in range(3000):
        os.makedirs(f"many/{split}/c{c}")
        Image.new("L", (8, 8), c % 251).save(f"many/{split}/c{c}/0.png")
END
program=create_records works FOLDER --source many --out many.records
works train --model blocks=1:growth=4:stem=cifar --size 8 --data many.records --max-steps 1 --epochs 1 \
    --eval-every 0 --threads 1 --out many.run
accepted "confusion matrix of 3000 classes: --json" eval many.run --per-class
"$python" - many.run/evaluation.json >out 2>&1 <<'END' || fail "an evaluation of many classes" out
import json, os, sys
e = json.load(open(sys.argv[1]))
cells, classes = e["confusion_cells"], e["classes"]
assert os.path.getsize(sys.argv[1]) < 1 << 20, os.path.getsize(sys.argv[1])
assert len(cells) == 3000 == sum(n for _, _, n in cells) and len(classes) == 3000
assert sum(n for c, p, n in cells if c == p) == sum(c["correct"] for c in classes)
for p in {p for _, p, _ in cells}:
    assert sum(n for _, q, n in cells if q == p) == classes[p]["predicted"]
END
works report many.run --out many.html
if command -v node >/dev/null; then
    limited node "$tests/oracles/report_tables.js" many.html >out 2>&1 || fail "the page's script" out
    [[ $(grep -c '^c[0-9]* taken for c[0-9]*: 1$' out) == 60 ]] || fail "the list of confusions" out
fi

# A resumed run has one configuration, in front
train c --optimizer adam --val-fraction 0.25 --max-steps 10
[[ $(grep -c '"kind": "run"' c/metrics.jsonl) == 1 ]] || fail "two configurations" c/metrics.jsonl
head -n 1 c/metrics.jsonl | grep -q '"kind": "run"' || fail "the first line" c/metrics.jsonl

# What was changed on the way; a change that is undone with its steps is none
! grep -q '"kind": "change"' c/metrics.jsonl || fail "a change of nothing" c/metrics.jsonl
train c --lr 0.02 --max-steps 12
grep -q '"kind": "change", "epoch": 1, "step": 10, "from": {"lr": "0.001"}, "to": {"lr": "0.02"}}$' c/metrics.jsonl ||
    fail "a change of --lr" c/metrics.jsonl
train c --max-steps 14
[[ $(grep -c '"kind": "change"' c/metrics.jsonl) == 1 ]] || fail "expected one change" c/metrics.jsonl
rm c/checkpoint-0000001[24].h5
train c --max-steps 11
[[ $(grep '"kind": "change"' c/metrics.jsonl | tail -n 1) == *'"step": 10, "from": {"lr": "0.02"}, "to": {"lr": "0.001"}}' ]] ||
    fail "an older checkpoint's --lr" c/metrics.jsonl
train c --lr 0.03 --max-steps 12
rm c/checkpoint-0000001[12].h5
train c --max-steps 11
[[ $(grep -c '"kind": "change"' c/metrics.jsonl) == 2 ]] || fail "a change that was undone" c/metrics.jsonl
works report c --out c.html
if command -v node >/dev/null; then
    limited node "$tests/oracles/report_tables.js" c.html >out 2>&1 || fail "the page's script" out
    grep -qF "lr|0.001 to step 10, 0.02 to step 10, 0.001" out || fail "a change in the page" out
fi

# A page has at most some thousands of intervals of a run, however long it was: neighbours are merged, never
# over the end of an epoch; a last line that is torn is left out
"$python" - <<'END'
import json, os
os.makedirs("long")
with open("long/metrics.jsonl", "w") as lines:
    lines.write(json.dumps({"kind": "run", "config": {"model": "m"}}) + "\n")
    for i in range(1, 9001):
        lines.write(json.dumps({"kind": "interval", "epoch": 1 + (i - 1) // 3000, "step": 2 * i, "loss": i % 2 * 2.0,
                                "seconds": 10.0, "data_wait": 1.0, "lr": 0.1 / i, "late_rank": None}) + "\n")
        if i % 3000 == 0:
            lines.write(json.dumps({"kind": "epoch", "epoch": i // 3000, "step": 2 * i}) + "\n")
    lines.write('{"kind": "inter')
END
works report long --out long.html
"$python" - long.html >out 2>&1 <<'END' || fail "a long run" out
import json, re, sys
[run] = json.loads(re.search(r"\nconst report = (.*);\n", open(sys.argv[1]).read())[1])["runs"]
intervals = [r for r in run["records"] if r["kind"] == "interval"]
assert len(run["records"]) == len(intervals) + 4 and 1000 < len(intervals) < 2000, len(intervals)
assert sum(r["seconds"] for r in intervals) == 90000 and sum(r["data_wait"] for r in intervals) == 9000
assert intervals[0] == {"kind": "interval", "epoch": 1, "step": 10, "loss": 1.2, "seconds": 50, "data_wait": 5,
                        "lr": 0.02, "late_rank": None}, intervals[0]
assert [r["step"] for r in run["records"] if r["kind"] == "epoch"] == [6000, 12000, 18000]
assert all(a["step"] <= b["step"] for a, b in zip(run["records"][1:], run["records"][2:]))
END

refused "report: found no run" report
refused "nowhere: found no such folder, expected the folder of a run" report nowhere
mkdir empty
refused "empty: found no metrics.jsonl there, expected the folder of a run" report empty
works report empty c --out page.html
grep -q "^warning: empty: found no metrics.jsonl there, .*; left out" err || fail "a folder that is no run" err
refused "report: found no run in any" report empty empty
cp c/metrics.jsonl kept
refused "c/metrics.jsonl: found a file that is no page of 'dn_dist report', which is not replaced; name another" report c --out c/metrics.jsonl
printf '<!DOCTYPE html>\n<html lang="en">\n<head>\n<title>Mine' >mine.html
refused "mine.html: found a file that is no page of 'dn_dist report'" report c --out mine.html
cmp -s c/metrics.jsonl kept || fail "report: a file was replaced"
printf '{"kind": "interval"}\n7\n' >c/metrics.jsonl
refused "c/metrics.jsonl:2: found no JSON object" report c
works report "a<b" c --out page.html
grep -q "^warning: c/metrics.jsonl:2: found no JSON object.*; left out" err || fail "a damaged run" err
cp -r "a<b" $'b\xe9'
cp -r "a<b" d && echo '{' >d/evaluation.json
accepted "page.html: runs: 1" report "a<b" d $'b\xe9' --out page.html
[[ $(grep -ac '; left out$' out) == 2 ]] ||
    fail "a damaged evaluation, a name that is no UTF-8" out
printf '{"kind": "interval"}\n[]\n' >c/metrics.jsonl
refused "c/metrics.jsonl:2: found no JSON object: another value" report c
echo '[]' >"a<b/evaluation.json"
refused "a<b/evaluation.json: found no JSON object: another value" report "a<b"
finish
