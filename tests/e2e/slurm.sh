#!/usr/bin/env bash
# A job of a real Slurm: it gets USR1 before its time limit, saves, and queues itself again; then it
# resumes, loses a rank, resumes, and is cancelled. Its last hash is that of a run left alone.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
own_network "$@"
source "$tests/support/slurm.sh"
need_slurm
records
trap : EXIT # all ends with the network
log=$tmp/log out=$tmp/run
touch "$log"
start_slurm 2 2
slurmd -V

job=$(DN_DATA=$data sbatch --parsable --nodes=2 --time=1 --signal=B:USR1@60 --output="$log" \
    "$tmp/home/slurm/train.sh" --model fashion-mnist-tiny --out "$out" --batch-size 4 --virtual-ranks 8 \
    --eval-every 0 --threads 1 --epochs 999 --checkpoint-every 10)
logged() { [[ $(grep -c "$1" "$log") -ge $2 ]]; }
has_trained() { last_step "$out" >/dev/null 2>&1; }

until_or_fail 60 "the first checkpoint" has_trained
until_or_fail 120 "the signal before the time limit" is_pending "$job"
logged 'stopped on a request (SIGUSR1) at step' 1 && logged 'to be queued again' 1 ||
    fail "USR1 from Slurm" "$log"
echo "USR1 before the time limit: saved at step $(last_step "$out")"

start_now "$job" 10
until_or_fail 60 "resuming" logged '^resumed from' 1
kill -KILL "$(ranks | tail -n 1)"
until_or_fail 60 "resuming" logged '^resumed from' 2
logged '^supervise: status 76: {"rank": ' 1 || fail "a killed rank" "$log"
echo "a killed rank: resumed"
sleep 1
scancel "$job"
until_or_fail 60 "the end of the job" is_over "$job"
until_or_fail 60 "the end of the ranks" has_no_ranks
last=$(last_step "$out")
train 2 "$tmp/alone" --epochs 999 --threads 1 --max-steps "$last" || fail "the run left alone" "$tmp/alone.log"
expected=$(last_hash "$tmp/alone") || expected=missing
hash=$(last_hash "$out") || hash=none
echo "cancelled at step $last: $hash"
[[ $hash == "$expected" ]] || fail "expected $expected, found $hash" "$log"
finish
