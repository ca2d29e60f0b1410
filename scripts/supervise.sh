#!/usr/bin/env bash
# Keeps a training run going: when a rank is lost, restarts the run from its newest checkpoint on
# the hosts that still answer. The weights do not depend on the number of ranks.
#
#   supervise.sh OUT HOST:RANKS,HOST:RANKS... LAUNCHER... -- dn_dist train ... --out OUT
#
# LAUNCHER is srun (in a Slurm job) or mpirun, with its options. USR1, USR2, TERM, INT and HUP ask
# the run to save and end. The exit status is dn_dist's: 0 if finished, 75 if saved on request and
# to be run again, others if it gives up. It restarts after a failure that may be transient: when a
# rank was lost (status 76, or killed), when a host is gone, or when the run had saved a checkpoint
# since its start (a full disk may have been emptied).
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

# The name of its Slurm steps; other steps of the job are not this run's.
name=supervise-$(hostname)-$$

say() { echo "supervise: $*" 2>/dev/null || true; }

newest() { find "$out" -maxdepth 1 -name 'checkpoint-*.h5' 2>/dev/null | sort -V | tail -n 1 || true; }

# The number of virtual ranks determines the weights, so restarts keep that of the first start, even
# before the first checkpoint. It may come from the command, a file, or the number of ranks; the
# first record of metrics.jsonl, unless that is of an earlier run, has its value. Before the data
# are read there is no such record, but then nothing was trained either.
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

# A run writes the lock file when it takes the folder. If it was refused it did not, and the
# checkpoints are those of another active run.
claim() { stat --format=%i:%z "$out/lock" 2>/dev/null || true; }

# ---- a step: the program, started once ----

# Sets `place`, the launcher's options for `hosts`, and `ranks`. --overlap, as Slurm may assume that
# a killed step still has its processors.
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

# Kills what is left of the step, as a launcher may wait forever for a host that is gone.
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

# Distinguishes a loss from the previous one: dn_dist removes that one's file after it has waited
# for the lost rank's lock of the folder.
loss() { stat --format=%i:%z "$out/lost.json" 2>/dev/null || true; }
is_lost() { [[ -n $(loss) && $(loss) != "$known" ]]; }

# Starts the step and sets `status` to its exit status: 76 if a rank was lost, whatever the launcher
# returns. A signal interrupts `wait`, which is then repeated; a request to stop is sent again,
# because a launcher without ranks loses it. mpirun may turn a 75 of all ranks into 0; a finished
# run has nothing to do when it is run again.
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

# Removes hosts that do not answer two requests from `hosts`. Asks a few at a time, as hundreds
# would keep Slurm so busy that healthy ones do not answer in time.
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

# True if another attempt makes sense after `status`; at the start `before` was the newest
# checkpoint, `taken` the lock, `had` the number of hosts. MPICH's mpirun ends with a killed rank's 9.
may_pass() {
    ((status == 76 || status == 9 || status >= 128 || ${#hosts[@]} < had)) ||
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
    # A run that was started with --resume none or FILE now resumes from its own checkpoints.
    [[ $(newest) == "$before" ]] || resume=(--resume auto)
    sleep $((status == 1 ? 10 : 2)) &
    wait $! || true
done
exit 75
