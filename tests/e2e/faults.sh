#!/usr/bin/env bash
# Faults and preemption: after a rank is killed, stopped or cut off the job ends in time, with one
# line that names it and status 76 on every survivor; signals and a time limit save and end with 75,
# and the resumed run has the hash of an undisturbed one; an infinite gradient changes nothing. No
# files or processes are left.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
own_network "$@"
records
export TERM=dumb
launcher=(mpirun --oversubscribe --bind-to none -np)
lost=76 again=75
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$tmp"' EXIT

# started RANKS OUT OPTION...: starts an endless run in the background, as $job, and waits for its
# first checkpoint or its end. Its ranks' standard error goes to `errors` if that is set.
started() {
    local ranks=$1 out=$2
    shift 2
    rm -rf "$out.ranks"
    mkdir -p "$out.ranks"
    : >"$out.log"
    timeout --foreground --kill-after=10 600 "${launcher[@]}" "$ranks" "$tests/support/rank.sh" "$out.ranks" \
        "${errors:-$out.log}" "${program:-$build/dn_dist}" train --model fashion-mnist-tiny --data "$data" --out "$out" \
        --batch-size 4 --virtual-ranks 8 --eval-every 0 --threads 1 --checkpoint-every 10 "$@" \
        >>"$out.log" 2>&1 &
    job=$!
    await $job compgen -G "$out/checkpoint-*.h5"
}

# ended RANKS OUT STATUS [VICTIM PATTERN]: waits for the run, and compares every rank's status.
ended() {
    local ranks=$1 out=$2 expected rank found
    for ((i = 0; i < 3000; i++)); do
        (($(find "$out.ranks" -name 'status.*' -size +0 | wc -l) < ranks)) || break
        sleep 0.1
    done
    for ((rank = 0; rank < ranks; rank++)); do
        expected=$3
        [[ ${4:-} != "$rank" ]] || expected=$5
        found=$(cat "$out.ranks/status.$rank" 2>/dev/null) || found=none
        [[ $found == $expected ]] ||
            fail "$out: rank $rank: expected status $expected, found $found" "$out.log"
    done
}

# says OUT PATTERN: the log has exactly one line of dn_dist's with it.
says() {
    local lines
    lines=$(tr '\r' '\n' <"$1.log" | grep -cE "dn_dist: .*$2") || true
    [[ $lines == 1 ]] || fail "$1: expected one line '$2', found $lines" "$1.log"
}

# left_alone STEPS: sets `expected_hash` to that of an undisturbed run.
left_alone() {
    local out=$tmp/alone-$1
    [[ -e $out ]] || train 2 "$out" --threads 1 --max-steps "$1" || fail "the run left alone" "$out.log"
    expected_hash=$(last_hash "$out") || expected_hash=missing
    echo "left alone, $1 steps: $expected_hash"
}

# resumes OUT WHAT: the restarted run ends with the hash of an undisturbed one.
resumes() {
    local hash last
    last=$(last_step "$1") || fail "$2: found no checkpoint" "$1.log"
    left_alone $((last + 20))
    train 3 "$1" --threads 1 --max-steps $((last + 20)) || fail "resuming" "$1.log"
    hash=$(last_hash "$1") || hash=none
    echo "$2: $hash"
    [[ $hash == "$expected_hash" ]] || fail "$2: expected $expected_hash, found $hash" "$1.log"
    [[ ! -e $1/lost.json ]] || fail "$2: lost.json is still there" "$1.log"
}

# at_start OUT: waits until rank 0, as $victim, has caught SIGTERM and is about to start MPI.
at_start() {
    local caught
    for ((i = 0; i < 3000; i++)); do
        victim=$(cat "$1.ranks/pid.0" 2>/dev/null) || victim=none
        caught=$(sed -n 's/^SigCgt:\s*/0x/p' "/proc/$victim/status" 2>/dev/null) || caught=0
        ((caught >> 14 & 1)) && return
        sleep 0.02
    done
    fail "$1: rank 0 does not start" "$1.log"
}

