/*
 * dn_dist on a network adapter whose driver withholds registered pages from forked children, as
 * Linux before 5.12 has to, for e2e/faults.sh; overrides functions of MPI and the C library. It
 * registers what is sent and received; with REGISTERED=all also the net's arena.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mpi.h>

#include "dn/line.h"

int madvise(void *start, size_t bytes, int advice)
{
    const char *const what = getenv("REGISTERED");
    if (advice == MADV_HUGEPAGE && what != NULL && strcmp(what, "all") == 0)
        advice = MADV_DONTFORK;
    return (int)syscall(SYS_madvise, start, bytes, advice);
}

static void take(const void *data, int count, MPI_Datatype type)
{
    int size;
    PMPI_Type_size(type, &size);
    const uintptr_t begin = (uintptr_t)data, end = begin + (size_t)count * (size_t)size;
    const uintptr_t first = begin / DN_PAGE_BYTES * DN_PAGE_BYTES;
    if (end - begin >= DN_PAGE_BYTES) /* shorter ones are copied */
        madvise((void *)first, dn_whole_pages(end - first), MADV_DONTFORK);
}

int MPI_Bcast(void *data, int count, MPI_Datatype type, int root, MPI_Comm comm)
{
    take(data, count, type);
    return PMPI_Bcast(data, count, type, root, comm);
}

int MPI_Isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    take(data, count, type);
    return PMPI_Isend(data, count, type, to, tag, comm, request);
}

int MPI_Irecv(void *data, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    take(data, count, type);
    return PMPI_Irecv(data, count, type, from, tag, comm, request);
}
