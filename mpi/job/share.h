/* Passes the descriptor of an anonymous file from one process to the others of its node. */
#ifndef DN_SHARE_H
#define DN_SHARE_H

#include "job/comm.h"

/*
 * Returns a descriptor of rank 0's `file` on each other rank of `node`, which closes it. Returns -1
 * with errno set if it could not be passed, as to another user or another network namespace, and on
 * all ranks if rank 0's `file` is -1. Needs no /proc, no file system and no common PID namespace.
 * Collective over `node`, which consists of ranks of `comm`.
 */
int dn_share_file(const dn_comm *comm, MPI_Comm node, int file);

#endif
