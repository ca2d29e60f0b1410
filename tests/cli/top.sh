#!/usr/bin/env bash
# dn_dist top: the state of runs that train, end, stop, are killed or lose a rank; curves against
# known values; a terminal that is followed, resized and left.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
program=dn_dist
dn_dist=$build/$program
cd "$tmp"
mkdir run

# says TEXT...: what the summary of the run shows.
says() {
    LC_ALL=C works top --once run
    local text
    for text in "$@"; do
        grep -qF -- "$text" out || fail "expected '$text'" out
    done
}
# record KIND EPOCH STEP MEMBERS: a line of metrics.jsonl.
record() {
    echo "{\"kind\": \"$1\", \"epoch\": $2, \"step\": $3, $4}"
}
interval() { # EPOCH STEP LOSS
    record interval "$1" "$2" "\"loss\": $3, \"top1\": 50, \"images_per_s\": 400, \"lr\": 0.05,
        \"seconds\": 10, \"data_wait\": 0.5, \"sum_wait\": 2, \"late_rank\": 1, \"late_wait\": 1.5" |
        tr -d '\n' && echo
}
run_line='{"kind": "run", "epochs": 4, "steps_per_epoch": 100, "last_step": 400, "images": 8,
    "ranks": 2, "config": {"model": "fashion-mnist-tiny"}}'
start() { echo "$run_line" | tr -d '\n' >run/metrics.jsonl && echo >>run/metrics.jsonl; }

# A straight line falls from the first column's top to the last one's bottom, without a gap
start
for step in {1..70}; do interval 1 "$step" $((71 - step)).0 >>run/metrics.jsonl; done
says "run fashion-mnist-tiny  2 ranks" "epoch 1/4 [#####.........................] 17% step 70/400 400 images/s 0:07 left" \
    "learning rate 0.05  waiting for images 5%  for the sum over ranks 20%" \
    "latest rank: 1, another waited for it 15% of the time" "loss: train 1.0000" "accuracy: train 50.00%"
grep -A 8 "^loss" out | tail -n 8 | cut -c 11- >curve
awk '{ for (i = 1; i <= 70; i++) if (substr($0, i, 1) != " ") { if (!(i in row) || row[i] == NR - 1) row[i] = NR } }
    END { for (i = 1; i <= 70; i++) if (!(i in row) || row[i] < row[i - 1]) exit 1
          exit row[1] != 1 || row[70] != 8 }' curve || fail "a straight line" curve
grep -q "^      70 |" out && grep -q "^       1 |" out || fail "the edges of a curve" out
LC_ALL=C.UTF-8 works top --once run
printed "⣀" "Braille patterns in UTF-8"
LC_ALL=C works top run
! LC_ALL=C grep -q '[^ -~]' out || fail "ASCII: other characters" out

# A run that was restarted from an earlier step: the later records of the same steps are used, and
# the later length.
record epoch 1 100 '"train_loss": 3, "test_loss": 2.5, "test_top1": 40' >>run/metrics.jsonl
record epoch 2 200 '"train_loss": 2, "test_loss": 1.5, "test_top1": 60' >>run/metrics.jsonl
says "o test 1.5000  best 1.5000 in epoch 2" "step 200/400"
[[ $(grep " |" out | grep -o o | wc -l) == 4 ]] || fail "expected two marks a curve" out
{
    echo "$run_line" | tr -d '\n' | sed 's/400/300/' && echo
    record epoch 1 100 '"train_loss": 3, "test_loss": 2.25, "test_top1": 41'
} >>run/metrics.jsonl
says "step 100/300" "o test 2.2500  best 2.2500 in epoch 1" "o test 41.00%"

# What judges it: averaged weights, on validation images
judged_by() { echo "$run_line" | tr -d '\n' | sed "s/\"ranks\"/\"judge\": \"$1\", &/" && echo; }
judged_by val >>run/metrics.jsonl
record epoch 2 200 '"test_loss": 1, "val_loss": 1.75' >>run/metrics.jsonl
says "o validation 1.7500  best 1.7500 in epoch 2"
judged_by ema_val >>run/metrics.jsonl
record epoch 3 300 '"test_loss": 1, "ema_test_loss": 1, "val_loss": 1, "ema_val_loss": 1.25' >>run/metrics.jsonl
says "o validation (averaged weights) 1.2500  best 1.2500 in epoch 3"

