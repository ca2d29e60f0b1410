#!/usr/bin/env bash
# rank.sh FOLDER LOG COMMAND...: runs a rank under mpirun and writes its process id and exit status
# to FOLDER/pid.R and FOLDER/status.R. Its standard error goes directly to LOG, as mpirun does not
# read while it kills ranks, and may lose their last lines. So do bash's messages about a killed
# rank: written to an mpirun that has ended they would kill bash by SIGPIPE. The rank stays in the
# process group that mpirun signals; the part of this script that waits for it does not, and so
# survives. The script ignores SIGTERM: if all scripts had ended mpirun would kill the rest of their
# groups at once, not a second later.
folder=$1 log=$2 group=$$ rank=${OMPI_COMM_WORLD_RANK:?}
shift 2
set -m
trap : TERM
(
    perl -e 'setpgrp(0, shift); open(F, ">", shift) and print(F $$) and close(F); exec(@ARGV)' \
        "$group" "$folder/pid.$rank" "$@"
    echo $? >"$folder/status.$rank"
) 2>>"$log" &
wait $!
wait $! # where the signal came
