#!/usr/bin/env bash
# Resources of ranks on a node: a container for each (namespaces), a CPU quota, processors, memory.
# Parts that cannot be set up on this machine say so.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
records
dn_dist=$build/dn_dist
small=(bench --model fashion-mnist-tiny --batch-size 4 --steps 1 --warmup 0)
cores=$(lscpu -p=SOCKET,CORE | grep -v '^#' | sort -u | wc -l)
unset OMPI_MCA_btl_vader_single_copy_mechanism # as users have it

# shows WHAT PATTERN COMMAND...: a line of its output matches the pattern.
shows() {
    limited "${@:3}" >"$tmp/output" 2>&1 || fail "$1: status $?" "$tmp/output"
    grep -qE -e "$2" "$tmp/output" || fail "$1: expected '$2'" "$tmp/output"
}

# --- one container a rank -------------------------------------------------------------------------

train 2 "$tmp/plain" --max-steps 3 --threads 1 || fail "no container" "$tmp/plain.log"
for namespaces in '--user --map-root-user' '--user --map-root-user --pid --fork --mount-proc'; do
    if ! unshare $namespaces true 2>/dev/null; then
        untried "unshare $namespaces is not allowed here"
        continue
    fi
    out="$tmp/apart${namespaces//[- ]/}"
    on_ranks 2 unshare $namespaces "$dn_dist" train --model fashion-mnist-tiny --data "$data" \
        --out "$out" --batch-size 4 --virtual-ranks 8 --eval-every 0 --max-steps 3 --threads 1 \
        >"$out.log" 2>&1 || fail "unshare $namespaces" "$out.log"
    [[ $(last_hash "$out") == $(last_hash "$tmp/plain") ]] ||
        fail "unshare $namespaces: expected the same weights" "$out.log"
done

# --- shared memory between ranks ------------------------------------------------------------------

# opens WHAT COUNT MPIRUN-OPTION...: COUNT of 4 ranks open Open MPI's shared-memory transport.
opens() {
    local count status=0
    limited mpirun --mca btl_base_verbose 20 --bind-to none --oversubscribe -np 4 "${@:3}" \
        "$dn_dist" "${small[@]}" >"$tmp/output" 2>&1 || status=$?
    count=$(grep -cE 'init of component (vader|sm) returned success' "$tmp/output") || true
    [[ $status == 0 && $count == "$2" ]] ||
        fail "$1: expected $2 ranks with shared memory, found $count, status $status" "$tmp/output"
}
opens "one host" 4
printf '%s\n' '#!/usr/bin/env bash' 'exec unshare --uts bash -c "hostname $1 && ${*:2}"' >"$tmp/agent"
chmod +x "$tmp/agent"
if unshare --uts hostname other 2>/dev/null; then
    opens "two hosts" 4 --mca plm_rsh_agent "$tmp/agent" -H "$(hostname):2,other:2"
else
    untried "two hosts, as names of hosts are not this user's to give"
fi
apart=(unshare --user --map-root-user --pid --fork --mount-proc)
if "${apart[@]}" true 2>/dev/null; then
    opens "a container each" 0 "${apart[@]}"
    opens "a container each, with an init" 0 "${apart[@]}" sh -c '"$@"; exit $?' init
    offline=(unshare --net sh -c 'ip link set lo up && exec "$@"' -) # Open MPI 4 leaves lo out
    if "${offline[@]}" true 2>/dev/null; then
        shows "a container each, offline" "images/s" "${offline[@]}" mpirun --bind-to none --oversubscribe -np 2 \
            "${apart[@]}" "$dn_dist" "${small[@]}"
    else
        untried "a machine with lo alone: it needs root and ip"
    fi
else
    untried "a container each: ${apart[*]} is not allowed here"
fi

