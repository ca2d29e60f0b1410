#!/usr/bin/env bash
# What the Slurm scripts ask of srun, and what they do with signals and lost ranks. All commands but
# dn_dist, which tells what its options come to, are replaced by stand-ins that write down how they
# were called; the machine has 2 NUMA domains of 4 cores with 2 hardware threads each. e2e/slurm.sh
# and soak.sh test with a real Slurm.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
calls=$tmp/calls
mkdir "$tmp/bin" "$tmp/spool folder"
cd "$tmp"
export calls repo tmp PATH=$tmp/bin:$PATH

stand_in() {
    { echo '#!/usr/bin/env bash'; cat; } >"$tmp/bin/$1"
    chmod +x "$tmp/bin/$1"
}
ln -s "$build/dn_dist" "$tmp/bin/dn_dist"
stand_in lscpu <<'EOF'
case $1 in
-p=NODE) printf '%s\n' '# comment' 0 0 0 0 0 0 0 0 1 1 1 1 1 1 1 1 ;;
-p=SOCKET,CORE) printf '%s\n' '# comment' 0,{0..3} 0,{0..3} 1,{4..7} 1,{4..7} ;;
esac
EOF
stand_in scontrol <<'EOF'
case $* in
"show job "*) echo "   Command=${submitted:-$repo/slurm/script.sh with an argument}"; echo "scontrol $*" >>"$calls"
    [[ -z ${early:-} ]] || kill -USR1 $(ps -o ppid= $PPID) ;;
"show hostnames "*) printf '%s\n' ${3} ;;
"show config") echo "TaskPlugin              = ${task_plugin:-task/affinity}" ;;
*) echo "scontrol $*" >>"$calls"; [[ -z ${no_requeue:-} ]] ;;
esac
EOF
stand_in sleep <<<'[[ $1 != 0.* ]] || exec /bin/sleep "$@"' # pauses take no time
stand_in squeue <<'EOF'
case $* in
*--format=%e) [[ $SLURM_TIME_FORMAT == standard ]] && echo "${job_end:-NONE}"; echo "squeue $*" >>"$calls" ;;
*) echo 7.0 bash; echo "7.1 $(cat "$tmp/step")"; echo 7.batch batch ;;
esac
EOF
stand_in scancel <<<'echo "scancel $*" >>"$calls"; kill -KILL $(cat "$tmp/srun.pid")'
# Runs the n-th word of `course`: a status; loss: a rank is lost; hang: and the step does not end;
# error: status 1 after a checkpoint; refused: the same, but the checkpoint is another run's; saved:
# status 75 after one; early: a loss before metrics.jsonl is written, which else has as many virtual
# ranks as are asked for by name, or ranks. Node `dead` does not answer, `busy` not the first time.
stand_in srun <<'EOF'
if [[ ${*: -1} == true ]]; then
    [[ $* != *"--nodelist=${busy:-none} "* ]] || ! mkdir "$tmp/was-busy" || exit 1
    [[ $* != *"--nodelist=${dead:-none}"* ]]
    exit
fi
echo $$ >"$tmp/srun.pid"
[[ $* != *--job-name=* ]] || echo "$*" | sed 's/.*--job-name=\([^ ]*\).*/\1/' >"$tmp/step"
all=${*//--out=/--out } && out=${all##*--out } out=${out%% --*}
mkdir -p "$out"
[[ ${course:-} == refused* ]] || echo "n1 $$" >"$out/lock"
trap 'echo "srun got USR1" >>"$calls"; save; exit "${signal_status:-75}"' USR1
save() { touch "$out/checkpoint-$((100000000 + RANDOM)).h5"; }
echo "cpus=$SRUN_CPUS_PER_TASK threads=$OMP_NUM_THREADS fence=$SLURM_PMIX_FENCE end=${SLURM_JOB_END_TIME:-none}" >>"$calls"
printf '[%s]' "$@" >>"$calls"
echo "[ntasks-per-node ${SLURM_NTASKS_PER_NODE:-not set}]" >>"$calls"
for ((i = 0; i < ${tenths:-0}; i++)); do sleep 0.1; done
read -ra course <<<"${course:-0}"
turn=${course[$(grep -c ^cpus= "$calls") - 1]:-0}
[[ $turn != loss && $turn != early && $turn != hang ]] || echo '{"rank": 1}' >"$out/lost.json"
[[ $all =~ (ntasks=|-np )([0-9]+) ]] && ranks=${BASH_REMATCH[2]}
[[ ! $all =~ .*--virtual[-_]ranks[=\ ]([0-9]+) ]] || ranks=${BASH_REMATCH[1]}
[[ $turn == early ]] ||
    echo '{"kind": "run", "config": {"lr": "0.1", "virtual-ranks": "'$ranks'"}}' >"$out/metrics.jsonl"
case $turn in
loss | early) exit 76 ;;
hang) exec /bin/sleep 60 ;;
error | refused) save && exit 1 ;;
saved) save && exit 75 ;;
*) exit "$turn" ;;
esac
EOF
ln -s srun "$tmp/bin/mpirun"

