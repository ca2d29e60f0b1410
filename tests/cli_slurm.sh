#!/usr/bin/env bash
# What the Slurm scripts ask of srun, and what they do with signals. Slurm's commands are replaced
# by stand-ins that write down how they were called; the machine has 2 NUMA domains of 4 cores with
# 2 hardware threads each.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
calls=$tmp/calls
mkdir "$tmp/bin" "$tmp/spool folder"
export calls repo PATH=$tmp/bin:$PATH

stand_in() {
    { echo '#!/usr/bin/env bash'; cat; } >"$tmp/bin/$1"
    chmod +x "$tmp/bin/$1"
}
stand_in dn_dist <<<''
stand_in lscpu <<'EOF'
case $1 in
-p=NODE) printf '%s\n' '# comment' 0 0 0 0 0 0 0 0 1 1 1 1 1 1 1 1 ;;
-p=SOCKET,CORE) printf '%s\n' '# comment' 0,{0..3} 0,{0..3} 1,{4..7} 1,{4..7} ;;
esac
EOF
stand_in scontrol <<'EOF'
case $* in
"show job "*) echo "   Command=$repo/slurm/script.sh with an argument" ;;
"show config") echo "TaskPlugin              = ${task_plugin:-task/affinity}" ;;
*) echo "scontrol $*" >>"$calls" ;;
esac
EOF
stand_in srun <<'EOF'
trap 'echo "srun got USR1" >>"$calls"; exit "${signal_status:-75}"' USR1
echo "cpus=$SRUN_CPUS_PER_TASK threads=$OMP_NUM_THREADS" >>"$calls"
printf '[%s]' "$@" >>"$calls"
echo "[ntasks-per-node ${SLURM_NTASKS_PER_NODE:-not set}]" >>"$calls"
for ((i = 0; i < ${tenths:-0}; i++)); do sleep 0.1; done
EOF

# submit SCRIPT VARIABLE=VALUE...: runs a copy of it, as sbatch does.
submit() {
    local script=$1
    shift
    : >"$calls"
    cp "$repo/slurm/$script.sh" "$tmp/spool folder/slurm_script"
    limited env SLURM_JOB_ID=7 SLURM_JOB_NUM_NODES=1 SLURM_CPUS_ON_NODE=16 "$@" \
        bash "$tmp/spool folder/slurm_script" >"$tmp/out" 2>&1
}

# signalled SIGNAL VARIABLE=VALUE...: sets `status` to that of a job that gets the signal.
signalled() {
    local signal=$1 job
    shift
    : >"$calls"
    cp "$repo/slurm/densenet121.sh" "$tmp/spool folder/slurm_script"
    env SLURM_JOB_ID=7 SLURM_JOB_NUM_NODES=1 SLURM_CPUS_ON_NODE=16 tenths=100 "$@" \
        bash "$tmp/spool folder/slurm_script" >"$tmp/out" 2>&1 &
    job=$!
    until grep -q ntasks "$calls"; do sleep 0.1; done
    sleep 0.3
    kill -"$signal" $job
    status=0
    wait $job || status=$?
}

called() { # DESCRIPTION TEXT
    grep -qF -e "$2" "$calls" || fail "$1: expected a call with '$2', found:" "$calls" "$tmp/out"
}
not_called() { # DESCRIPTION TEXT
    ! grep -qF -e "$2" "$calls" || fail "$1: expected no call with '$2', found:" "$calls"
}

for script in densenet121 densenet169 densenet201 densenet264 densenet-bc-100-12; do
    submit $script || fail "$script" "$tmp/out"
    called "$script: one rank per NUMA domain" '[--nodes=1][--ntasks=2]'
    called "$script: options" "[train][--model][$script][--data][data/cifar10][--out][runs/$script]["
    called "$script: a thread per core" 'cpus=8 threads=4'
    called "$script: bound" '[--cpu-bind=cores]'
    called "$script: ranks per node" '[ntasks-per-node 2]'
done

submit densenet121 SLURM_JOB_NUM_NODES=2 SLURM_NTASKS=2 SLURM_NTASKS_PER_NODE=1 \
    SLURM_CPUS_PER_TASK=1 || fail "overrides" "$tmp/out"
called "overrides" '[--nodes=2][--ntasks=2]'
called "overrides" 'cpus=1 threads=1'

submit densenet121 SLURM_JOB_NUM_NODES=2 SLURM_NTASKS=3 || fail "--ntasks alone" "$tmp/out"
called "--ntasks alone" '[--nodes=2][--ntasks=3]'
called "--ntasks alone" '[ntasks-per-node not set]'

submit densenet121 DN_DATA='my data' DN_OUT='my run' DN_ARGS='--epochs 3  --lr 0.2' ||
    fail "variables" "$tmp/out"
called "variables" '[--data][my data][--out][my run][--epochs][3][--lr][0.2]['

submit densenet121 task_plugin=task/none || fail "without binding" "$tmp/out"
not_called "without binding" 'cpu-bind'

signalled USR1
called "USR1" 'srun got USR1'
called "USR1" 'scontrol requeue 7'

signalled USR1 signal_status=0
called "USR1, but the run had ended" 'srun got USR1'
not_called "USR1, but the run had ended" requeue
[[ $status == 0 ]] || fail "USR1, but the run had ended: expected status 0, found $status"

signalled TERM
called "TERM" 'srun got USR1'
not_called "TERM" requeue
[[ $status == 75 ]] || fail "TERM: expected srun's status 75, found $status"

if limited env -u SLURM_JOB_ID DN_HOME="$repo" bash "$repo/slurm/densenet121.sh" >"$tmp/out" 2>&1; then
    fail "outside of Slurm: expected a failure"
fi
grep -q sbatch "$tmp/out" || fail "outside of Slurm: expected a word about sbatch" "$tmp/out"
finish
