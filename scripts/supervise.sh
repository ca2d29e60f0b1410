#!/usr/bin/env bash
# Keeps one training run going: when a rank is lost, starts it again by itself on the hosts that
# still answer, from its newest checkpoint. The weights do not depend on the number of ranks.
#
#   supervise.sh OUT HOST:RANKS,HOST:RANKS... LAUNCHER... -- dn_dist train ... --out OUT
#
# LAUNCHER is srun (in a job of Slurm) or mpirun, with its options. USR1, USR2, TERM, INT and HUP
# ask the run to save and end. Ends with dn_dist's status: 0 finished, 75 saved on request and to be
# run again; others when it gives up: a failure is taken for one that passes when a rank was lost
# (status 76, or killed), when a host has gone, or when the run had saved a checkpoint since its start
# (a disk that was full may be emptied).
#
#   DN_MAX_FAILURES  failures that are borne (3)
#   DN_GRACE         seconds from the loss of a rank until what is left of the step is killed (10)
#   DN_CHECK         command that, given a host, succeeds where it can be used; for Slurm a step on
#                    it, else ssh
set -euo pipefail
asked=no
step=
trap 'asked=yes; [[ -z $step ]] || kill -USR1 "$step" || true' USR1 USR2 TERM INT HUP
trap '' PIPE # who reads the output may end before the run does

