/*
 * Which launcher started this process (mpirun of Open MPI 4 or 5 or of MPICH, srun, another or
 * none), from the environment and /proc; needs no MPI. Not collective.
 */
#ifndef DN_LAUNCHER_H
#define DN_LAUNCHER_H

#include <sys/types.h>

/* 1 if a launcher gave this process a rank. Call it before MPI starts: Open MPI sets PMIX_RANK. */
int dn_is_launched(void);

/* This process's rank as the environment has it before MPI starts; "0" without a launcher. */
const char *dn_launched_rank(void);

/* The number of ranks on this node; in a Slurm step, the mean over its nodes; 0: not known. */
int dn_launched_ranks(void);

/* The process of mpirun, or of its daemon on this machine, if that is this process's parent; else
 * -1. */
pid_t dn_mpirun(void);

/* 1 if dn_mpirun() is that of Open MPI 5 (PRRTE). */
int dn_mpirun_is_prrte(void);

/* 1 if mpirun bound the ranks by its default for at most two ranks: one core each. */
int dn_is_bound_by_default(void);

/* The processors of this node that Slurm grants, if they are fewer than `processors`; else 0. */
int dn_granted_part(int processors);

/* Disables transports of Open MPI that fail where this process was launched, and without a launcher
 * also its daemon and fabrics, unless the user chose them. Sets environment variables; to be called
 * before MPI starts. */
void dn_choose_transports(void);

#endif
