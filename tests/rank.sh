#!/usr/bin/env bash
# rank.sh FOLDER LOG COMMAND...: runs a rank under mpirun and leaves its process id and its exit
# status in FOLDER/pid.R and FOLDER/status.R. Its standard error goes to LOG by itself: mpirun does
# not read on while it kills ranks, and may lose their last words. So does what bash says of a killed
# rank: said to an mpirun that has ended, it would be bash's own end, by SIGPIPE. The rank stays in the
# process group to which mpirun sends its signals; this script's part that waits for it does not, and
# so outlives them. The script bears SIGTERM: where all scripts have ended mpirun kills what is left
# in their groups at once, not a second later.
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