job=(SLURM_JOB_ID=7 SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=n1 SLURM_CPUS_ON_NODE=16)
two_nodes=(SLURM_JOB_NUM_NODES=2 'SLURM_JOB_NODELIST=n1 n2')

# submit SCRIPT VARIABLE=VALUE...: runs a copy of it with `arguments`, as sbatch does.
arguments=()
submit() {
    local script=$1
    shift
    : >"$calls"
    cp "$repo/slurm/$script.sh" "$tmp/spool folder/slurm_script"
    limited env "${job[@]}" "$@" \
        bash "$tmp/spool folder/slurm_script" "${arguments[@]}" >"$tmp/out" 2>&1
}

# catches_term PROCESS: it has a trap for SIGTERM, which the scripts set last.
catches_term() {
    local mask
    mask=$(sed -n 's/^SigCgt:[[:space:]]*/0x/p' "/proc/$1/status") && ((mask >> 14 & 1))
}

# signalled SIGNAL VARIABLE=VALUE...: sets `status` to that of a job that gets the signal.
signalled() {
    local signal=$1 shell
    shift
    : >"$calls"
    cp "$repo/slurm/densenet121.sh" "$tmp/spool folder/slurm_script"
    env "${job[@]}" tenths=6000 "$@" \
        bash "$tmp/spool folder/slurm_script" >"$tmp/out" 2>&1 &
    shell=$!
    until grep -q ntasks "$calls" && catches_term $shell || ! kill -0 $shell; do sleep 0.1; done
    kill -"$signal" $shell
    status=0
    wait $shell || status=$?
}

called() { # DESCRIPTION TEXT
    grep -qF -e "$2" "$calls" || fail "$1: expected a call with '$2', found:" "$calls" "$tmp/out"
}
called_with() { # DESCRIPTION TEXT TIMES
    [[ $(grep -cF -e "$2" "$calls") == "$3" ]] ||
        fail "$1: expected $3 calls with '$2', found:" "$calls" "$tmp/out"
}
not_called() { # DESCRIPTION TEXT
    ! grep -qF -e "$2" "$calls" || fail "$1: expected no call with '$2', found:" "$calls"
}

submit densenet121 || fail "densenet121" "$tmp/out"
called "one rank per NUMA domain" '[--nodes=1][--ntasks=2]'
called "a model's options" "[train][--model][densenet121][--out][runs/densenet121]["
called "a thread per core" 'cpus=8 threads=4 fence=ring'
called "bound" '[--cpu-bind=cores]'
called "ranks per node" '[ntasks-per-node 2]'

printf '[train]\nlr = 0.1\n' >'my own.ini'
arguments=(--recipe 'my own.ini' --lr 0.3)
submit train || fail "a recipe" "$tmp/out"
called "a recipe" '[train][--recipe][my own.ini][--lr][0.3][--out][runs/my_own]['
not_called "a recipe" '[--model]'
# The supervisor watches the folder that dn_dist uses: a loss is seen there.
for option in '--out other' '--out=other'; do
    arguments=(--model densenet169 --out=mine)
    submit train DN_OUT=theirs DN_ARGS="$option" course='loss 0' DN_MAX_FAILURES=0 ||
        [[ $? == 76 ]] || fail "$option: expected status 76" "$tmp/out"
    grep -q -- '-> other$' "$tmp/out" && grep -q '"rank": 1' "$tmp/out" ||
        fail "$option: expected a loss in the folder other" "$tmp/out"