# A node may allow few connections at a time; passing the file needs none.
narrow='echo 2 >/proc/sys/net/core/somaxconn && ip link set lo up && exec "$@"'
if unshare --net sh -c "${narrow/exec*/true}" 2>/dev/null; then
    shows "8 ranks of one node" '8 ranks x' unshare --net sh -c "$narrow" - \
        mpirun --oversubscribe --bind-to none -np 8 "$dn_dist" "${small[@]}"
    ! grep 'share no memory' "$tmp/output" || fail "8 ranks of one node: expected shared memory" "$tmp/output"
else
    untried "a node that takes few connections, as networks are not this user's to make"
fi

# --- threads --------------------------------------------------------------------------------------

shows "one rank" "1 ranks x" "$dn_dist" "${small[@]}"
shows "one rank, without ssh" "1 ranks x" env PATH=/nonexistent "$dn_dist" "${small[@]}"
shows "OMP_THREAD_LIMIT" "1 ranks x 1 threads" env OMP_THREAD_LIMIT=1 "$dn_dist" "${small[@]}" --threads 2

# A line of standard error is one write, so that lines of processes are not mixed.
python3 - "$dn_dist" "${small[@]}" --threads $((cores + 1)) >"$tmp/output" 2>&1 <<'END' || fail "lines of standard error" "$tmp/output"
import os, subprocess, sys
read, write = os.pipe2(os.O_DIRECT)  # keeps writes apart
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=write, check=True)
os.close(write)
writes = list(iter(lambda: os.read(read, 4096), b""))
assert any(w.startswith(b"warning: rank 0 on") for w in writes) and all(w.endswith(b"\n") for w in writes), writes
END

# A container may have some of the machine's processors, or of their time.
is_part=$(($(nproc) != $(nproc --all)))
if grep -q "a CPU quota grants" "$tmp/output"; then
    is_part=1
    cat $(find /sys/fs/cgroup -name cpu.max -o -name cpu.cfs_quota_us) /dev/null >"$tmp/quotas" 2>&1 || true
    grep -qE '^[0-9]' "$tmp/quotas" || fail "found a CPU quota where no cgroup has one" "$tmp/output"
fi
each=$((cores > 1 ? cores / 2 : 1))
for value in '' 0 many; do
    ((!is_part)) || break
    shows "OMP_NUM_THREADS=$value" "2 ranks x $each threads" \
        env OMP_NUM_THREADS="$value" mpirun --oversubscribe --bind-to none -np 2 "$dn_dist" "${small[@]}"
done

if ((cores > 1 && !is_part)); then
    shows "mpirun's default binding" "^0 .* $cores +$cores +yes" mpirun -np 1 "$dn_dist" "${small[@]}"
    shows "threads that OpenMP binds" "^0 .* 1 +1 +yes" env OMP_PROC_BIND=true OMP_PLACES='{0}' \
        "$dn_dist" "${small[@]}" --pin off
    shows "a binding that was chosen" "$((cores - 1)) of the node's $cores cores stay idle" \
        mpirun -np 1 --bind-to core "$dn_dist" "${small[@]}"
else
    untried "threads or bindings, for lack of cores"
fi

# --- a CPU quota ----------------------------------------------------------------------------------