# Numbers that are none, keys that lack, texts that would move the cursor; a torn end
cat >run/metrics.jsonl <<'END'
{"kind": "run", "config": {"model": "a\u001b[2J\u009bJ"}}
{"kind": "epoch", "epoch": 1, "step": 5, "train_loss": null, "test_loss": "x", "seconds": 0, "sum_wait": 0}
{"kind": "interval", "step": -3}
{"kind": "epoch", "epoch": 9223372036854775807, "step": 9223372036854775807, "test_loss": 1e308}
{"kind": "epoch", "epoch": 7, "step": 9223372036854775807, "test_loss": -1e308}
{"kind": "epo
END
truncate -s -1 run/metrics.jsonl
says "a?[2J??J" "epoch 7" "late ranks: not known"
LC_ALL=C.UTF-8 works top run
! LC_ALL=C grep -qP '[\x00-\x08\x0b-\x1f]|\xc2[\x80-\x9f]' out || fail "a control character" out
# Without the first line: what is left
interval 1 10 1.0 >run/metrics.jsonl
says "run  (metrics.jsonl lacks its first line: model and length are not known)" running "epoch 1 step 10 400"
record end 1 20 '"reason": "the last step"' >>run/metrics.jsonl
says finished "epoch 1 step 20"
mkdir empty
refused "top: found 0 words, expected the folder of one run" top
refused "top: found 2 words" top run empty
refused "nowhere: found no such folder, expected the folder of a run" top nowhere
refused "empty: found no metrics.jsonl there, expected the folder of a run" top empty
refused "expected the folder of a run; runs there: ./run" top .
printf '{"kind": "run"}\n7\n{"kind": "interval"}\n' >run/metrics.jsonl
refused "run/metrics.jsonl:2: found no JSON object" top run
for commands in "top --once run" "models" "recipes"; do
    [[ $commands != top* ]] || start
    OMPI_MCA_pml=none limited "$dn_dist" $commands >out 2>&1 || fail "$commands: wants MPI" out
done
! OMPI_MCA_pml=none limited "$dn_dist" info >out 2>&1 || fail "MPI starts all the same"

# How it stands
start
says starting "late ranks: not known yet"
record epoch 2 200 '"seconds": 7200, "images_per_s": 400' >>run/metrics.jsonl
touch -d "-2 hours" run/metrics.jsonl
says running
interval 3 250 1.0 >>run/metrics.jsonl
says running
touch -d "-3 minutes" run/metrics.jsonl
says "no sign of life for "
printed " for [3-9]:" "a run of 3 minutes ago"
echo "$(uname -n) $$" >run/lock
touch -d "-3 minutes" run/lock
says "running, but nothing new for "
printed " for [3-9]:" "a process at work without a line for 3 minutes"
echo "$(uname -n) 4194305" >run/lock # more than Linux numbers processes
says "killed or failed: its process has ended"
echo '{"rank": 1, "host": "h2", "step": 15, "operation": "update", "reason": "gone"}' >run/lost.json
says "rank 1 on host h2 was lost in step 15, last heard of during update: gone"
rm run/lost.json
record end 3 250 '"reason": "a request (SIGUSR1)"' >>run/metrics.jsonl
says "stopped on a request (SIGUSR1); the same command resumes" "step 250/400" "0:03 left"
record end 3 250 '"reason": "failed", "error": "step 251: gone"' >>run/metrics.jsonl
says "failed: step 251: gone"
record end 3 250 '"reason": "early stop"' >>run/metrics.jsonl
says "finished: early stop"
record end 4 400 '"reason": "the last step"' >>run/metrics.jsonl
says finished "100% step 400/400"
! grep -q left out || fail "time left of a finished run" out

# Real runs
records
options=(--data "$data" --model fashion-mnist-tiny --batch-size 16 --threads 1 --eval-every 0)
on_ranks 2 "$dn_dist" train "${options[@]}" --max-steps 6 --out run >out 2>&1 || fail "train" out
says finished "2 ranks" "epoch 1/300" "100% step 6/6" "latest rank: "
works train "${options[@]}" --out run --max-steps 8
says finished "1 rank" "100% step 8/8" "one rank, none is late"
rm -r run
"$dn_dist" train "${options[@]}" --out run >train 2>&1 &
await $! test -s run/metrics.jsonl
says "/300"
grep -q "^running\|^starting" out || fail "a run at work" out
kill -TERM $!
wait $! || [[ $? == 75 ]] || fail "a stopped run" train
says "stopped on a request (SIGTERM)"
"$dn_dist" train "${options[@]}" --out run >train 2>&1 &
await $! grep -q "resumed from" train
kill -KILL $!
wait $! 2>/dev/null || true
rm run/checkpoint-*.h5 && sed -i '/"end"/d' run/metrics.jsonl
says "killed or failed"
rm -r run

# A terminal
mkdir run
start
interval 1 10 1.0 >>run/metrics.jsonl
limited python3 "$tests/support/terminal.py" "$dn_dist" >out 2>&1 || fail "a terminal" out
finish