# Open MPI's files of these runs, in folders of their own.
mkdir "$tmp/shm" "$tmp/session"
export OMPI_MCA_btl_vader_backing_directory=$tmp/shm OMPI_MCA_orte_tmpdir_base=$tmp/session

# ---- a rank is lost ----

for victim in 0 1 3; do
    out=$tmp/killed-$victim
    started 4 "$out"
    kill -KILL "$(<"$out.ranks/pid.$victim")"
    ended 4 "$out" $lost $victim 137
    wait $job && fail "$out: mpirun ended with 0" "$out.log"
    says "$out" "rank $victim on host [^ ]+ was lost in step [0-9]+, last heard of during .*ended"
    grep -qE "^\{\"rank\": $victim, \"host\": .*\"step\": [0-9]+, \"operation\": " "$out/lost.json" ||
        fail "$out: expected lost.json" "$out.log"
    resumes "$out" "rank $victim killed"
done

out=$tmp/unheard
errors=/dev/full started 4 "$out"
kill -KILL "$(<"$out.ranks/pid.1")"
ended 4 "$out" $lost 1 137
wait $job || true
grep -q '^{"rank": 1, ' "$out/lost.json" || fail "errors that nobody takes: expected lost.json" "$out.log"

out=$tmp/killed-both
started 4 "$out"
kill -KILL "$(<"$out.ranks/pid.0")" "$(<"$out.ranks/pid.1")"
wait $job && fail "$out: mpirun ended with 0" "$out.log"
says "$out" "rank 0 on host [^ ]+ was lost in step [0-9]+, last heard of during .*ended"

for victim in 0 2; do
    out=$tmp/stopped-$victim
    started 4 "$out" --deadline 3
    kill -STOP "$(<"$out.ranks/pid.$victim")"
    wait $job && fail "$out: mpirun ended with 0" "$out.log"
    kill -KILL "$(<"$out.ranks/pid.$victim")" 2>/dev/null || true
    ended 4 "$out" $lost $victim '[0-9]*' # continued or killed by mpirun
    says "$out" "rank $victim on host .*no sign of life for [0-9]+ s, its host answers"
done
resumes "$out" "rank $victim stopped"

out=$tmp/link
CUT_LINK=sum program=$build/tests/dn_dist_cut_link started 4 "$out" --deadline 2
ended 4 "$out" $lost
wait $job && fail "$out: mpirun ended with 0" "$out.log"
says "$out" "rank 3 on host [^ ]+ was lost .*it waits for rank 1 on host .*the link between them may be cut"
resumes "$out" "the link between ranks 1 and 3 cut"

# Apart from the steps.
for cut in "cores [0-9]+ on .*the start: it waits for the others" "trace 3 on .* it waits for rank 0 on host" \
    "end [0-9]+ on .*the end: it waits for the others"; do
    out=$tmp/link-${cut%% *}
    CUT_LINK=${cut%% *} program=$build/tests/dn_dist_cut_link started 4 "$out" --deadline 4 --max-steps 20 \
        --timeline "$out.trace"
    ended 4 "$out" $lost
    wait $job && fail "$out: mpirun ended with 0" "$out.log"
    says "$out" "rank ${cut#* }.*the link between them may be cut"
done

out=$tmp/link-error
CUT_LINK=error program=$build/tests/dn_dist_cut_link started 4 "$out"
status=0
wait $job || status=$?
((status == lost)) || fail "$out: expected status $lost of mpirun, found $status" "$out.log"
says "$out" "rank 1 on host [^ ]+: MPI_Isend in post_round: "

# Rank 0 or another one is stopped before MPI_Init.
for victim in 0 2; do
    out=$tmp/stopped-early-$victim
    cat >"$tmp/stops" <<EOF
