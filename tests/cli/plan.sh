#!/usr/bin/env bash
# dn_dist bench, and plan of its profiles.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
begin_dn_dist

# --- bench --------------------------------------------------------------------------------------

bench=(bench --model fashion-mnist-tiny --batch-size 4 --steps 1 --warmup 0 --threads 1 --roofline)
works "${bench[@]}"
for line in "1 ranks x 1 threads, .* kernels" "^0 .* 1 " "roofs of a rank's 1 threads" \
    "^conv3x3 .*backward" "^layers that lose most"; do
    grep -qE "$line" out || fail "bench --roofline: expected '$line', found" out
done
on_ranks 2 "$build/dn_dist" "${bench[@]}" --json >out 2>err ||
    fail "bench --roofline --json" err
python3 -c 'import json, sys
roofline = json.load(open(sys.argv[1]))["roofline"]
assert roofline["peak_gflops"] > 0 and roofline["read_gb_per_s"] > 0
layers = [x["s"] - x["bound_s"] for x in roofline["layers"]]
assert layers == sorted(layers, reverse=True) and len(layers) > 8
for key in "s", "flops", "bytes":
    parts = [sum(x[key] for x in roofline[of]) for of in ("phases", "layers")]
    assert abs(parts[0] - parts[1]) <= 1e-4 * parts[0] and parts[0] > 0, (key, parts)
' out 2>err || fail "bench --roofline --json: found" out err

# --- plans --------------------------------------------------------------------------------------

tiny=(--model fashion-mnist-tiny --size 28 --channels 1 --batch-size 4 --threads 1 --steps 2)
refused "none/a.json: cannot write: no folder" bench "${tiny[@]}" --profile none/a.json
cmp -s out err || fail "a profile in no folder: expected that nothing is measured" out
refused "--batch-size 65536: *found" bench "${tiny[@]}" --batch-size 65536 --model densenet264 --size 1024 --profile profile.json
[[ ! -e profile.json ]] || fail "a bench that fails leaves a profile" profile.json
echo '{"a": 1}' >other.json
refused "other.json: found a file that is no profile" bench "${tiny[@]}" --profile other.json
refused "other.json: found a file that is no timeline" bench "${tiny[@]}" --timeline other.json
refused "--profile: cannot read none" plan --profile none
on_ranks 2 "$build/dn_dist" bench "${tiny[@]}" --profile profile.json >out 2>err ||
    fail "bench --profile" err
works plan --profile profile.json --nodes 6 --latency 100000
rows=$(awk '$1 + 0 > 0 && $2 == 2 * $1 { print $1 }' out | xargs)
[[ $rows == "1 2 4 6" ]] || fail "plan: expected rows of 1 2 4 6 nodes of 2 ranks" out
grep -q "latency of the network" out || fail "plan: expected what limits" out
# On one node its own network decides, and the one between nodes does not
one_node() { # OPTION...: `row` = ranks, and 1 if a step takes more than a second
    works plan --profile profile.json --nodes 1 --json "$@"
    row=$(python3 -c 'import json; [row] = json.load(open("out"))["plan"]; print(row["ranks"], int(row["step_s"] > 1))')
}
one_node --ranks-per-node 4
[[ $row == "4 0" ]] || fail "plan --ranks-per-node 4: found ranks and a slow step $row, expected 4 0" out
one_node --node-bandwidth 1e-5
[[ $row == "2 1" ]] || fail "plan --node-bandwidth: found ranks and a slow step $row, expected 2 1" out
one_node --bandwidth 1e-5
[[ $row == "2 0" ]] || fail "plan --bandwidth on one node: found ranks and a slow step $row, expected 2 0" out
accepted " MiB, sent as bf16" plan --profile profile.json --nodes 2 --wire bf16
works plan --profile profile.json --nodes 2 --json --wire bf16
mv out bf16
works plan --profile profile.json --nodes 2 --json
python3 -c 'import json, sys
bf16, fp32 = (json.load(open(name))["plan"][1]["median_message_bytes"] for name in sys.argv[1:])
assert bf16 == fp32 / 2 > 0, (bf16, fp32)' bf16 out 2>err || fail "plan --wire bf16: the bytes of messages" err
works plan "${tiny[@]}" --nodes 2 --json
for key in step_s communication_s hidden_s exposed_s images_per_s efficiency; do
    grep -qE "\"$key\": *[0-9]" out || fail "plan --json: expected the key $key" out
done
# An epoch's steps, of the whole batches in --data's training images, and the evaluation behind it
works plan --profile profile.json --data "$data" --nodes 2 --virtual-ranks 7 --epochs 3 --json
mv out json
python3 - profile.json json >out 2>&1 <<'END' ||
import json, math, sys
profile, plan = (json.load(open(name)) for name in sys.argv[1:])
assert (plan["data_set"], plan["train_images"], plan["judging_images"]) == ("FASHION_MNIST", 60000, 10000)
assert [row["ranks"] for row in plan["plan"]] == [2, 4]
for row in plan["plan"]:
    evaluation = math.ceil(10000 / 4 / row["ranks"]) * profile["forward_seconds"]
    epoch = 60000 // (4 * 7) * row["step_s"] + evaluation
    assert math.isclose(row["epoch_s"], epoch, rel_tol=1e-4), (row, epoch)
    assert math.isclose(row["run_s"], 3 * epoch, rel_tol=1e-4), (row, epoch)
END
    fail "plan --data: the times of an epoch and a run" out json
for split in train test val; do
    mkdir -p pictures/$split/{a,b}
    base64 -d >pictures/$split/a/0.png <<<iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAAAAADRSSBWAAAAC0lEQVR4nGNg+A8AAQIBAEK+vGgAAAAASUVORK5CYII=
    cp pictures/$split/a/0.png pictures/$split/b
done
for i in 1 2 3; do cp pictures/test/a/0.png pictures/test/a/$i.png; done
program=create_records works FOLDER --source pictures --out split
works plan --profile profile.json --data split --nodes 1
grep -q "an epoch has 2 images, and is followed by an evaluation on 2;" out || fail "plan of a val split" out
works plan --profile profile.json --nodes 1
grep -q "^MNIST by the images' size .* an epoch has 60000 images, .* a run has 300 epochs" out &&
    grep -qE "%( +[0-9]+(:[0-9]{2})+){2} " out || fail "plan: the times of an epoch and a run" out
works plan --profile profile.json --nodes 1 --virtual-ranks 65536
grep -qE "% +none +none" out || fail "a batch of more than an epoch has times" out
refused "none/dataset.json: cannot read" plan --profile profile.json --data none
for option in "--model densenet121" "--optimizer lamb" "--steps 3" "--isa avx2" "--channels 1"; do
    # shellcheck disable=SC2086
    refused "${option%% *}: found it beside --profile, expected one of them" plan --profile profile.json $option
done
refused "--nodes: found '0', expected a whole number from 1 to 4096$" plan --profile profile.json --nodes 0
refused "--bandwidth: found '0', expected a number from 1e-06 to" plan --profile profile.json --bandwidth 0
refused "--nodes 4096 of 2 ranks: found 8192 ranks, expected at most 4096$" plan --profile profile.json --nodes 4096
refused "--virtual-ranks 8: found 16 ranks, expected at most one a virtual rank$" \
    plan --profile profile.json --nodes 8 --virtual-ranks 8
finish
