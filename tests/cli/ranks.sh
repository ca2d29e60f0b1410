#!/usr/bin/env bash
# Ranks of dn_dist: their threads, options that must be the same, and their kernels.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
begin_dn_dist

# --- how long idle threads spin -------------------------------------------------------------------

# spins ROUNDS VARIABLE=VALUE...: how long OpenMP's threads spin on a node of which srun grants one
# processor. libgomp tells, which OpenBLAS loads with any compiler.
spins() {
    limited env -u OMP_WAIT_POLICY -u OMP_NUM_THREADS OMP_DISPLAY_ENV=verbose SLURM_CPUS_ON_NODE=1 \
        SLURM_STEP_NUM_TASKS=2 "${@:2}" >out 2>&1 || fail "${*:2}" out
    [[ $(grep "GOMP_SPINCOUNT" out | tail -n 1) == *"= '$1'" ]] ||
        fail "${*:2}: expected $1 rounds" out
}
info=("$build/dn_dist" info --model fashion-mnist-tiny)
spins 20000 SLURM_STEP_NUM_NODES=2 "${info[@]}"
spins 0 SLURM_STEP_NUM_NODES=1 "${info[@]}"
spins 0 MPI_LOCALNRANKS=2 "${info[@]}" # MPICH
spins 0 SLURM_STEP_NUM_NODES=2 "${info[@]}" --threads 2
spins 0 SLURM_STEP_NUM_NODES=2 OMP_NUM_THREADS=2 "${info[@]}"
spins 30000000000 SLURM_STEP_NUM_NODES=1 OMP_WAIT_POLICY=active "${info[@]}"
spins 7 SLURM_STEP_NUM_NODES=1 GOMP_SPINCOUNT=7 "${info[@]}"

# --- steps longer than --deadline: a warning, and no rank counts as lost ---

# Rank 0 waits for rank 1, which has two of the three virtual ranks. Larger and larger batches, whatever the speed.
slow='^warning: rank [01] on host .* has been at (forward|backward), step 1, for [0-9]+ s'
for batch in 32 128 512; do
    on_ranks 2 "$build/dn_dist" train --model densenet-bc-100-12 --data "$data" --out slow-$batch --batch-size $batch \
        --threads 1 --virtual-ranks 3 --max-steps 1 --eval-every 0 --deadline 1 >out 2>err ||
        fail "steps longer than the deadline" out err
    [[ ! -e slow-$batch/lost.json ]] || fail "steps longer than the deadline: found lost.json" err
    ! grep -qE "$slow" err || break
done
grep -qE "$slow" err || fail "steps longer than the deadline: expected a warning" err

# --- spoiled weights: nothing is saved, and the checkpoint before them stays ---

# spoiled HOW PATTERN
spoiled() {
    local status=0
    SPOILED=$1 on_ranks 3 "$build/tests/dn_dist_spoiled" train "${small[@]}" --out "spoiled-$1" \
        --max-steps 2 --checkpoint-every 1 >out 2>err || status=$?
    refusal "$2" $status "spoiled weights, $1"
    [[ $(cd "spoiled-$1" && echo checkpoint-*) == checkpoint-00000001.h5 ]] || fail "spoiled weights, $1: $(ls "spoiled-$1")"
}
spoiled all "step 2: model/classifier.bias became non-finite in an update; *try a smaller --lr, from spoiled-all/checkpoint-00000001.h5$"
spoiled one "rank 1 on host *: weights differ between ranks: found *, expected * as on 2 of 3 ranks$"

# --- a rank that the launcher of another MPI library started ---

PMI_RANK=1 PATH=/nowhere "${info[@]}" >out 2>err && fail "a foreign launcher's rank 1 works" out
grep -q "its launcher gave it another rank" err || fail "a foreign launcher's rank 1" err

# --- ranks --------------------------------------------------------------------------------------

status=0
on_ranks 3 "$build/dn_dist" train "${small[@]}" --out run --virtual-ranks 2 \
    >out 2>err || status=$?
refusal "found 3 ranks, expected *; for 3: --virtual-ranks 4 --batch-size 2 --sync-bn$" $status \
    "more ranks than virtual ranks"
