# What the Slurm scripts of this folder share; they source it with options of dn_dist train.
#
# One MPI rank per NUMA domain and one OpenMP thread per core, unless sbatch was told otherwise.
# DN_DATA, DN_OUT and DN_ARGS name the data folder, the run's folder and further dn_dist options, of
# which the script's own win over the first two, and DN_ARGS over all.
# A job that is about to reach its time limit is asked to save and is queued again; one that loses a
# rank goes on with the nodes that remain (scripts/supervise.sh). Either goes on from its newest
# checkpoint, as any job does that finds one in the run's folder.
set -euo pipefail

# USR1 comes from Slurm before the time limit (--signal in the scripts) or from a user, TERM from
# scancel, or from Slurm itself, which then knows whether to queue the job again. Before there is a
# supervisor they are remembered; the script that sources this has done so for USR1.
asked=${asked:-no} requeue=yes supervisor=
stop() {
    asked=yes
    [[ -z $supervisor ]] || kill -USR1 "$supervisor" 2>/dev/null || true
}
trap stop USR1
trap 'requeue=no; stop' TERM

home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
options=(${DN_DATA:+--data "$DN_DATA"} ${DN_OUT:+--out "$DN_OUT"} "$@")
read -ra further <<<"${DN_ARGS:-}"
options+=("${further[@]}")