# Makes the group `group` with a quota of 1.5 processors.
make_group() {
    group=/sys/fs/cgroup/cpu/dn_test.$$
    [[ -d ${group%/*} ]] || group=/sys/fs/cgroup/dn_test.$$
    mkdir "$group" 2>/dev/null || return 1
    trap 'rmdir "$group"; rm -rf "$tmp"' EXIT
    if [[ -w $group/cpu.max ]]; then
        echo 150000 100000 >"$group/cpu.max"
    else
        echo 100000 >"$group/cpu.cfs_period_us" && echo 150000 >"$group/cpu.cfs_quota_us"
    fi 2>/dev/null
}
in_group() { (echo $BASHPID >"$group/cgroup.procs" && exec "$@"); }
# shows runs it in a process of its own
export -f in_group

if ((cores < 2 || is_part)) || ! make_group; then
    untried "a CPU quota, which this user or machine cannot set"
else
    export group
    shows "a quota, one rank" "1 ranks x 2 threads" bash -c 'in_group "$@"' - "$dn_dist" "${small[@]}"
    grep -q "a CPU quota grants 1 ranks of .* 1.50 processors" "$tmp/output" ||
        fail "a quota: expected a line" "$tmp/output"
    shows "a quota, two ranks" "2 ranks x 1 threads" bash -c 'in_group "$@"' - \
        mpirun --oversubscribe --bind-to none -np 2 "$dn_dist" "${small[@]}"
    shows "waiting under a quota" "GOMP_SPINCOUNT = '0'" bash -c 'in_group "$@"' - \
        env -u OMP_WAIT_POLICY OMP_DISPLAY_ENV=verbose "$dn_dist" "${small[@]}"
fi

# --- memory ---------------------------------------------------------------------------------------

status=0
on_ranks 2 "$dn_dist" bench --model densenet264 --size 224 --batch-size 65536 >"$tmp/output" 2>&1 ||
    status=$?
[[ $status == 1 ]] || fail "more than the memory: expected status 1, found $status" "$tmp/output"
[[ $(grep -cE '^dn_dist: .*2 ranks here need [0-9]+ bytes.*largest that fits is [0-9]+$' "$tmp/output") == 1 ]] ||
    fail "more than the memory: expected a line with the largest batch" "$tmp/output"

# The plan and the optimizer would fit, not what a checkpoint is built in.
narrow=/sys/fs/cgroup/memory/dn_test.$$
[[ -d ${narrow%/*} ]] || narrow=/sys/fs/cgroup/dn_test_memory.$$
if mkdir "$narrow" 2>/dev/null &&
    (echo 700M >"$narrow/memory.max" || echo 700M >"$narrow/memory.limit_in_bytes") 2>/dev/null; then
    status=0
    (echo $BASHPID >"$narrow/cgroup.procs" && exec "$dn_dist" train --model densenet-bc-190-40 --data "$data" \
        --out "$tmp/narrow" --batch-size 2 --max-steps 2 --eval-every 0 --threads 1) >"$tmp/output" 2>&1 || status=$?
    [[ $status == 1 ]] && grep -qE '^dn_dist: .*left to their cgroup' "$tmp/output" ||
        fail "a narrow cgroup: expected one line and status 1, found $status" "$tmp/output"
    # 15000 images of 15000 classes: counts of all pairs of classes would not fit, and are not kept.
    if find_python PIL; then
        cd "$tmp"
        "$python" -c 'import os
from PIL import Image
for shade in (0, 1):
    Image.new("L", (8, 8), 200 * shade).save(f"{shade}.png")
for i in range(30000):
    os.makedirs(folder := "many/%s/%05d" % (("train", "test")[i % 2], i // 2))
    os.link(f"{i // 2 % 2}.png", folder + "/a.png")' 2>"$tmp/output" &&
            limited "$build/create_records" FOLDER --source many --out many.records >"$tmp/output" 2>&1 &&
            limited "$dn_dist" train --model blocks=1,1:growth=4:stem=cifar --size 8 --data many.records --out many.run \
                --batch-size 2 --max-steps 1 --eval-every 0 --threads 1 >"$tmp/output" 2>&1 || fail "many classes" "$tmp/output"
        (echo $BASHPID >"$narrow/cgroup.procs" && exec "$dn_dist" eval many.run) >"$tmp/output" 2>&1 ||
            fail "eval of many classes: found status $?, expected 0" "$tmp/output"
    else
        untried "eval of many classes, for lack of python3-pil"
    fi
else
    untried "a memory limit, which this user or machine cannot set"
fi
for ((i = 0; i < 20; i++)); do # the kernel may still take pages back
    [[ -d $narrow ]] && ! rmdir "$narrow" 2>/dev/null && sleep 0.2
done
finish
