# Shared by the Slurm scripts of this folder, which source it with options of dn_dist train.
#
# There is one MPI rank per NUMA domain and one OpenMP thread per core, unless options of sbatch say
# otherwise. DN_DATA, DN_OUT and DN_ARGS are the data folder, the run's folder and further dn_dist
# options. Options of the script override the first two, and DN_ARGS overrides all. A job that
# approaches its time limit is asked to save and is requeued; one that loses a rank continues on the
# remaining nodes (scripts/supervise.sh). Both resume from the newest checkpoint in the run's
# folder, as every job does that finds one there.
set -euo pipefail

# USR1 comes from Slurm before the time limit (--signal in the scripts) or from a user, TERM from
# scancel, or from Slurm itself, which then knows whether to requeue the job. Until the supervisor
# runs they are recorded; the script that sources this has done so for USR1.
asked=${asked:-no} requeue=yes supervisor=
stop() {
    asked=yes
    [[ -z $supervisor ]] || kill -USR1 "$supervisor" 2>/dev/null || true
}
trap stop USR1
trap 'requeue=no; stop' TERM

# One task of an array has the array's id, which would stand for all tasks.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-$SLURM_JOB_ID}
# dn_dist saves before the job's end, which Slurm 22.05 does not export. A job without a limit has none.
if [[ -z ${SLURM_JOB_END_TIME:-} ]] &&
    end=$(SLURM_TIME_FORMAT=standard squeue --noheader --jobs="$job" --format=%e) && [[ $end == [0-9]* ]]; then
    SLURM_JOB_END_TIME=$(date -d "$end" +%s)
    export SLURM_JOB_END_TIME
fi

home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
options=(${DN_DATA:+--data "$DN_DATA"} ${DN_OUT:+--out "$DN_OUT"} "$@")
read -ra further <<<"${DN_ARGS:-}"
options+=("${further[@]}")

options=("${options[@]//%a/${SLURM_ARRAY_TASK_ID:-%a}}") # as Slurm has it in names of files

# The program in the project's folder, an installed one, or one beside a copy of this folder.
PATH=$home/build:$PATH:$home/../../bin
program=$(command -v dn_dist) || {
    echo "dn_dist: expected in $home/build or on the PATH, found in neither; build it first" >&2
    exit 1
}
supervise=$home/scripts/supervise.sh
installed=$(dirname "$(readlink -f "$program")")/../share/dn_dist/scripts/supervise.sh
[[ -r $supervise ]] || supervise=$installed
[[ -r $supervise ]] || {
    echo "supervise.sh: expected in $home/scripts or at $installed, found in neither;" \
        "DN_HOME names the project's folder" >&2
    exit 1
}

# The values that dn_dist takes from the options, and from the files that these name.
settings=$("$program" train --print "${options[@]}")
value_of() { sed -n "s/^$1 = //p" <<<"$settings"; }

# dn_dist and the supervisor, which watches it, both get the run's folder.
out=$(value_of out)
: "${out:?is empty: name --recipe, --model or --out}"
out+=${SLURM_ARRAY_TASK_ID:+-$SLURM_ARRAY_TASK_ID}
options+=(--out "$out")
label=$(basename "$out")

# newest PATTERN: the newest checkpoint whose step matches the pattern.
newest() { find "$out" -maxdepth 1 -name "checkpoint-$1.h5" 2>/dev/null | sort -V | tail -n 1 || true; }

distinct() { lscpu -p="$1" | grep -v '^#' | sort -u | wc -l; }
smaller() { echo $(($1 < $2 ? $1 : $2)); }
at_least_1() { echo $(($1 > 1 ? $1 : 1)); }

# The batch shell runs on the first node; the others are assumed to be equal.
nodes=$SLURM_JOB_NUM_NODES
cpus=$SLURM_CPUS_ON_NODE
if [[ -z ${SLURM_NTASKS_PER_NODE:-} && -z ${SLURM_NTASKS:-} ]]; then
    fitting=$((cpus / ${SLURM_CPUS_PER_TASK:-1}))
    SLURM_NTASKS_PER_NODE=$(at_least_1 "$(smaller "$(distinct NODE)" $fitting)")
    export SLURM_NTASKS_PER_NODE
