#!/usr/bin/env bash
# Trains DenseNet-121; see common.sh, and docs/slurm.md for examples.
#SBATCH --job-name=densenet121 --nodes=1 --exclusive --mem=0 --time=24:00:00
#SBATCH --signal=B:USR1@300 --requeue --no-kill --open-mode=append --output=%x-%j.out
asked=no; trap asked=yes USR1 # before anything that takes time; common.sh acts on it
: "${SLURM_JOB_ID:?is not set: submit this script with sbatch}"
# sbatch runs a copy of this file from another folder; Slurm knows the original path.
folder=$(scontrol show job "$SLURM_JOB_ID" | sed -nE 's|^ *Command=||;T;s|/[^/]*\.sh( .*)?$||p;q')
[[ $folder == /* ]] || folder=$SLURM_SUBMIT_DIR/${folder:-slurm}
[[ -z ${DN_HOME:-} ]] || folder=$DN_HOME/slurm
source "$folder/common.sh" --model densenet121 "$@"
