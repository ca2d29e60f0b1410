# Sourced after lib.sh and own_network by tests of a real Slurm, which ends with that network. Its
# nodes n1, n2, ... are all this machine; a Slurm that the machine has does not see it.

# Skips the test where no Slurm can be started.
need_slurm() {
    if [[ -z ${DN_OWN_NETWORK:-} ]]; then # the kernel's choice, not a missing package
        echo "not tried: the system refuses a network: $why_not"
        exit 77
    fi
    [[ $(</proc/self/setgroups) == allow ]] || skip "needs root, for slurmd"
    hash slurmctld slurmd sbatch 2>/dev/null ||
        skip "needs Slurm (Debian's packages slurmctld, slurmd and slurm-client)"
}

# start_slurm NODES CPUS: starts it in the folder $tmp/slurm, with so many CPUs on each node. Links
# to the build and the scripts are in $tmp/home, as the scripts look for a build beside them.
start_slurm() {
    local folder=$tmp/slurm i
    mkdir -p "$folder/state" "$tmp/home"
    ln -s "$repo/slurm" "$repo/scripts" "$tmp/home"
    ln -s "$build" "$tmp/home/build"
    export SLURM_CONF=$folder/slurm.conf
    export OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=lo # the nodes share files, not memory
    cat >"$SLURM_CONF" <<EOF
ClusterName=tests
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
AuthType=auth/none
CredType=cred/none
StateSaveLocation=$folder/state
SlurmctldPidFile=$folder/slurmctld.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdSpoolDir=$folder/%n
SlurmdPidFile=$folder/%n.pid
SlurmdLogFile=$folder/%n.log
SlurmdParameters=config_overrides
TmpFS=$folder/%n.tmp
ProctrackType=proctrack/pgid
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName=n[1-$1] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[7001-$((7000 + $1))] CPUs=$2
PartitionName=all Nodes=ALL Default=YES
EOF
    slurmctld
    for ((i = 1; i <= $1; i++)); do
        mkdir "$folder/n$i.tmp"
        slurmd -N "n$i"
    done
    for ((i = 0; i < 300; i++)); do
        [[ $(sinfo --noheader --states=idle --format=%D 2>/dev/null) != "$1" ]] || return 0
        sleep 0.1
    done
    fail "Slurm: expected $1 idle nodes" "$folder"/*.log
    finish
}

job_state() { squeue --noheader --states=all --jobs="$1" --format=%T; }
is_pending() { [[ $(job_state "$1") == PENDING ]]; }
is_over() { [[ $(job_state "$1") == @(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL) ]]; }

# start_now ID [LIMIT]: starts a job that was queued again, which Slurm does after two minutes. A node
# refuses it in the second in which its last start ended.
start_now() {
    sleep 2
    scontrol update JobId="$1" StartTime=now ${2:+TimeLimit="$2"}
}

# The processes of the run.
ranks() { pgrep --exact --runstates D,R,S,T dn_dist || true; }
has_no_ranks() { [[ -z $(ranks) ]]; }

# until_or_fail SECONDS WHAT COMMAND...: waits until COMMAND succeeds. If it does not, shows the end of
# $log and ends the test.
until_or_fail() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        if ((SECONDS > end)); then
            fail "$what took too long" "$log"
            finish
        fi
        sleep 0.1
    done
}