#!/usr/bin/env bash
[[ \$OMPI_COMM_WORLD_RANK != $victim ]] || kill -STOP \$\$
exec "$build/dn_dist" "\$@"
EOF
    chmod +x "$tmp/stops"
    program=$tmp/stops started 4 "$out" --deadline 1
    wait $job && fail "$out: mpirun ended with 0" "$out.log"
    kill -KILL "$(<"$out.ranks/pid.$victim")" 2>/dev/null || true
    ended 4 "$out" '[0-9]*' # the others are killed, or end so as well
    speaker=$((victim == 0))
    [[ $(<"$out.ranks/status.$speaker") == "$lost" ]] || fail "$out: rank $speaker: expected status $lost" "$out.log"
    says "$out" "rank $speaker on host .*not all ranks have started within 5 s"
done

# A start during which rank 0 was suspended for longer than it may take.
out=$tmp/suspended
cat >"$tmp/held" <<EOF
#!/usr/bin/env bash
until ((OMPI_COMM_WORLD_RANK == 0)) || [[ -e $tmp/woken ]]; do sleep 0.02; done
exec "$build/dn_dist" "\$@"
EOF
chmod +x "$tmp/held"
{
    at_start "$out"
    sleep 0.5
    kill -STOP "$victim"
    sleep 10
    : >"$tmp/woken"
    kill -CONT "$victim"
} &
program=$tmp/held started 2 "$out" --deadline 2 --max-steps 20
wait $job || fail "$out: suspended while it started" "$out.log"

# Nothing catches SIGTERM, which mpirun sends when the first rank ends.
for attempt in 1 2; do
    out=$tmp/stopped-bench-$attempt
    mkdir "$out.ranks"
    timeout --foreground --kill-after=10 600 "${launcher[@]}" 4 "$tests/support/rank.sh" "$out.ranks" "$out.log" \
        "$build/dn_dist" bench --model fashion-mnist-tiny --batch-size 4 --threads 1 --steps 1000000 \
        --deadline 2 --timeline "$out.trace" >"$out.out" 2>&1 &
    job=$!
    # The trace is opened once the heartbeat stands.
    await $job test -e "$out.trace.partial"
    kill -STOP "$(<"$out.ranks/pid.0")"
    wait $job && fail "$out: mpirun ended with 0" "$out.log"
    kill -KILL "$(<"$out.ranks/pid.0")" 2>/dev/null || true
    ended 4 "$out" "@($lost|137)" 0 '[0-9]*' # a busy machine: killed by mpirun once another has ended
    grep -qx $lost "$out.ranks"/status.* || fail "$out: expected a rank with status $lost" "$out.log"
    says "$out" "rank 0 on host .*no sign of life for [0-9]+ s, its host answers"
    says "$out" "was lost"
done

# ---- preempted ----

for signal in USR1 USR2 XCPU TERM INT HUP; do
    out=$tmp/signal-$signal
    started 3 "$out"
    kill -$signal "$(<"$out.ranks/pid.1")"
    ended 3 "$out" "@($again|137)" # killed by mpirun once another has ended
    grep -qx $again "$out.ranks"/status.* || fail "$out: expected a rank with status $again" "$out.log"
    wait $job || true
    says "$out" "stopped on a request .SIG$signal. at step [0-9]+; run again to resume"
    stopped=$(sed -nE 's/.* at step ([0-9]+); run again.*/\1/p' "$out.log" | head -n 1)
    [[ $(last_step "$out") == "$stopped" ]] ||
        fail "$out: found a checkpoint of step $(last_step "$out"), expected one of step $stopped" "$out.log"
done
resumes "$tmp/signal-USR1" "a signal"

# A rank that never starts MPI keeps the other in MPI_Init.
out=$tmp/no-start
mkdir "$out.ranks"
timeout --foreground --kill-after=10 600 "${launcher[@]}" 1 "$tests/support/rank.sh" "$out.ranks" "$out.log" \
    "$build/dn_dist" train --model fashion-mnist-tiny --data "$data" --out "$out" : \
    -np 1 sleep 600 >>"$out.log" 2>&1 &
