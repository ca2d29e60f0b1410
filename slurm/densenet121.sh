#!/usr/bin/env bash
# Trains DenseNet-121; see common.sh, and docs/slurm.md for examples.
#SBATCH --job-name=densenet121 --nodes=1 --exclusive --mem=0 --time=24:00:00
#SBATCH --signal=B:USR1@300 --requeue --no-kill --open-mode=append --output=%x-%j.out
asked=no; trap asked=yes USR1 # before anything that takes time; common.sh acts on it
: "${SLURM_JOB_ID:?is not set: submit this script with sbatch}"
# sbatch runs a copy of this file from another folder; Slurm knows the original path.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID} # its first task has the array's id
stood=$(scontrol show job "${job:-$SLURM_JOB_ID}" | sed -n 's|^ *Command=||;T;s|\.sh .*|.sh|;s|/[^/]*\.sh$||p')
[[ $stood == /* ]] || stood=$SLURM_SUBMIT_DIR/${stood:-slurm}
folder=${DN_HOME:+$DN_HOME/slurm}
source "${folder:-$stood}/common.sh" --model densenet121 "$@"