fi
ranks=${SLURM_NTASKS:-$((nodes * SLURM_NTASKS_PER_NODE))}
# A run has a fixed number of virtual ranks and at most as many ranks: that of its first start, else
# the requested number (0: any).
most=
[[ -z $(newest '*') ]] ||
    most=$(sed -n '1s/.*"virtual-ranks": "\([0-9]*\)".*/\1/p' "$out/metrics.jsonl" 2>/dev/null) || true
most=${most:-$(value_of virtual-ranks)}
if ((most > 0 && ranks > most)); then
    echo "$label: $ranks ranks are more than its $most virtual ranks, it gets $most"
    ranks=$most
fi
per_node=$(((ranks + nodes - 1) / nodes))
cpus_per_rank=${SLURM_CPUS_PER_TASK:-$(at_least_1 $((cpus / per_node)))}
cores_per_rank=$(at_least_1 $(($(distinct SOCKET,CORE) / per_node)))

export SRUN_CPUS_PER_TASK=$cpus_per_rank # srun does not inherit sbatch's --cpus-per-task
# With Slurm's default a fence in MPI_Init occasionally completes early, and ranks crash.
export SLURM_PMIX_FENCE=${SLURM_PMIX_FENCE:-ring}
OMP_NUM_THREADS=$(smaller "$cpus_per_rank" "$cores_per_rank")
export OMP_NUM_THREADS
bind=()
if ! scontrol show config | grep -q '^TaskPlugin *= *task/none'; then
    # If Slurm does not bind ranks to cores, dn_dist divides the cores.
    bind=(--cpu-bind=cores)
fi

# A requeued job resumes from its checkpoints, however it was started.
if ((${SLURM_RESTART_COUNT:-0} > 0)) && [[ -n $(newest '*') ]]; then
    options+=(--resume auto)
fi

before=$(newest '*[1-9]*') # but that of a run's start

# hosts = node:ranks,node:ranks...: the ranks divided equally.
hosts= left=$ranks
for node in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do
    part=$(((left + nodes - 1) / nodes))
    ((part == 0)) || hosts+=${hosts:+,}$node:$part
    left=$((left - part)) nodes=$((nodes - 1))
done

# Seconds from the first task's end after which Slurm kills the others: a rank that could not start,
# as its node lacks a library or the program, would leave the others in MPI_Init forever. Running
# ranks end together, or within --deadline of a lost one.
deadline=$(value_of deadline)
deadline=${deadline%.*}

echo "$label on nodes: $SLURM_JOB_NUM_NODES, ranks: $ranks, threads a rank: $OMP_NUM_THREADS -> $out"
status=75
if [[ $asked == no ]]; then
    "$supervise" "$out" "$hosts" \
        srun --mpi="${SLURM_MPI_TYPE:-pmix}" --kill-on-bad-exit=0 --wait=$((deadline + 240)) "${bind[@]}" -- \
        dn_dist train "${options[@]}" &
    supervisor=$!
    [[ $asked == no ]] || stop # it came while the supervisor started
    # A signal interrupts `wait`, which is then repeated.
    while kill -0 $supervisor 2>/dev/null; do
        wait $supervisor || true
    done
    status=0
    wait $supervisor || status=$?
    # USR1 (10) arrived before the supervisor handled it: nothing was started.
    [[ $status != 138 || $asked == no ]] || status=75
fi

# A job that reached its time limit without a step would fail again; a preempted job has time left,
# besides the five minutes of --signal.
is_over() { [[ -n ${SLURM_JOB_END_TIME:-} ]] && ((SLURM_JOB_END_TIME - $(date +%s) < 600)); }

if [[ $status == 75 && $requeue == yes ]]; then
    if ((${SLURM_RESTART_COUNT:-0} > 0)) && [[ $(newest '*[1-9]*') == "$before" ]] && is_over; then
        echo "$label: again no step since the job began, not queued again: is its time too short?" >&2
        exit 1
    fi
    echo "$label: saved before its end; to be queued again"
    scontrol requeue "$job" && exit 0
    echo "$label: not queued again: submit it again to resume" >&2
fi
exit $status
