#!/usr/bin/env bash
# A run that was stopped, or killed at a random moment, and resumed with other numbers of ranks and
# threads ends with the hash of an undisturbed run. And its folder: metrics read as one run, two
# runs exclude each other, and nothing is overwritten that cannot be made again.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
records
steps=400

# killed RANKS OUT SECONDS: trains, and kills every rank by SIGKILL SECONDS after the run began to
# write into its folder.
killed() {
    local ranks=$1 out=$2 seconds=$3 launcher
    mpirun --oversubscribe --bind-to none -np "$ranks" "$build/dn_dist" train \
        --model fashion-mnist-tiny --data "$data" --out "$out" --batch-size 4 --virtual-ranks 8 \
        --eval-every 0 --threads 1 --max-steps $steps --checkpoint-every 25 >>"$out.log" 2>&1 &
    launcher=$!
    await $launcher test -e "$out/metrics.jsonl"
    sleep "$seconds"
    cat /proc/$launcher/task/*/children 2>/dev/null | xargs -r kill -KILL 2>/dev/null ||
        echo "the run had ended already"
    for ((i = 0; i < 3000; i++)); do
        kill -0 $launcher 2>/dev/null || break
        sleep 0.1
    done
    if kill -KILL $launcher 2>/dev/null; then
        fail "mpirun hangs when its ranks are dead" "$out.log"
    fi
    wait $launcher || true
}

# compare WHAT OUT: OUT's hash is the expected one.
compare() {
    local hash
    hash=$(last_hash "$2") || hash=none
    echo "$1: $hash"
    [[ $hash == "$expected" ]] || fail "$1: expected $expected, found $hash" "$2.log"
}

train 2 "$tmp/whole" --threads 1 --max-steps $steps --checkpoint-every 25 ||
    fail "the run left alone" "$tmp/whole.log"
expected=$(last_hash "$tmp/whole") || expected=missing
[[ $(tail -n 1 "$tmp/whole/metrics.jsonl") =~ \"seconds\":\ *([0-9]+)\.([0-9]{3}) ]] ||
    fail "expected the run's seconds in the last line of metrics.jsonl" "$tmp/whole/metrics.jsonl"
milliseconds=$((10#${BASH_REMATCH[1]}${BASH_REMATCH[2]}))
echo "left alone: $expected"

train 3 "$tmp/stopped" --threads 1 --max-steps 17 || fail "the run to stop" "$tmp/stopped.log"
[[ $(last_step "$tmp/stopped") == 17 ]] ||
    fail "expected a checkpoint of step 17, found $(last_step "$tmp/stopped")" "$tmp/stopped.log"
train 5 "$tmp/stopped" --threads 2 --max-steps $steps || fail "resuming" "$tmp/stopped.log"
compare "stopped after 17 steps on 3 ranks, then 5 ranks" "$tmp/stopped"

# resumes NAME OPTION...: stopped after 17 steps on 3 ranks, then resumed on 8, against an
# undisturbed run on 2.
resumes() {
    local name=$1
    shift
    train 2 "$tmp/$name" "$@" --threads 1 --max-steps 40 || fail "$*" "$tmp/$name.log"
    train 3 "$tmp/$name-on" "$@" --threads 2 --max-steps 17 || fail "$*" "$tmp/$name-on.log"
    train 8 "$tmp/$name-on" --threads 1 --max-steps 40 || fail "$*, resuming" "$tmp/$name-on.log"
    [[ $(last_hash "$tmp/$name-on") == "$(last_hash "$tmp/$name")" ]] ||
        fail "$*, stopped after 17 steps on 3 ranks, then 8 ranks" "$tmp/$name"{,-on}.log
}
resumes sync --sync-bn --mixup 1
resumes adamw --optimizer adamw
resumes rmsprop --optimizer rmsprop --schedule one-cycle --clip-norm 1
resumes lars --optimizer lars --no-decay norm,bias
resumes lamb --optimizer lamb --schedule polynomial
resumes regularised --mixup 1 --cutmix 1 --class-weights balanced --label-smoothing 0.1 \
    --dropout 0.1 --channel-dropout 0.1 --head-dropout 0.2 --transition-dropout 0.1

for next in 1 3 8; do
    out=$tmp/killed-$next
    for try in {1..20}; do # until it is killed between its first checkpoint and its last
        rm -rf "$out"
        moment=$((RANDOM * milliseconds / 32768))
        printf -v seconds '%d.%03d' $((moment / 1000)) $((moment % 1000))
        killed 2 "$out" $seconds
        from=$(last_step "$out") && ((from < steps)) && break
        ((try < 20)) || fail "expected a run that is killed between two checkpoints" "$out.log"
    done
    train $next "$out" --threads 1 --max-steps $steps || fail "resuming on $next ranks" "$out.log"
    compare "killed on 2 ranks after $seconds s (step $from), then $next ranks" "$out"
done

# ---- the run's folder ----

# train_refused PATTERN RANKS OUT OPTION...: the run ends with status 1 and one line with the pattern.
train_refused() {
    local status=0 lines
    : >"$3.log"
    train "${@:2}" || status=$?
    lines=$(grep -acE "^dn_dist: .*$1" "$3.log") || true
    [[ $status == 1 && $lines == 1 ]] ||
        fail "train ${*:2}: expected status 1 and one line '$1', found status $status" "$3.log"
}

# reads_as_one OUT STEP...: its lines' steps only grow, and its "end" lines are of these steps.
reads_as_one() {
    local out=$1 steps
    shift
    steps=$(grep -oE '"step": [0-9]+' "$out/metrics.jsonl" | tr -dc '0-9\n')
    sort -n -c <<<"$steps" && [[ ${steps##*$'\n'} == "${*: -1}" ]] &&
        [[ $(grep '"end"' "$out/metrics.jsonl" | grep -oE '"step": [0-9]+' | tr -dc '0-9\n' | xargs) == "$*" ]]
}

out=$tmp/stopped
cp "$out/metrics.jsonl" "$tmp/complete.jsonl"
train 2 "$out" --max-steps $steps || fail "a complete run, again" "$out.log"
grep -q "nothing was trained: the run is complete, $out/checkpoint-00000$steps.h5 .*, weights $(last_hash "$out") (" "$out.log" ||
    fail "expected word of a complete run" "$out.log"
cmp "$out/metrics.jsonl" "$tmp/complete.jsonl" || fail "a complete run, again: other metrics"
# Killed after the last checkpoint, while it recorded the end: the same command completes the record.
truncate -s -40 "$out/metrics.jsonl"
train 1 "$out" --max-steps $steps && grep -q "the run is complete" "$out.log" || fail "an end that is torn" "$out.log"
reads_as_one "$out" 17 $steps && "$build/dn_dist" top --once "$out" | grep -qx finished &&
    cmp <(head -n -1 "$out/metrics.jsonl") <(head -n -1 "$tmp/complete.jsonl") ||
    fail "an end that is torn: expected the lines of the complete run" "$out/metrics.jsonl"
train_refused "h5: found step $steps, expected at most .* 17 by" 2 "$out" --max-steps 17
reads_as_one "$out" 17 $steps ||
    fail "expected lines of steps 17 and $steps" "$out/metrics.jsonl"
rm "$out/checkpoint-00000$steps.h5"
train 2 "$out" --max-steps 20 || fail "going back" "$out.log"
reads_as_one "$out" 17 20 ||
    fail "going back: expected lines of steps 17 and 20" "$out/metrics.jsonl"

truncate -s -1 "$out"/checkpoint-*.h5
train_refused "$out: found 2 checkpoints, none readable: .*--resume none " 2 "$out"
for run in 1 2; do
    train 2 "$out" --max-steps 17 --resume none || fail "--resume none" "$out.log"
    [[ $(reads_as_one "$out" 17 && echo one) == one && -s $out/old-$run/metrics.jsonl &&
        -e $out/old-$run/checkpoint-00000017.h5 ]] ||
        fail "expected the earlier run in old-$run, found $(find "$out" | sort | xargs)" "$out.log"
done

out=$tmp/busy
train 2 "$out" --threads 1 --max-steps 1000000 &
job=$!
await $job test -e "$out/metrics.jsonl"
mkdir "$tmp/link"
ln -s "$out" "$tmp/link/busy"
for resume in auto none; do
    train_refused "found process [0-9]+ on host [^ ]+ at work in it" \
        2 "$tmp/link/busy" --max-steps 20 --resume $resume
done
read -r _ process _ <"$out/lock"
kill -KILL "$process" || fail "the first run has ended" "$out.log"
wait $job || true
from=$(last_step "$out") || from=0 # a fast machine has ended an epoch meanwhile
train 2 "$out" --max-steps $((from + 20)) || fail "a run after one that was killed" "$out.log"

# ---- a folder that goes away under its run ----

# begin NAME: sets `out` and `job` to those of a run that has saved. It saves seldom, as a folder that
# goes away between its check and the write is not noticed.
begin() {
    out=$tmp/$1
    train 2 "$out" --threads 1 --max-steps 1000000 --checkpoint-every 300 &
    job=$!
    await $job compgen -G "$out/checkpoint-*.h5"
}
# ends STATUS WHAT: the job must end with STATUS.
ends() {
    local status=0
    wait $job || status=$?
    [[ $status == "$1" ]] || fail "$2: expected status $1, found $status" "$out.log"
}
# kept_all WHAT LINE: the folder has all of the job's metrics, and its log says so once.
kept_all() {
    local begun
    begun=$(grep -c '"kind": "run"' "$out/metrics.jsonl") || begun=0
    [[ $begun == 1 && $(tail -n 1 "$out/metrics.jsonl") == *'"end"'* ]] ||
        fail "$1: expected all of its metrics" "$out/metrics.jsonl" "$out.log"
    [[ $(grep -c "$2" "$out.log") == 1 ]] || fail "$1: expected a line that says so" "$out.log"
}
ln -s "$tmp/deleted" "$tmp/link/deleted"
begin deleted
mv "$out" "$out-away" && rm -r "$out-away"
await $job compgen -G "$out/checkpoint-*.h5"
train_refused "at work in it" 2 "$tmp/link/deleted" --max-steps 20
read -r _ process _ <"$out/lock"
kill -USR1 "$process"
ends 75 "a run whose folder was deleted"
kept_all "a run whose folder was deleted" "deleted or moved away; the run recreates it"
train 2 "$out" --max-steps $(($(last_step "$out") + 20)) || fail "resuming in a new folder" "$out.log"

begin moved
read -r _ process _ <"$out/lock"
kill -STOP "$process" # or it may be first to make the folder again
mv "$out" "$out-away" && mkdir "$out" && echo "another 1" >"$out/lock"
kill -CONT "$process"
ends 1 "a run in whose folder another one began"
[[ $(ls "$out") == lock && $(grep -c "moved: found another run's lock" "$out.log") == 1 ]] ||
    fail "expected nothing but the other run's lock, and a line, found $(ls "$out" | xargs)" "$out.log"

out=$tmp/$'caf\xe9 "\n'
train 2 "$out" --max-steps 5 || fail "a path of any bytes" "$out.log"
python3 -c 'import json, sys; [json.loads(line) for line in open(0, encoding="utf-8")]' \
    <"$out/metrics.jsonl" || fail "expected JSON" "$out/metrics.jsonl"
finish
