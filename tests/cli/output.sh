#!/usr/bin/env bash
# The output of dn_dist and create_records to terminals, files, and where writing fails.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
begin_dn_dist

# --- progress -----------------------------------------------------------------------------------

# The progress line is only for terminals, not for files, although mpirun gives a terminal to ranks
# and to the scripts that start them.
plain_lines() { # WRAPPER...
    rm -rf plain
    on_ranks 2 "$@" "$build/dn_dist" train "${small[@]}" --out plain --max-steps 50 >out 2>&1 ||
        fail "a run with its output in a file" out
    ! grep -q $'\r' out || fail "expected plain lines in a file ($*), found" out
    grep -q "^epoch 1/300 step 50/" out || fail "expected a line of progress" out
}
plain_lines bash -c '"$@"; exit $?' wrapper
SLURM_JOB_END_TIME=12abc plain_lines
printed "^warning: SLURM_JOB_END_TIME: found '12abc', expected seconds" "a job's end that is no number"
if command -v script >/dev/null; then
    printf -v quoted '%q ' "${small[@]}" --out bar --max-steps 50
    for launch in "" "mpirun --oversubscribe --bind-to none -np 2"; do
        rm -rf bar
        limited script -qec "$launch $build/dn_dist train $quoted" /dev/null >out </dev/null ||
            fail "a run on a terminal" out
        grep -q $'\repoch 1/300 ' out ||
            fail "expected a rewritten line on a terminal ($launch), found" out
    done
    limited script -qec "$build/dn_dist eval plain --data $data --threads 1 --batch-size 1" /dev/null >out </dev/null &&
        grep -q $'\revaluating: .*/10000 images' out || fail "expected how far an evaluation is on a terminal, found" out
else
    untried "progress on a terminal: found no script (Debian: bsdutils)"
fi

# --- standard output ------------------------------------------------------------------------------

# unwritten COMMAND...: if standard output cannot be written, the command fails with one line.
unwritten() {
    local status=0 program=${1##*/}
    limited "$@" >/dev/full 2>err || status=$?
    refusal "standard output: *No space left on device" $status "$* >/dev/full"
    status=0
    limited "$@" 2>err >&- || status=$?
    refusal "standard output: *Bad file descriptor" $status "$* >&-"
}
one_step=(--model fashion-mnist-tiny --size 28 --channels 1 --batch-size 4 --steps 1 --warmup 0)
eval=(eval plain --data "$data" --threads 1)
unwritten "$build/dn_dist"
unwritten "$build/dn_dist" --version
unwritten "$build/dn_dist" models --help # of a longer text the final flush need not know the reason
unwritten "$build/dn_dist" info --layers --model densenet121 # more than a buffer of output
unwritten "$build/dn_dist" "${eval[@]}"
unwritten "$build/dn_dist" "${eval[@]}" --json
unwritten "$build/dn_dist" bench "${one_step[@]}"
unwritten "$build/dn_dist" bench "${one_step[@]}" --json
works bench "${one_step[@]}" --profile profile.json
unwritten "$build/dn_dist" plan --profile profile.json
unwritten "$build/dn_dist" plan --profile profile.json --json
unwritten "$build/create_records"
unwritten "$build/create_records" --version
unwritten "$build/create_records" FASHION_MNIST --out "$data" # complete already
unwritten "$build/create_records" verify "$data"

# json_alone OPTION...: standard output is one JSON value, on 1 and 2 ranks.
json_alone() {
    local ranks
    for ranks in 1 2; do
        on_ranks $ranks "$build/dn_dist" "$@" --json >out 2>err ||
            fail "$* --json on $ranks ranks" err
        python3 -m json.tool out >json 2>err ||
            fail "$* --json on $ranks ranks: expected JSON alone, found" out err
    done
}
json_alone "${eval[@]}"
json_alone bench "${one_step[@]}"
json_alone bench "${one_step[@]}" --roofline
json_alone plan "${one_step[@]}" --nodes 2
json_alone plan --profile profile.json
finish