job=$!
at_start "$out"
kill -TERM "$victim"
ended 1 "$out" $again
wait $job || true
says "$out" "rank 0 on host .*stopped on a request while MPI started; run again"
[[ ! -e $out ]] || fail "$out: a folder of a run that did not start" "$out.log"

out=$tmp/limit
for limit in 6 12 24 48; do # until it leaves time for a step
    rm -rf "$out"
    started 3 "$out" --time-limit 0:$limit
    wait $job || true
    grep -q "found too little for a step" "$out.log" || break
done
ended 3 "$out" $again
says "$out" "stopped on the time limit at step [0-9]+; run again to resume"
[[ $(tail -n 1 "$out/metrics.jsonl") =~ \"end\".*\"seconds\":\ *([0-9]+) ]] && ((BASH_REMATCH[1] < limit)) ||
    fail "expected an end before the time limit, $limit s" "$out/metrics.jsonl"
rm -rf "$out"
started 3 "$out" --time-limit 0:01
ended 3 "$out" 1
wait $job || true
says "$out" "--time-limit 0:01: found too little for a step"
SLURM_JOB_END_TIME=$(($(date +%s) + 15)) started 3 "$out"
ended 3 "$out" $again
says "$out" "stopped on the time limit at step [0-9]+; run again to resume"

out=$tmp/first
{
    at_start "$out"
    kill -USR1 "$victim"
} &
SLURM_JOB_END_TIME=1 started 3 "$out"
ended 3 "$out" $again
grep -q "warning: SLURM_JOB_END_TIME: found 1, which is in the past" "$out.log" || fail "a job that is over" "$out.log"
[[ $(last_step "$out") == 0 ]] || fail "a request before the first step: expected step 0" "$out.log"
resumes "$out" "stopped before the first step"

# The launcher is told to stop, and kills its ranks soon; that of Open MPI 5 passes on no more lines.

# on_launcher OUT OPTION...: starts a run on 2 ranks without rank.sh, which their signals would end.
on_launcher() {
    local out=$1
    shift
    "${launcher[@]}" 2 "${program:-$build/dn_dist}" train --data "$data" --out "$out" --eval-every 0 \
        --threads 1 "$@" >"$out.log" 2>&1 &
    job=$!
}

# saved OUT: there is a checkpoint; a process apart may still be writing it.
saved() {
    for ((k = 0; k < 3000; k++)); do
        [[ -z $(find "$1" -name 'checkpoint-*.h5') ]] || return 0
        sleep 0.1
    done
    fail "$1: expected a checkpoint" "$1.log"
}

for i in 0 2 4; do
    out=$tmp/launcher-$i
    on_launcher "$out" --model fashion-mnist-tiny --batch-size 4 --virtual-ranks 8 --max-steps 100000
    await $job test -e "$out/metrics.jsonl"
    sleep "0.$i"
    kill -TERM $job
    wait $job || true
    saved "$out"
    says "$out" "stopped on a request .Ctrl-C, SIGTERM or SIGHUP to mpirun. at step [0-9]+; run again to resume"
    grep -q '^ended after step' "$out.log" || fail "$out: expected 'ended after'" "$out.log"
    [[ ! -e $out/lost.json ]] || fail "$out: found lost.json" "$out.log"
    ! grep -q 'was lost' "$out.log" || fail "$out: found a lost rank" "$out.log"
done

# slow_steps OUT: starts a run whose steps take seconds, the more virtual ranks the more.
slow_steps() {
    on_launcher "$1" --model densenet-bc-100-12 --batch-size 96 --virtual-ranks "$virtual" --max-steps 2
}

out=$tmp/slow
# Makes steps longer until the signal arrives in one that does not end in time.
for virtual in 2 2 4 8 16 32; do
    rm -rf "$out"
    slow_steps "$out"
    await $job test -e "$out/metrics.jsonl"
    sleep 0.2
    kill -TERM $job
    wait $job || true
    saved "$out"
    grep -q '"kind": "end"' "$out/metrics.jsonl" || break
done
slow_steps "$tmp/slow-whole"
wait $job || fail "the slow run left alone" "$tmp/slow-whole.log"
expected=$(last_hash "$tmp/slow-whole") || expected=missing
says "$out" "the running step may be cut off: the state after step [01] is saved in .*h5"
[[ $(find "$out" -name 'checkpoint-*' | wc -l) == 1 ]] || fail "$out: expected one file" "$out.log"
slow_steps "$out"
wait $job || fail "$out: resuming" "$out.log"
grep -q '^resumed from' "$out.log" || fail "$out: expected a resumed run" "$out.log"
hash=$(last_hash "$out") || hash=none
[[ $hash == "$expected" ]] || fail "a slow step: expected $expected, found $hash" "$out.log"

# The child that saves lacks the pages that MPI has registered; then those of the weights, too.
for registered in messages all; do
    out=$tmp/registered-$registered
    program=$build/tests/dn_dist_registered REGISTERED=$registered slow_steps "$out"
    await $job test -e "$out/metrics.jsonl"
    sleep 0.2
    kill -TERM $job
    wait $job || true
done
grep -q "^warning: the state after step [01] is not saved yet, .* crashed (Segmentation fault)" "$out.log" ||
    fail "a child that crashes: expected a warning" "$out.log"
out=$tmp/registered-messages
saved "$out"
says "$out" "the running step may be cut off: the state after step [01] is saved in .*h5"

# ---- nobody reads the output ----

# SIGPIPE may end mpirun itself when it passes on the last lines, and its files stay behind: only what
# the ranks leave counts.
steps=60
left_alone $steps
out=$tmp/unread
OMPI_MCA_orte_tmpdir_base=$tmp on_ranks 2 "$build/dn_dist" train --model fashion-mnist-tiny --data "$data" \
    --out "$out" --batch-size 4 --virtual-ranks 8 --eval-every 0 --threads 1 --max-steps $steps \
    2>"$out.log" | head -n 1 >"$out.first" || true
grep -q "^fashion-mnist-tiny on the data in $data, ranks: " "$out.first" ||
    fail "$out: expected what is trained on what" "$out.first"
[[ $(last_hash "$out") == "$expected_hash" ]] || fail "$out: expected $expected_hash" "$out.log"
rm -rf "$out"
limited "$build/dn_dist" train --model fashion-mnist-tiny --data "$data" --out "$out" --batch-size 4 \
    --virtual-ranks 8 --eval-every 0 --threads 1 --max-steps $steps 2>"$out.log" |
    head -n 1 >"$out.first"
[[ $(last_hash "$out") == "$expected_hash" ]] || fail "$out: expected $expected_hash" "$out.log"
out=$tmp/nohup
timeout --foreground 600 env --ignore-signal=HUP "$build/dn_dist" train --model fashion-mnist-tiny \
    --data "$data" --out "$out" --batch-size 4 --virtual-ranks 8 --eval-every 0 --threads 1 \
    --checkpoint-every 10 >"$out.log" 2>&1 &
job=$!
until from=$(last_step "$out" 2>/dev/null) || ! kill -0 $job 2>/dev/null; do sleep 0.02; done
kill -HUP $job
until (($(last_step "$out") > from + 20)) || ! kill -0 $job 2>/dev/null; do sleep 0.02; done
kill -TERM $job || fail "SIGHUP, ignored: the run ended" "$out.log"
status=0
wait $job || status=$?
[[ $status == "$again" ]] || fail "SIGTERM after SIGHUP: expected status $again, found $status" "$out.log"
says "$out" "stopped on a request .SIGTERM."

# ---- non-finite numbers ----

out=$tmp/diverged
started 2 "$out" --lr 1000
ended 2 "$out" 1
wait $job || true
diverged="the (loss|gradient) of virtual rank [0-7] is .*; nothing was saved; the learning rate was [0-9]+"
says "$out" "step [0-9]+: $diverged: try a smaller --lr, from the start"
[[ $(find "$out" -name 'checkpoint-*') == "" ]] || fail "a state that diverges was saved" "$out.log"
"$build/dn_dist" top --once "$out" >"$out.top" 2>&1 || fail "top of a run that diverged" "$out.top"
grep -qE "^failed: step [0-9]+: $diverged" "$out.top" || fail "top: why it failed" "$out.top"

# The run resumes with a smaller rate from a checkpoint that is left; one of the state whose next step
# diverged, which another rate would not help, is set aside.
out=$tmp/diverged-later
rates=(--threads 1 --warmup-epochs 0)
train 2 "$out" "${rates[@]}" --max-steps 2 || fail "two steps" "$out.log"
! train 2 "$out" "${rates[@]}" --lr 1000 --max-steps 400 || fail "found no divergence" "$out.log"
says "$out" "step [0-9]+: $diverged: try a smaller --lr, from $out/checkpoint-00000002.h5"
train 2 "$out" "${rates[@]}" --lr 0.01 --max-steps 20 || fail "a smaller rate" "$out.log"
[[ $(last_step "$out") == 20 ]] || fail "a smaller rate: expected step 20" "$out.log"
out=$tmp/diverged-saved
! train 2 "$out" "${rates[@]}" --lr 1000 --checkpoint-every 1 || fail "found no divergence" "$out.log"
says "$out" "step [0-9]+: $diverged: try a smaller --lr, from .*/checkpoint-[0-9]+.h5"
grep -q "1 checkpoints among it, is now in $out/old-1" "$out.log" || fail "found none set aside" "$out.log"
[[ ! -e $out/$(basename "$(compgen -G "$out/old-1/checkpoint-*")") ]] || fail "it is still there" "$out.log"

# ---- a checkpoint cannot be written ----

out=$tmp/passing
mkdir -p "$out/checkpoint-00000010.h5.partial" # no file can be written there
started 2 "$out"
kill -USR1 "$(<"$out.ranks/pid.1")" || fail "$out ended early" "$out.log"
ended 2 "$out" $again
wait $job || true
[[ $(grep -c "warning: $out/checkpoint-00000010.h5: cannot write.*try the next checkpoint$" "$out.log") == 1 ]] ||
    fail "$out: expected one warning of the checkpoint of step 10" "$out.log"
says "$out" "stopped on a request .SIGUSR1."
resumes "$out" "a checkpoint that could not be written"

out=$tmp/lasting
mkdir -p "$out/checkpoint-00000010.h5.partial" "$out/checkpoint-00000020.h5.partial"
started 2 "$out"
ended 2 "$out" 1
wait $job || true
says "$out" "$out/checkpoint-00000020.h5: cannot write"
[[ $(grep -c "warning: $out/checkpoint-00000010.h5: cannot write" "$out.log") == 1 ]] ||
    fail "$out: expected one warning of the checkpoint of step 10" "$out.log"

# ---- a host is cut off ----

if [[ -n ${DN_OWN_NETWORK:-} ]]; then
    hosts.sh up 2
    launcher=(hosts.sh mpirun --host h1:2,h2:2 --bind-to none -np)
    out=$tmp/cut
    started 4 "$out" --deadline 3
    hosts.sh cut h2
    ended 4 "$out" $lost
    hosts.sh join h2
    wait $job && fail "$out: mpirun ended with 0" "$out.log"
    grep -q '"host": "h2".*its host does not answer' "$out/lost.json" ||
        fail "$out: expected h2 in lost.json" "$out.log"
    resumes "$out" "h2 cut off"
else
    echo "not tried: cutting off a host, as the system refuses a network: $why_not"
fi

for ((i = 0; i < 3000; i++)); do # the daemon of the program without mpirun ends after it
    { find "$tmp/shm" "$tmp/session" -type f; pgrep -af -- "--out $tmp/"; } >"$tmp/left" || true
    [[ -s $tmp/left ]] || break
    sleep 0.1
done
[[ ! -s $tmp/left ]] || fail "Open MPI's files or processes stay behind" "$tmp/left"
finish