done
submit train DN_OUT=theirs || fail "the script's own --out" "$tmp/out"
grep -q -- '-> mine$' "$tmp/out" || fail "the script's own --out: expected mine" "$tmp/out"
arguments=()
! submit train || fail "no name: expected a failure" "$tmp/out"
not_called "no name" ntasks
grep -q 'name --recipe, --model or --out' "$tmp/out" || fail "no name: expected a line" "$tmp/out"

submit densenet121 "${two_nodes[@]}" SLURM_NTASKS=2 SLURM_NTASKS_PER_NODE=1 \
    SLURM_CPUS_PER_TASK=1 || fail "overrides" "$tmp/out"
called "overrides" '[--nodes=2][--ntasks=2]'
called "overrides" 'cpus=1 threads=1'

submit densenet121 SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=3 || fail "a task's folder" "$tmp/out"
called "a task's folder" '[--out][runs/densenet121-3]'
submit densenet121 SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=3 DN_ARGS='--out runs/many --seed %a' || fail "a task's seed" "$tmp/out"
called "a task's seed" '[--seed][3][--out][runs/many-3]'
submit densenet121 DN_ARGS='--learning-rat 1' && fail "a wrong option: expected a failure" "$tmp/out"
not_called "a wrong option" ntasks
grep -q "^dn_dist: --learning-rat: .*did you mean" "$tmp/out" || fail "a wrong option: expected a line" "$tmp/out"

submit densenet121 "${two_nodes[@]}" SLURM_NTASKS=3 || fail "--ntasks alone" "$tmp/out"
called "--ntasks alone" '[--nodes=2][--ntasks=3]'
called "--ntasks alone" '[ntasks-per-node not set]'

submit densenet121 DN_DATA='my data' DN_OUT='my run' DN_ARGS='--epochs 3  --lr 0.2' ||
    fail "variables" "$tmp/out"
called "variables" '[--data][my data][--out][my run][--model][densenet121][--epochs][3][--lr][0.2][--out][my run]['
called "variables" '[--kill-on-bad-exit=0][--wait=300]'
decimal_commas
for deadline in '--deadline 5 --deadline 090' '--deadline=90.75'; do
    submit densenet121 DN_ARGS="$deadline" "${commas[@]}" || fail "$deadline" "$tmp/out"
    called "$deadline" '[--wait=330]'
done

