/* Passes the descriptor of an anonymous file from one process to others of its machine. */
#ifndef DN_SHARE_H
#define DN_SHARE_H

#include "job/comm.h"

/*
 * Returns `file` on rank 0 of `group`, and a descriptor of that file on each other rank, which
 * closes it. Returns -1 with errno set if it could not be passed, as to another user or another
 * network namespace, and on all ranks if rank 0's `file` is -1. Needs no /proc, no file system and
 * no common PID namespace. Collective over `group`: ranks of `comm` on one machine.
 */
int dn_share_file(const dn_comm *comm, MPI_Comm group, int file);

#endif