# value_of OPTION: what it is set to; the last counts.
value_of() {
    local i name value=
    for ((i = 0; i < ${#options[@]}; i++)); do
        name=${options[i]%%=*}
        [[ ${name//_/-} == "--$1" ]] || continue
        value=${options[i + 1]:-}
        [[ ${options[i]} != *=* ]] || value=${options[i]#*=}
    done
    echo "$value"
}

# The run's folder is told to dn_dist and to the supervisor, which watches it.
label=$(value_of recipe)
label=$(basename "${label:-$(value_of model)}" .ini)
label=${label//[!a-zA-Z0-9._-]/_} # as dn_dist names a folder
out=$(value_of out)
if [[ -z $out ]]; then
    : "${label:?is empty: name --recipe, --model or --out}"
    out=runs/$label${SLURM_ARRAY_TASK_ID:+-$SLURM_ARRAY_TASK_ID}
    options+=(--out "$out")
fi
label=${label:-$out}

# The project's folder, what is installed, or a copy of this folder beside an installation.
PATH=$home/build:$PATH:$home/../../bin
program=$(command -v dn_dist) || {
    echo "dn_dist: expected in $home/build or on the PATH, found in neither; build it first" >&2
    exit 1
}
supervise=$home/scripts/supervise.sh
share=$(dirname "$(readlink -f "$program")")/../share/dn_dist
installed=$share/scripts/supervise.sh
[[ -r $supervise ]] || supervise=$installed
[[ -r $supervise ]] || {
    echo "supervise.sh: expected in $home/scripts or at $installed, found in neither;" \
        "DN_HOME names the project's folder" >&2
    exit 1
}

distinct() { lscpu -p="$1" | grep -v '^#' | sort -u | wc -l; }
smaller() { echo $(($1 < $2 ? $1 : $2)); }
at_least_1() { echo $(($1 > 1 ? $1 : 1)); }

# The batch shell runs on the first node; the others are taken to be like it.
nodes=$SLURM_JOB_NUM_NODES
cpus=$SLURM_CPUS_ON_NODE
if [[ -z ${SLURM_NTASKS_PER_NODE:-} && -z ${SLURM_NTASKS:-} ]]; then
    fitting=$((cpus / ${SLURM_CPUS_PER_TASK:-1}))
    SLURM_NTASKS_PER_NODE=$(at_least_1 "$(smaller "$(distinct NODE)" $fitting)")
    export SLURM_NTASKS_PER_NODE
fi
ranks=${SLURM_NTASKS:-$((nodes * SLURM_NTASKS_PER_NODE))}
# A run has a fixed number of virtual ranks and at most as many ranks: its first start's, else what
# was asked for, by options or a file of them.
most=
! compgen -G "$out/checkpoint-*.h5" >/dev/null ||
    most=$(sed -n '1s/.*"virtual-ranks": "\([0-9]*\)".*/\1/p' "$out/metrics.jsonl" 2>/dev/null) || true
most=${most:-$(value_of virtual-ranks)}
recipe=$(value_of recipe)
for file in "$(value_of config)" "$recipe" "$home/recipes/$recipe.ini" "$share/recipes/$recipe.ini"; do
    [[ -z $most && -f $file ]] || continue
    most=$(sed -n 's/^ *virtual[-_]ranks *= *\([0-9]*\).*/\1/p' "$file" | tail -n 1)
done
if [[ $most =~ ^[1-9][0-9]{0,8}$ ]] && ((ranks > most)); then
    echo "$label: $ranks ranks are more than its $most virtual ranks, it gets $most"
    ranks=$most
fi
per_node=$(((ranks + nodes - 1) / nodes))
cpus_per_rank=${SLURM_CPUS_PER_TASK:-$(at_least_1 $((cpus / per_node)))}
cores_per_rank=$(at_least_1 $(($(distinct SOCKET,CORE) / per_node)))

export SRUN_CPUS_PER_TASK=$cpus_per_rank # srun does not inherit sbatch's --cpus-per-task
# With Slurm's own choice a fence in MPI_Init now and then opens early, and ranks crash.
export SLURM_PMIX_FENCE=${SLURM_PMIX_FENCE:-ring}
OMP_NUM_THREADS=$(smaller "$cpus_per_rank" "$cores_per_rank")
export OMP_NUM_THREADS
bind=()
if ! scontrol show config | grep -q '^TaskPlugin *= *task/none'; then
    # Where Slurm does not confine ranks to their cores, dn_dist divides them.
    bind=(--cpu-bind=cores)
fi

# A job that was queued again goes on from its checkpoints, however it was started.
if ((${SLURM_RESTART_COUNT:-0} > 0)) && compgen -G "$out/checkpoint-*.h5" >/dev/null; then
    options+=(--resume auto)
fi

# The newest checkpoint but that of a run's start.
newest() { compgen -G "$out/checkpoint-*[1-9]*.h5" | sort | tail -n 1 || true; }
before=$(newest)

# hosts = node:ranks,node:ranks...: the ranks in equal parts.
hosts= left=$ranks
for node in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do
    share=$(((left + nodes - 1) / nodes))
    ((share == 0)) || hosts+=${hosts:+,}$node:$share
    left=$((left - share)) nodes=$((nodes - 1))
done

# Seconds from the first task's end to that of the last, or Slurm ends it: a rank that could not
# start, for want of a library or of the program on its node, leaves the others in MPI_Init for ever.
# Ranks that run end together, or within --deadline of a lost one; four minutes more for one that a
# file says.
deadline=60
[[ " ${options[*]}" =~ .*\ --deadline[=\ ]([0-9]+) ]] && deadline=$((10#${BASH_REMATCH[1]}))

echo "$label on nodes: $SLURM_JOB_NUM_NODES, ranks: $ranks, threads a rank: $OMP_NUM_THREADS -> $out"
status=75
if [[ $asked == no ]]; then
    "$supervise" "$out" "$hosts" \
        srun --mpi="${SLURM_MPI_TYPE:-pmix}" --kill-on-bad-exit=0 --wait=$((deadline + 240)) "${bind[@]}" -- \
        dn_dist train "${options[@]}" &
    supervisor=$!
    [[ $asked == no ]] || stop # it came while the supervisor started
    # A signal ends `wait` early, so it is taken up again.
    while kill -0 $supervisor 2>/dev/null; do
        wait $supervisor || true
    done
    status=0
    wait $supervisor || status=$?
    # USR1 (10) before the supervisor could take it: nothing was started.
    [[ $status != 138 || $asked == no ]] || status=75
fi

if [[ $status == 75 && $requeue == yes ]]; then
    if [[ $(newest) == "$before" && ${SLURM_RESTART_COUNT:-0} -gt 0 ]]; then
        echo "$label: again no step since the job began, not queued again: is its time too short?" >&2
        exit 1
    fi
    echo "$label: saved before its end; queued again"
    # One task of an array has the array's id, which stands for all.
    job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
    exec scontrol requeue "${job:-$SLURM_JOB_ID}"
fi
exit $status
