/*
 * Who launched this process: mpirun of Open MPI 4 or 5, srun, another launcher or none, as the
 * environment and /proc tell, before MPI starts or without it. Not collective.
 */
#ifndef DN_LAUNCHER_H
#define DN_LAUNCHER_H

#include <sys/types.h>

/* 1 where a launcher told this process its rank. */
int dn_is_launched(void);

/* This process's rank where a launcher started it, else "0"; the environment's text. */
const char *dn_launched_rank(void);

/* The ranks of this node; of a step of Slurm, the mean of its nodes; 0: not known. */
int dn_launched_ranks(void);

/* 1 where all ranks are on this machine, as mpirun says. */
int dn_launched_on_one_machine(void);

/* The process of mpirun, or its daemon's here, that is this one's parent; -1: there is none. */
pid_t dn_mpirun(void);

/* 1 where that is of Open MPI 5 (PRRTE). */
int dn_mpirun_is_prrte(void);

/* 1 where mpirun bound the ranks by its default: to one core each of at most two. */
int dn_is_bound_by_default(void);

/* Slurm's word on the processors of this node, where it grants a part of `processors`; else 0. */
int dn_granted_part(int processors);

/* How the launcher, or its daemon on this machine, is to this process. */
typedef enum dn_kinship {
    DN_KIN_NONE,       /* not among its ancestors: process numbers may not be the machine's */
    DN_KIN_OTHER_USER, /* in another user namespace, as that of a container is */
    DN_KIN_SAME_USER
} dn_kinship;

dn_kinship dn_launcher_kinship(void);

#endif
