# Shared by the tests that are scripts, which source it with the build folder as $1. Sets `build`, a
# temporary folder `tmp`, the folders of all tests and of the project, `tests` and `repo`, and defines the functions
# below. A test that cannot run exits with status 77, which ctest reports as skipped.
set -euo pipefail

build=$(cd "${1:?usage: TEST BUILD_FOLDER}" && pwd)
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
repo=${tests%/*}
tmp=$(mktemp -d)
tmp=$(cd "$tmp" && pwd -P)
trap 'rm -rf "$tmp"' EXIT
failures=0
unset DN_RECIPES DN_SOURCE_DIR DN_ISA OMP_NUM_THREADS OMP_PLACES http_proxy all_proxy SLURM_JOB_ID SLURM_JOB_END_TIME

if ((EUID == 0)); then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
export OMPI_MCA_btl_vader_single_copy_mechanism=none # containers forbid it
export OMPI_MCA_orte_tmpdir_base=$tmp                # Open MPI 4: tests at once race for a shared one
export OMP_WAIT_POLICY=passive                       # there are more threads than cores

# untried WHAT: reports a part that cannot be tested here; a failure if DN_ALL_TESTS is set.
untried() {
    echo "not tried: $*"
    [[ -z ${DN_ALL_TESTS:-} ]] || fail "expected all to be tried, as DN_ALL_TESTS is set"
}

# skip WHY: the same for the whole test, which ends.
skip() {
    untried "$*"
    exit $((failures > 0 ? 1 : 77))
}

# fail MESSAGE [FILE...]: counts a failure and shows the ends of the files.
fail() {
    echo "FAILED: $1"
    shift
    (($# == 0)) || tail -n 20 "$@" | sed 's/^/    /'
    failures=$((failures + 1))
}

finish() {
    ((failures == 0)) || echo "$failures failed"
    exit $((failures > 0))
}

# limited COMMAND...: runs it with a timeout, long enough for slow and busy machines.
limited() { timeout --kill-after=10 600 "$@"; }

# refusal PATTERN STATUS WHAT: checks that STATUS, that of a command, is 1, and that its standard
# error in `err` has, besides warnings, one line that matches bash's pattern; $ is the end of the
# line.
refusal() {
    local line
    sed -e '/^-----/,/^-----/d' -e '/^warning: /d' -e '/^$/d' err >line # without mpirun's boxes
    line=$(<line)
    (($2 == 1)) || fail "$3: found status $2, expected 1" err
    # shellcheck disable=SC2053
    [[ $(wc -l <line) == 1 && $line$ == "$program: "*$1* ]] || fail "$3: expected one line with \"$1\"" err
}

# refused PATTERN ARGUMENT...: $program must fail in this way, and leave no temporary file in the
# current folder. All of its output is in `out`.
refused() {
    local pattern=$1 status=0
    shift
    limited "$build/$program" "$@" >out 2>err || status=$?
    refusal "$pattern" $status "$program $*"
    [[ -z $(find . -name '*.partial' -o -name "$program.*") ]] || fail "$program $*: left temporary files"
    cat err >>out
}

# works ARGUMENT...: $program must succeed; its output is in `out` and `err`.
works() { limited "$build/$program" "$@" >out 2>err || fail "$program $*: found status $?, expected 0" out err; }

# accepted TEXT ARGUMENT...: it must also print TEXT; all output is in `out`.
accepted() {
    works "${@:2}"
    cat err >>out
    grep -qF -- "$1" out || fail "$program ${*:2}: expected \"$1\"" out
}

# printed PATTERN WHAT: `out` has a line that matches grep's PATTERN.
printed() { grep -q -- "$1" out || fail "$2: expected \"$1\"" out; }

# put FILE OFFSET BYTES: overwrites bytes of the file; BYTES is a format of printf.
put() { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

# flip FILE OFFSET: changes the byte there.
flip() { put "$1" "$2" "\\x$(printf %02x $(($(od -An -tu1 -j "$2" -N 1 "$1") ^ 255)))"; }

# await PID TEST...: waits until the command succeeds or the process has ended.
# After 10 minutes it fails, and kills the process.
await() {
    local end=$((SECONDS + 600))
    until "${@:2}" >"$tmp/awaited" || ! kill -0 "$1" 2>/dev/null; do
        ((SECONDS < end)) || { fail "waited 10 minutes for: ${*:2}" && kill -KILL "$1"; }
        sleep 0.01
    done
}

# decimal_commas: sets `commas` to the variables of a locale with decimal commas.
decimal_commas() {
    commas=(LOCPATH="$tmp" LC_ALL=de_DE.UTF-8)
    localedef -i de_DE -f UTF-8 "$tmp/de_DE.UTF-8" 2>/dev/null || untried "decimal commas: localedef failed (Debian: locales)"
}

# own_network ARGUMENT...: runs the test again, with its arguments, in a network of its own (hosts.sh).
# Sets `why_not` if the system refuses that.
own_network() {
    [[ -z ${DN_OWN_NETWORK:-} ]] || return 0
    ! why_not=$("$tests/support/hosts.sh" run true 2>&1) || {
        rm -rf "$tmp"
        exec "$tests/support/hosts.sh" run "$0" "$@"
    }
}

# on_ranks R COMMAND...
on_ranks() {
    local ranks=$1
    shift
    limited mpirun --oversubscribe --bind-to none -np "$ranks" "$@"
}

# find_python MODULE...: sets `python` to one that has the modules, or fails.
find_python() {
    local modules
    modules=$(IFS=, && echo "$*")
    for python in python3 /usr/bin/python3; do
        ! "$python" -c "import $modules" 2>/dev/null || return 0
    done
    return 1
}

# Sets `data` to the Fashion-MNIST records, made once for all tests of the build folder.
records() {
    data=$build/test-data/fashion_mnist
    [[ -d /usr/share/datasets/fashion-mnist ]] ||
        skip "Debian's package dataset-fashion-mnist is not installed"
    mkdir -p "$build/test-data"
    (
        flock 9
        [[ ! $data/dataset.json -nt $build/create_records ]] || exit 0
        rm -rf "$data"
        limited "$build/create_records" FASHION_MNIST --out "$data" >"$tmp/records" 2>&1 || {
            echo "FAILED: create_records FASHION_MNIST"
            cat "$tmp/records"
            exit 1
        }
    ) 9>"$build/test-data/lock"
}

# begin_dn_dist: tests dn_dist on the records, in the temporary folder, with the options `small` of a run.
begin_dn_dist() {
    records
    cd "$tmp"
    program=dn_dist
    small=(--model fashion-mnist-tiny --data "$data" --batch-size 4 --threads 1 --eval-every 0)
}

# train RANKS OUT OPTION...: the small net on the small data; output goes to OUT.log.
train() {
    local ranks=$1 out=$2
    shift 2
    on_ranks "$ranks" "$build/dn_dist" train --model fashion-mnist-tiny --data "$data" \
        --out "$out" --batch-size 4 --virtual-ranks 8 --eval-every 0 "$@" >>"$out.log" 2>&1
}

# last_hash OUT: the weights_hash of the run's last entry.
last_hash() {
    grep -oE '"weights_hash": *"[0-9a-f]{16}"' "$1/metrics.jsonl" | tail -n 1 | grep -oE '[0-9a-f]{16}'
}

# last_step OUT: the step of the newest checkpoint, without leading zeros.
last_step() {
    local path
    path=$(find "$1" -name 'checkpoint-*.h5' | sort | tail -n 1)
    [[ $path =~ checkpoint-0*([0-9]+)\.h5$ ]] && echo "${BASH_REMATCH[1]}"
}
