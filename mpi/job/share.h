/* A file without a name, handed from one process to the others of its node. */
#ifndef DN_SHARE_H
#define DN_SHARE_H

#include "job/comm.h"

/*
 * Rank 0's open file, as a descriptor of its own on each other rank, which closes it. -1 with the
 * reason in errno where it could not be handed over, as to another user or another network
 * namespace, and everywhere where rank 0 gives -1. Needs neither /proc nor a file system nor the
 * same process numbers. Collective over `node`, ranks of `comm`.
 */
int dn_share_file(const dn_comm *comm, MPI_Comm node, int file);

#endif