[[ ! -e run ]] || fail "more ranks than virtual ranks: left $(find run | xargs)"

# One rank cannot start a thread: the heartbeat's, without which the run continues, or the reader's.
few=("$build/tests/dn_dist_few_threads" train "${small[@]}" --max-steps 2 --virtual-ranks 2)
FEW_THREADS=2 on_ranks 2 "${few[@]}" --out few >out 2>err ||
    fail "no thread for the heartbeat" err
grep -q "^warning: .*the heartbeat cannot start: rank 1 .*cannot start its thread" err ||
    fail "no thread for the heartbeat: expected a warning" err
for ((i = 0; i < 3; i++)); do
    status=0
    FEW_THREADS=3 on_ranks 2 "${few[@]}" --batch-size 4096 --io-threads 1 --out run >out 2>err || status=$?
    refusal "rank 1 *threads: found 0" $status "no thread for a reader"
    rm -rf run
done

status=0
FEW_THREADS=0 on_ranks 2 "${few[@]}" --comm-thread on --out run >out 2>err || status=$?
refusal "--comm-thread on: found an MPI library without MPI_THREAD_SERIALIZED*" $status "no thread for MPI"
rm -rf run

# unlike WHAT PATTERN COMMAND... : COMMAND...: rank 0 runs the former, rank 1 the latter.
unlike() {
    local what=$1 pattern=$2 status=0 first=()
    shift 2
    while [[ $1 != : ]]; do
        first+=("$1")
        shift
    done
    on_ranks 1 "${first[@]}" : -np 1 "${@:2}" >out 2>err || status=$?
    refusal "$pattern" $status "$what"
    [[ ! -e run ]] || fail "$what: left $(find run | xargs)"
}
alike=("$build/dn_dist" train "${small[@]}" --max-steps 2 --out run)
other="as on rank 0, host *: all ranks take the same options"
unlike "virtual ranks" "rank 1 *'--virtual-ranks 6', expected '--virtual-ranks 4' $other" \
    "${alike[@]}" --virtual-ranks 4 : "${alike[@]}" --virtual-ranks 6
unlike "a default that is given" "'--lr 0.1', expected '--lr 0.1 (not given)' $other" \
    "${alike[@]}" : "${alike[@]}" --lr 0.1
unlike "commands" "command eval', expected 'dn_dist *, command train' $other" \
    "${alike[@]}" : "$build/dn_dist" eval none
sources=$("$build/dn_dist" --version | sed -n 's/^sources //p')
sed "s/$sources/0123456789abcdef/" "$build/dn_dist" >./patched
chmod +x ./patched
unlike "other sources" "sources 0123456789abcdef, command *, expected 'dn_dist *, sources $sources, * $other" \
    "${alike[@]}" : ./patched "${alike[@]:1}"
unlike "a command that is none" "rank 1 *found the command 'trian'" "${alike[@]}" : "$build/dn_dist" trian
printf 'seed = 1\n' >seed-1.ini
printf 'seed = 2\n' >seed-2.ini
unlike "configuration files" "'--seed 2 (in --config)', expected '--seed 1 (in --config)' $other" \
    "${alike[@]}" --config seed-1.ini : "${alike[@]}" --config seed-2.ini
unlike "a recipe and a configuration file" \
    "'--seed 1 (in --config)', expected '--seed 1 (in --recipe)' $other" \
    "${alike[@]}" --recipe ./seed-1.ini : "${alike[@]}" --config seed-1.ini
unlike "another --recipe" "'--recipe  (not given)', expected '--recipe /dev/null' $other" \
    "${alike[@]}" --recipe /dev/null : "${alike[@]}"
unlike "--stage on one rank" "'--stage DIR', expected '--stage DIR (not given)' $other" \
    "${alike[@]}" --deadline 0 : "${alike[@]}" --deadline 0 --stage stage
tiny=(--model fashion-mnist-tiny --deadline 5)
unlike "--data on one rank" "'--data DIR', expected '--data DIR (not given)' $other" \
    "$build/dn_dist" plan "${tiny[@]}" : "$build/dn_dist" plan "${tiny[@]}" --data "$data"
