#!/usr/bin/env bash
# dn_dist report: one page of two runs, with the configurations, curves, confusion matrix and worst
# samples that the runs' folders have; and what is refused.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
find_python PIL || skip "found no python3 with PIL (Debian: python3-pil)"
records
program=dn_dist
dn_dist=$build/$program
cd "$tmp"

train() { # FOLDER OPTION...
    limited "$dn_dist" train --data "$data" --model fashion-mnist-tiny --batch-size 32 --max-steps 8 \
        --epochs 2 --threads 1 --out "$@" >out 2>&1 || fail "train $*" out
}
train "a<b" --eval-every 0
train c --optimizer adam
limited "$dn_dist" eval "a<b" >out 2>&1 || fail "eval a<b" out
limited "$dn_dist" report "a<b" c --out page.html >out 2>&1 || fail "report" out
grep -q "page.html: runs: 2" out || fail "report's line" out
grep -q "c: 'dn_dist eval c' adds" out || fail "a run that was not evaluated" out

"$python" - page.html >out 2>&1 <<'END' || fail "the page" out
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
ends = [r for r in two["records"] if r["kind"] in ("interval", "epoch")]
assert all(0 <= r[k] <= r["seconds"] for r in ends for k in ("data_wait", "sum_wait")) and ends
e = one["evaluation"]
assert sum(map(sum, e["confusion"])) == 10000 and len(e["class_names"]) == 10
assert abs(sum(e["confusion"][c][c] for c in range(10)) / 100 - e["top1"]) < 1e-6
losses = [s["loss"] for s in e["worst"]]
assert len(losses) == 24 and losses == sorted(losses, reverse=True)
for s in e["worst"]:
    picture = Image.open(io.BytesIO(base64.b64decode(s["png"])))
    assert picture.size == (28, 28) and picture.mode == "L" and max(picture.getdata()) > 50, s
    assert s["label"] != s["predicted"]
END

# A run that goes on has one configuration, in front
train c --optimizer adam --max-steps 10
[[ $(grep -c '"kind": "run"' c/metrics.jsonl) == 1 ]] || fail "two configurations" c/metrics.jsonl
head -n 1 c/metrics.jsonl | grep -q '"kind": "run"' || fail "the first line" c/metrics.jsonl

refused "report: found no run" report
refused "nowhere/metrics.jsonl: cannot read" report nowhere
mkdir empty
limited "$dn_dist" report empty c --out page.html >out 2>&1 || fail "report of a folder that is no run" out
grep -q "warning: empty/metrics.jsonl: .*; left out" out || fail "a folder that is no run" out
refused "report: found no run in any" report empty empty
printf '{"kind": "interval"}\n7\n' >c/metrics.jsonl
refused "c/metrics.jsonl:2: found no JSON object" report c
finish
