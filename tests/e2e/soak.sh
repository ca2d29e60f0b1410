#!/usr/bin/env bash
# One training run through random faults, and nobody helps it: ranks are killed or stopped, the run
# is asked to stop, the disk is full, under a real Slurm whose 4 nodes are this machine (slurm.sh);
# links are cut between 4 hosts (hosts.sh) with scripts/supervise.sh and mpirun. After each fault the
# run resumes by itself, where it is or as a new job on a random number of ranks. Its last hash is
# that of a run left alone.
#
#   soak.sh BUILD_FOLDER [FAULTS [SEED]]   # 5: one of each kind
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
own_network "$@"
source "$tests/support/slurm.sh"
need_slurm
trap : EXIT # all ends with the network
count=${2:-5}
seed=${3:-$RANDOM}
RANDOM=$seed
log=$tmp/log
export DN_OUT=$tmp/disk/run DN_GRACE=2
records
export DN_DATA=$data

# Steps from a fault to the next: as many as take half a second, or 150.
train 2 "$tmp/pace" --max-steps 300 --threads 1 || fail "a run of 300 steps" "$tmp/pace.log"
[[ $(tail -n 1 "$tmp/pace/metrics.jsonl") =~ \"seconds\":\ *([0-9]+)\.([0-9]{3}) ]] ||
    fail "expected the run's seconds in the last line of metrics.jsonl" "$tmp/pace/metrics.jsonl"
stride=$((150000 / (1 + 10#${BASH_REMATCH[1]}${BASH_REMATCH[2]})))
((stride > 150)) || stride=150
steps=$(((count + 2) * stride))
options=(--batch-size 4 --virtual-ranks 8 --eval-every 0 --threads 1 --max-steps $steps --epochs 99)
export DN_ARGS="${options[*]} --checkpoint-every 10 --deadline 4"

say() { printf '%4d s  %s\n' $SECONDS "$*"; }

# ---- legs: one after the other, a job of Slurm or a supervised mpirun ----

leg=none # "job ID" or "pid PROCESS"

start_job() {
    local nodes=$((2 + RANDOM % 3)) tasks
    tasks=$((nodes + RANDOM % (9 - nodes)))
    leg="job $(sbatch --parsable --nodes=$nodes --ntasks=$tasks --output="$log" \
        "$tmp/home/slurm/train.sh" --model fashion-mnist-tiny)"
    say "$leg: $tasks ranks on $nodes nodes, failures borne: $DN_MAX_FAILURES"
}

start_mpirun() {
    local list=h1:1 number=$((2 + RANDOM % 3)) i
    for ((i = 2; i <= number; i++)); do list+=,h$i:$((1 + RANDOM % 2)); done
    (
        unset OMPI_MCA_btl OMPI_MCA_btl_tcp_if_include
        DN_CHECK='hosts.sh answers' exec hosts.sh exec h1 \
            "$repo/scripts/supervise.sh" "$DN_OUT" "$list" \
            hosts.sh mpirun --bind-to none --oversubscribe -- "$build/dn_dist" train \
            --model fashion-mnist-tiny --data "$data" --out "$DN_OUT" $DN_ARGS
    ) >>"$log" 2>&1 &
    leg="pid $!"
    say "$leg: ranks on $list, failures borne: $DN_MAX_FAILURES"
}

is_running() {
    case $leg in
    job*) ! is_over "${leg#job }" ;;
    pid*) kill -0 "${leg#pid }" 2>/dev/null ;;
    *) false ;;
    esac
}

has_reached() { [[ $(last_step "$DN_OUT" || echo 0) -ge $1 ]] || ! is_running; }
has_ended() { ! is_running; }
starts() { grep -c '^supervise: .* ranks on' "$log" || true; }
failures_seen() { grep -c '^supervise: status' "$log" || true; }
has_failed() { (($(failures_seen) > $1)) || ! is_running; }
has_resumed() { (($(starts) > $1)) || ! is_running; }
is_queued() { is_pending "${leg#job }" || ! is_running; }

# ---- faults ----

random_rank() {
    local all
    mapfile -t all < <(ranks)
    echo "${all[RANDOM % ${#all[@]}]}"
}

# Those of the last start, n1... or h1....
hosts_in_use() {
    grep '^supervise: .* ranks on' "$log" | tail -n 1 | grep -oE '[nh][0-9]+:' | tr -d :
}

# inflict FAULT; then waits until the run resumes or its leg has ended, and repairs what broke.
inflict() {
    local fault=$1 rank before seen cut= all
    before=$(starts) seen=$(failures_seen)
    case $fault in
    kill | stop)
        rank=$(random_rank)
        kill -"${fault^^}" "$rank" ;;
    full) dd if=/dev/zero of="$tmp/disk/filler" bs=64k status=none 2>/dev/null || true ;;
    cut)
        mapfile -t all < <(hosts_in_use)
        cut=${all[RANDOM % ${#all[@]}]}
        hosts.sh cut "$cut" ;;
    usr1)
        scancel --signal=USR1 --batch "${leg#job }"
        until_or_fail 60 "saving and queueing again" is_queued
        if ((RANDOM % 2)); then
            say "    the job is queued again"
            start_now "${leg#job }"
        else
            scancel "${leg#job }"
            until_or_fail 60 "the end of the job" has_ended
        fi ;;
    esac
    [[ $fault == usr1 ]] || until_or_fail 90 "noticing the fault" has_failed "$seen"
    rm -f "$tmp/disk/filler"
    until_or_fail 90 "resuming" has_resumed "$before"
    [[ -z $cut ]] || hosts.sh join "$cut"
}

# ---- the run ----

mkdir "$tmp/disk"
mount -t tmpfs -o size=16M soak "$tmp/disk"
mkdir "$DN_OUT"
start_slurm 4 4
hosts.sh up 4
train 2 "$tmp/alone" --max-steps $steps --epochs 99 --threads 1 ||
    fail "the run left alone" "$tmp/alone.log"
expected=$(last_hash "$tmp/alone") || expected=missing
say "left alone, $steps steps: $expected; seed $seed"

kinds=(kill stop cut usr1 full)
for ((i = 0; i < count; i++)); do plan+=("${kinds[i % 5]}"); done
for ((i = count - 1; i > 0; i--)); do
    j=$((RANDOM % (i + 1)))
    swap=${plan[i]} plan[i]=${plan[j]} plan[j]=$swap
done
say "faults: ${plan[*]}"

touch "$log"
for ((i = 0; i < count; i++)); do
    fault=${plan[i]}
    world=job
    [[ $fault != cut ]] || world=pid
    if is_running && { [[ $leg != "$world"* ]] || (($(hosts_in_use | wc -l) < 2)); }; then
        say "    $leg is asked to stop, for a fault elsewhere"
        if [[ $leg == job* ]]; then scancel "${leg#job }"; else kill -TERM "${leg#pid }"; fi
        until_or_fail 60 "the end of the leg" has_ended
    fi
    if ! is_running; then
        until_or_fail 30 "the end of all ranks" has_no_ranks
        export DN_MAX_FAILURES=$((RANDOM % 2))
        if [[ $world == job ]]; then start_job; else start_mpirun; fi
    fi
    until_or_fail 120 "step $((i * stride))" has_reached $((i * stride + stride / 2 + RANDOM % 50))
    if ! is_running || [[ $(last_step "$DN_OUT") == "$steps" ]]; then
        fail "fault $((i + 1)): the leg ended by itself before it" "$log"
        finish
    fi
    say "fault $((i + 1)), $fault, at step $(last_step "$DN_OUT")"
    inflict "$fault"
done
if ! is_running; then
    until_or_fail 30 "the end of all ranks" has_no_ranks
    DN_MAX_FAILURES=0 start_job
fi
until_or_fail 120 "the end of the run" has_ended
until_or_fail 30 "the end of all ranks" has_no_ranks

hash=$(last_hash "$DN_OUT") || hash=none
say "after $count faults, step $(last_step "$DN_OUT"): $hash"
[[ $hash == "$expected" ]] || fail "expected $expected, found $hash" "$log"
finish