# Options that may differ, but not with these.
unlike "bench: --comm-thread on one rank" "rank 1 *--comm-thread: found it with --reader" \
    "$build/dn_dist" bench --reader --data "$data" --deadline 5 : \
    "$build/dn_dist" bench --reader --data "$data" --deadline 5 --comm-thread off
unlike "plan: --threads on one rank" "rank 1 *--threads: found it beside --profile" \
    "$build/dn_dist" plan --profile none.json --deadline 5 : \
    "$build/dn_dist" plan --profile none.json --deadline 5 --threads 1
has_kernels() { limited "$build/dn_dist" info --model fashion-mnist-tiny; } >out 2>&1
if DN_ISA=avx2 has_kernels; then
    unlike "kernels" "rank 1 *: found kernels avx2, expected those of rank 0 *, generic, or * --isa [a-z]" \
        "${alike[@]}" --isa generic : "${alike[@]}" --isa avx2
fi
if DN_ISA=avx512 has_kernels; then # which comes to the same bits as avx2
    hashes=
    for isa in avx2 avx512; do
        both=("${alike[@]:0:${#alike[@]}-1}" "beside-$isa")
        on_ranks 1 "${both[@]}" --isa $isa --threads 2 : -np 1 "${both[@]}" --isa avx512 \
            >out 2>err || fail "$isa beside avx512" err
        hashes+=" $(last_hash "beside-$isa")"
    done
    [[ $hashes =~ ^\ ([0-9a-f]+)\ ([0-9a-f]+)$ && ${BASH_REMATCH[1]} == "${BASH_REMATCH[2]}" ]] ||
        fail "avx2 beside avx512: expected one hash, found$hashes"
fi
if DN_ISA=avx512_bf16 has_kernels; then
    unlike "products in bf16" "found kernels avx512_bf16, expected those of rank 0 *, avx512, or" \
        "${alike[@]}" --dtype bf16 --isa avx512 : "${alike[@]}" --dtype bf16 --isa avx512_bf16
fi

# resumes ISA STEPS OPTION...: a run on 2 ranks, which the next call resumes.
resumes() {
    on_ranks 2 "$build/dn_dist" train "${small[@]}" --out kernels --isa "$1" --max-steps "$2" \
        "${@:3}" >out 2>err || fail "resuming with kernels $1" err
    warned=$(grep "was trained with kernels" err) || warned=
}
if DN_ISA=avx2 has_kernels; then
    resumes generic 1
    resumes avx2 2
    [[ $warned == "warning: kernels/checkpoint-00000001.h5 was trained with kernels generic, the run continues \
with vectors: its weights will not be those of a run left alone; --isa generic keeps them" ]] ||
        fail "other kernels: found '$warned', expected a warning" err
    resumes avx2 3
    [[ -z $warned ]] || fail "the same kernels: found '$warned'"
fi
if DN_ISA=avx512 has_kernels; then
    resumes avx512 4
    [[ -z $warned ]] || fail "kernels of the same bits: found '$warned'"
    resumes generic 5
    [[ $warned == *" kernels vectors, the run continues with generic: "*"; --isa avx512 keeps them" ]] ||
        fail "from vectors to plain loops: found '$warned', expected a warning" err
fi
if DN_ISA=avx512_bf16 has_kernels; then
    resumes avx512_bf16 6 --dtype bf16
    [[ -z $warned ]] || fail "another --dtype, which is warned of: found '$warned'"
    resumes avx512 7 --dtype bf16
    [[ $warned == *" kernels avx512_bf16, the run continues with vectors: "*"; --isa avx512_bf16 keeps them" ]] ||
        fail "products in bf16: found '$warned', expected a warning" err
fi
DN_ISA=nonsense refused "isa (or DN_ISA): found nonsense" "${alike[@]:1}"
DN_ISA=nonsense limited "${alike[@]:0:${#alike[@]}-1}" chosen --isa generic \
    --augment resize:28,pad-crop:2 >out 2>err ||
    fail "--isa before DN_ISA, for images, too" err
finish