for submitted in ../slurm/script.sh ./script.sh; do
    folder=$repo/slurm
    [[ $submitted != ../* ]] || folder=$repo/tests
    submit densenet121 submitted="$submitted" SLURM_SUBMIT_DIR="$folder" ||
        fail "submitted as $submitted" "$tmp/out"
    called "submitted as $submitted" '[train]'
done

submit densenet121 task_plugin=task/none || fail "without binding" "$tmp/out"
not_called "without binding" 'cpu-bind'

signalled USR1
called "USR1" 'srun got USR1'
called "USR1" 'scontrol requeue 7'

early=yes submit densenet121 || fail "USR1 at the script's start: status $?" "$tmp/out"
called "USR1 at the script's start" 'scontrol requeue 7'
not_called "USR1 at the script's start" ntasks

signalled USR1 signal_status=0
called "USR1, but the run had ended" 'srun got USR1'
not_called "USR1, but the run had ended" requeue
[[ $status == 0 ]] || fail "USR1, but the run had ended: expected status 0, found $status"

signalled TERM
called "TERM" 'srun got USR1'
not_called "TERM" requeue
[[ $status == 75 ]] || fail "TERM: expected srun's status 75, found $status"

# after DESCRIPTION STATUS STEPS VARIABLE=VALUE...: a job whose steps take the course ends with the
# status after so many steps.
after() {
    local what=$1 expected=$2 steps=$3 status=0 found
    shift 3
    rm -rf "$tmp/run"
    submit densenet121 "${two_nodes[@]}" DN_OUT="$tmp/run" "$@" || status=$?
    found=$(grep -c ntasks= "$calls")
    ((status == expected && found == steps)) ||
        fail "$what: expected status $expected after $steps steps, found $status after $found" "$tmp/out"
}
after "a killed rank" 0 2 course='137 0'
called "a killed rank" '[--nodelist=n1,n2][--nodes=2][--ntasks=4]'
after "a lost rank" 0 3 course='loss loss 0'
not_called "a lost rank" '--resume'
after "a lost node" 0 2 course='loss 0' dead=n1
called "a lost node" '[--nodelist=n2][--nodes=1][--ntasks=2]'
called_with "a lost node" '[--virtual-ranks][4]' 1
after "a busy node" 0 2 course='loss 0' busy=n1
called_with "a busy node" '[--nodelist=n1,n2][--nodes=2][--ntasks=4]' 2
after "nodes lost one by one" 0 3 course='loss loss 0' dead=n1
called_with "nodes lost one by one" '[--virtual-ranks][4]' 2
after "a node lost before the run began" 0 2 course='early 0' dead=n1
not_called "a node lost before the run began" virtual-ranks
after "all nodes lost" 76 1 course='loss 0' dead='n'
after "a step that does not end" 0 2 course='hang 0' DN_GRACE=1
called "a step that does not end" 'scancel --signal=KILL 7.1'
not_called "a step that does not end" 'KILL 7.0'
after "too many losses" 76 4 course='loss loss loss loss loss'
after "no loss is borne" 76 1 course='loss loss' DN_MAX_FAILURES=0
after "an error at the start" 1 1 course='1 0'
after "an error on the way" 0 2 course='error 0' DN_ARGS='--resume none'
called "an error on the way" "[--resume][none][--out][$tmp/run][--virtual-ranks][4][--resume][auto]"
after "another run at work in the folder" 1 1 course='refused 0'
after "an error that stays" 1 2 course='error 1'
after "saved at --time-limit" 0 1 course='saved'
called "saved at --time-limit" 'scontrol requeue 7'
after "no step before its end" 0 1 course='75'
called "no step before its end" 'scontrol requeue 7'
after "a task of an array" 0 1 course='75' SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=3
called "a task of an array" '--jobs=7_3 --format=%e'
called "a task of an array" 'scontrol requeue 7_3'
after "a job that Slurm does not queue again" 75 1 course='75' no_requeue=yes
grep -q ': not queued again' "$tmp/out" || fail "a job that Slurm does not queue again: expected a line" "$tmp/out"
# The job's end: from Slurm's environment, else from squeue; a job without a limit has none.
for end in SLURM_JOB_END_TIME=$(($(date +%s) + 900)) job_end=$(date -d '+15 min' +%FT%T) job_end=N/A; do
    after "again no step, but time was left: $end" 0 1 course='75' SLURM_RESTART_COUNT=1 "$end"
    called "again no step, but time was left: $end" 'scontrol requeue 7'
done
called "no limit" ' end=none'
for end in SLURM_JOB_END_TIME=$(($(date +%s) + 90)) job_end=$(date -d '+90 sec' +%FT%T); do
    after "again no step before its end: $end" 1 1 course='75' SLURM_RESTART_COUNT=1 "$end"
    not_called "again no step before its end: $end" requeue
    grep -q 'no step since' "$tmp/out" || fail "again no step before its end: expected a line" "$tmp/out"
done
submit densenet121 job_end=2030-01-02T03:04:05 || fail "the job's end" "$tmp/out"
called "the job's end" " end=$(date -d 2030-01-02T03:04:05 +%s)"
submit densenet121 "${two_nodes[@]}" DN_OUT="$tmp/run" DN_ARGS='--resume none' SLURM_RESTART_COUNT=1
not_called "queued again, no checkpoint" auto
touch "$tmp/run/checkpoint-00000001.h5"
submit densenet121 "${two_nodes[@]}" DN_OUT="$tmp/run" DN_ARGS='--resume none' SLURM_RESTART_COUNT=1
called "queued again" "[--resume][none][--out][$tmp/run][--resume][auto]"
not_called "queued again" virtual-ranks
echo '{"kind": "run", "config": {"virtual-ranks": "1"}}' >"$tmp/run/metrics.jsonl"
submit densenet121 "${two_nodes[@]}" DN_OUT="$tmp/run" || fail "more nodes than virtual ranks" "$tmp/out"
called "more nodes than virtual ranks" '[--nodelist=n1][--nodes=1][--ntasks=1]'
submit densenet121 "${two_nodes[@]}" DN_OUT=fresh DN_ARGS='--virtual-ranks 3' || fail "3 virtual ranks" "$tmp/out"
called "3 virtual ranks" '[--nodes=2][--ntasks=3]'
printf '[train]\nlr = 0.1\nvirtual-ranks = 1 ; as one device\n' >"$tmp/small.ini"
submit densenet121 "${two_nodes[@]}" DN_OUT=fresh DN_ARGS="--recipe $tmp/small.ini" || fail "a recipe of one" "$tmp/out"
called "a recipe of one virtual rank" '[--nodelist=n1][--nodes=1][--ntasks=1]'
# The user's recipes come before the project's, and name folders, too.
mkdir own
printf '[train]\nvirtual-ranks = 3\nout = runs/from-recipe\n' >own/cifar10-paper.ini
arguments=(--recipe cifar10-paper)
submit train "${two_nodes[@]}" DN_RECIPES="$tmp/own" || fail "a recipe of \$DN_RECIPES" "$tmp/out"
called "a recipe of \$DN_RECIPES" '[--nodes=2][--ntasks=3]'
called "a recipe of \$DN_RECIPES" '[--out][runs/from-recipe]'
arguments=()
mkdir old
touch old/checkpoint-99999999.h5
submit densenet121 DN_OUT=old course='error 0' || fail "9 digits come after 8" "$tmp/out"
called_with "9 digits come after 8" '[--out][old]' 2
# A folder's name is no pattern.
mkdir 'lr[0.1]'
touch 'lr[0.1]/checkpoint-00000001.h5'
submit densenet121 DN_OUT='lr[0.1]' DN_ARGS='--resume none' SLURM_RESTART_COUNT=1 || fail "lr[0.1]" "$tmp/out"
called "lr[0.1]" '[--resume][none][--out][lr[0.1]][--resume][auto]'
submit densenet121 "${two_nodes[@]}" DN_OUT=fresh DN_ARGS="--virtual_ranks 3 --recipe $tmp/small.ini" ||
    fail "3 for a recipe of one" "$tmp/out"
called "an option before the recipe's" '[--nodes=2][--ntasks=3]'

# supervised OPTION...: with mpirun, 1 rank on host a and 2 on b, which dies; then 1.
supervised() {
    : >"$calls"
    rm -f "$tmp/run/lost.json"
    limited env course="${course:-loss 0}" DN_CHECK='test b !=' "$repo/scripts/supervise.sh" "$tmp/run" \
        a:1,b:2 mpirun -- dn_dist train "$@" --out "$tmp/run" >"$tmp/out" 2>&1 ||
        fail "supervised $*" "$tmp/out"
    called "supervised $*" '[--host][a:1][-np][1]'
}
keeps_3="[$tmp/run][--virtual-ranks][3]"
supervised
called_with "a new run" "$keeps_3" 1
supervised --resume none
called_with "what an earlier run wrote" "$keeps_3" 1
for own in --virtual-ranks=8 --virtual_ranks=8 '--virtual_ranks 8'; do
    supervised $own
    called_with "$own" "[$tmp/run][--virtual-ranks][8]" 1
done
course='early 0' supervised
not_called "what an earlier run wrote, before the run began" virtual-ranks

if limited env -u SLURM_JOB_ID DN_HOME="$repo" bash "$repo/slurm/densenet121.sh" >"$tmp/out" 2>&1; then
    fail "outside of Slurm: expected a failure"
fi
grep -q sbatch "$tmp/out" || fail "outside of Slurm: expected a word about sbatch" "$tmp/out"
# sbatch copies each to its spool, so both hold the lines that find common.sh.
diff <(sed '2,3d;$d' "$repo/slurm/train.sh") <(sed '2,3d;$d' "$repo/slurm/densenet121.sh") >"$tmp/out" ||
    fail "train.sh and densenet121.sh differ in more than a name and a model" "$tmp/out"
finish