usage() {
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
    exit 2
}
(($# >= 5)) || usage
out=$1
IFS=, read -ra hosts <<<"$2"
shift 2
launcher=()
while (($#)) && [[ $1 != -- ]]; do
    launcher+=("$1")
    shift
done
(($# > 1)) || usage
command=("${@:2}")
kind=${launcher[0]##*/}

# Its steps' name: others of the same job are not this run's.
name=supervise-$(hostname)-$$

say() { echo "supervise: $*" 2>/dev/null || true; }

newest() { find "$out" -maxdepth 1 -name 'checkpoint-*.h5' 2>/dev/null | sort | tail -n 1 || true; }

# The number of virtual ranks decides the weights: restarts keep that of the first start, also those
# that come before the first checkpoint. It may be the command's, a file's, or the number of ranks;
# metrics.jsonl, unless it is of an earlier run, begins with what it came out as. Before the data are
# read there is none: then nothing was trained that it should fit.
metrics() { stat --format=%i:%z "$out/metrics.jsonl" 2>/dev/null || true; }
earlier=$(metrics)
keep_virtual_ranks() {
    local count
    if [[ $(metrics) == "$earlier" ]]; then
        [[ $(newest) ]] || say "nothing trained: unless --virtual-ranks is given, it is the next start's ranks"
        return 0
    fi
    count=$(sed -n '1s/.*"virtual-ranks": "\([0-9]*\)".*/\1/p' "$out/metrics.jsonl" 2>/dev/null) || true
    [[ -z $count ]] || kept=(--virtual-ranks "$count")
}

# A run writes the lock's file when it takes the folder. One that was refused did not, and the
# checkpoints there are of another run at work.
claim() { stat --format=%i:%z "$out/lock" 2>/dev/null || true; }

# ---- a step: the program, started once ----

# Sets `place`, the launcher's options for `hosts`, and `ranks`. Slurm may think that a step that
# was killed still has its processors: --overlap.
find_place() {
    local host names=()
    ranks=0
    for host in "${hosts[@]}"; do
        names+=("${host%:*}")
        ranks=$((ranks + ${host##*:}))
    done
    local IFS=,
    if [[ $kind == srun ]]; then
        place=(--job-name="$name" --overlap --nodelist="${names[*]}" --nodes=${#hosts[@]} --ntasks=$ranks)
    else
        place=(--host "${hosts[*]}" -np $ranks)
    fi
}

# Kills what is left of the step; a launcher may wait for a host that has gone for ever.
kill_step() {
    local task=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID:-}} # of an array
    say "the step does not end by itself, it is killed"
    if [[ $kind == srun ]]; then
        squeue --noheader --steps --jobs="${task:-$SLURM_JOB_ID}" --format='%i %j' |
            sed -n "s/ $name\$//p" | timeout 20 xargs -r scancel --signal=KILL || true
    else
        kill -TERM "$step" || true
    fi 2>/dev/null
    for ((i = 0; i < 25; i++)); do
        kill -0 "$step" 2>/dev/null || return 0
        sleep 0.2
    done
    kill -KILL "$step" || true
}

# What tells a loss from the one before: dn_dist itself removes that, when it has waited for the lost
# rank's lock of the folder.
loss() { stat --format=%i:%z "$out/lost.json" 2>/dev/null || true; }
is_lost() { [[ -n $(loss) && $(loss) != "$known" ]]; }

# Starts the step and sets `status` to how it ended: 76 where a rank was lost, whatever the launcher
# says. A signal ends `wait`, so the step is asked again; a request to stop is repeated, because a
# launcher that has no ranks yet loses it. mpirun may turn a common 75 into 0; a run that had
# finished has nothing to do when it is run again.
run_step() {
    local deadline=0 polls=0
    "${launcher[@]}" "${place[@]}" "${command[@]}" "${kept[@]}" "${resume[@]}" &
    step=$!
    while kill -0 "$step" 2>/dev/null; do
        sleep 0.2 &
        wait $! || true
        ((++polls % 5)) || [[ $asked == no ]] || kill -USR1 "$step" 2>/dev/null || true
        if ((deadline == 0)) && is_lost; then
            deadline=$((SECONDS + ${DN_GRACE:-10}))
        elif ((deadline > 0 && SECONDS >= deadline)); then
            kill_step
            break
        fi
    done
    status=0
    wait "$step" 2>/dev/null || status=$?
    ! is_lost || status=76
    [[ $kind == srun || $asked == no ]] || ((status != 0)) || status=75
    step=
}

# ---- after a failure ----

answers() { # HOST
    if [[ -n ${DN_CHECK:-} ]]; then
        timeout 20 $DN_CHECK "$1"
    elif [[ $kind == srun ]]; then
        timeout 20 srun --overlap --mpi=none --nodelist="$1" --nodes=1 --ntasks=1 \
            --cpus-per-task=1 true
    else
        [[ $1 == localhost || $1 == "$(hostname)" || $1 == "$(hostname -f)" ]] ||
            timeout 20 ssh -o BatchMode=yes "$1" true
    fi </dev/null &>/dev/null
}

# Takes the hosts that do not answer, asked twice, out of `hosts`. A few at a time: hundreds at once
# would keep Slurm so busy that healthy ones did not answer in time.
leave_out() {
    local host i from checks some left=()
    for ((from = 0; from < ${#hosts[@]}; from += 32)); do
        some=("${hosts[@]:from:32}") checks=()
        for host in "${some[@]}"; do
            { answers "${host%:*}" || answers "${host%:*}"; } &
            checks+=($!)
        done
        for i in "${!some[@]}"; do
            if wait "${checks[i]}"; then
                left+=("${some[i]}")
            else
                say "host ${some[i]%:*} does not answer, it is left out"
            fi
        done
    done
    hosts=("${left[@]}")
}

# Whether another attempt makes sense after `status`; at the start `before` was the newest checkpoint,
# `taken` the lock, `had` the number of hosts.
may_pass() {
    ((status == 76 || status >= 128 || ${#hosts[@]} < had)) ||
        [[ $(newest) != "$before" && $(claim) != "$taken" ]]
}

kept=()
resume=()
failures=0
while [[ $asked == no ]]; do
    find_place
    before=$(newest)
    taken=$(claim)
    known=$(loss)
    say "$ranks ranks on ${hosts[*]}"
    run_step
    ((status != 0 && status != 75)) || exit $status
    [[ $asked == no ]] || break
    say "status $status: $(is_lost && cat "$out/lost.json" || echo "no rank was lost")"
    had=${#hosts[@]}
    leave_out
    may_pass || exit $status
    if ((failures++ >= ${DN_MAX_FAILURES:-3} || ${#hosts[@]} == 0)); then
        say "gives up after $failures failures, with ${#hosts[@]} hosts left"
        exit $status
    fi
    keep_virtual_ranks
    # A run that was started with --resume none or FILE goes on from its own checkpoints now.
    [[ $(newest) == "$before" ]] || resume=(--resume auto)
    sleep $((status == 1 ? 10 : 2)) &
    wait $! || true
done
exit 75
