#!/usr/bin/env bash
# Trains DenseNet-169; common.sh says how, docs/slurm.md shows examples.
#SBATCH --job-name=densenet169 --nodes=1 --exclusive --mem=0 --time=24:00:00
#SBATCH --signal=B:USR1@300 --requeue --no-kill --open-mode=append --output=%x-%j.out
: "${SLURM_JOB_ID:?is not set: submit this script with sbatch}"
# sbatch runs a copy of this file elsewhere; Slurm remembers where it stood.
folder=${DN_HOME:+$DN_HOME/slurm}
folder=${folder:-$(scontrol show job "$SLURM_JOB_ID" | sed -n 's|^ *Command=\(/.*\)/[^/]*\.sh\( .*\)*$|\1|p')}
source "${folder:-$SLURM_SUBMIT_DIR/slurm}/common.sh" densenet169
