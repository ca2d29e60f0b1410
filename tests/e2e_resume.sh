#!/usr/bin/env bash
# A run that was stopped, or killed at a random moment, and went on with other ranks and threads
# ends with the hash of the run that was left alone.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
records
steps=400

# killed RANKS OUT SECONDS: trains, and kills every rank with SIGKILL so many seconds after the run
# began to write into its folder.
killed() {
    local ranks=$1 out=$2 seconds=$3 launcher
    mpirun --oversubscribe --bind-to none -np "$ranks" "$build/dn_dist" train \
        --model fashion-mnist-tiny --data "$data" --out "$out" --batch-size 4 --virtual-ranks 8 \
        --eval-every 0 --threads 1 --max-steps $steps --checkpoint-every 25 >>"$out.log" 2>&1 &
    launcher=$!
    until [[ -e $out/metrics.jsonl ]] || ! kill -0 $launcher; do sleep 0.01; done
    sleep "$seconds"
    cat /proc/$launcher/task/*/children 2>/dev/null | xargs -r kill -KILL 2>/dev/null ||
        echo "the run had ended already"
    for ((i = 0; i < 300; i++)); do
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
train 5 "$tmp/stopped" --threads 2 --max-steps $steps || fail "going on" "$tmp/stopped.log"
compare "stopped after 17 steps on 3 ranks, then 5 ranks" "$tmp/stopped"

# goes_on NAME OPTION...: stopped after 17 steps on 3 ranks, then 8 ranks, against 2 left alone.
goes_on() {
    local name=$1
    shift
    train 2 "$tmp/$name" "$@" --threads 1 --max-steps 40 || fail "$*" "$tmp/$name.log"
    train 3 "$tmp/$name-on" "$@" --threads 2 --max-steps 17 || fail "$*" "$tmp/$name-on.log"
    train 8 "$tmp/$name-on" --threads 1 --max-steps 40 || fail "$*, going on" "$tmp/$name-on.log"
    [[ $(last_hash "$tmp/$name-on") == "$(last_hash "$tmp/$name")" ]] ||
        fail "$*, stopped after 17 steps on 3 ranks, then 8 ranks" "$tmp/$name"{,-on}.log
}
goes_on sync --sync-bn
goes_on adamw --optimizer adamw
goes_on rmsprop --optimizer rmsprop --schedule one-cycle --clip-norm 1
goes_on lars --optimizer lars --no-decay norm,bias
goes_on lamb --optimizer lamb --schedule polynomial

for next in 1 3 8; do
    out=$tmp/killed-$next
    moment=$((RANDOM * milliseconds / 32768))
    printf -v seconds '%d.%03d' $((moment / 1000)) $((moment % 1000))
    killed 2 "$out" $seconds
    from=$(last_step "$out") || from=0
    train $next "$out" --threads 1 --max-steps $steps || fail "going on on $next ranks" "$out.log"
    compare "killed on 2 ranks after $seconds s (step $from), then $next ranks" "$out"
done
finish
