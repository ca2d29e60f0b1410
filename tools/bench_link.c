/*
 * Measures latency and bandwidth between ranks 0 and 1 for `dn_dist plan`. Both send to each other
 * at once, as in the sum across ranks; the time of an exchange is fitted by latency + bytes /
 * bandwidth through a small message and one of half a bucket. Messages use more memory than caches
 * hold, as gradients do.
 *
 *     mpirun -np 2 bench_link          on one node: --node-latency and --node-bandwidth
 *     mpirun -np 2 --map-by node ...   on two: --latency and --bandwidth
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job/comm.h"

enum { SMALL = 64, LARGE = 512 * 1024, MEMORY = 128 * LARGE, REPEATS = 501 };

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of an exchange. */
static double exchange(const dn_comm *comm, char *out, char *in, int bytes)
{
    double seconds[REPEATS];
    for (int i = 0; i < REPEATS; i++) {
        MPI_Request request[2];
        const int at = i * LARGE % MEMORY;
        const int peer = 1 - comm->rank;
        MPI_Barrier(comm->world);
        const double start = MPI_Wtime();
        DN_MPI(MPI_Irecv(in + at, bytes, MPI_CHAR, peer, 1, comm->world, &request[0]));
        DN_MPI(MPI_Isend(out + at, bytes, MPI_CHAR, peer, 1, comm->world, &request[1]));
        DN_MPI(MPI_Waitall(2, request, MPI_STATUSES_IGNORE));
        seconds[i] = MPI_Wtime() - start;
    }
    qsort(seconds, REPEATS, sizeof *seconds, ascending);
    return seconds[REPEATS / 2];
}

int main(int argc, char **argv)
{
    dn_comm comm;
    dn_comm_init(&comm, &argc, &argv);
    char *out = malloc(MEMORY), *in = malloc(MEMORY);
    const int ok = comm.size == 2 && out != NULL && in != NULL;
    if (ok) {
        memset(out, 1, MEMORY);
        memset(in, 2, MEMORY);
        const double small = exchange(&comm, out, in, SMALL);
        const double large = exchange(&comm, out, in, LARGE);
        const double bandwidth = (LARGE - SMALL) / (large - small);
        if (comm.rank == 0)
            printf("latency %.2f us, bandwidth %.2f GB/s\n", small * 1e6, bandwidth / 1e9);
    } else if (comm.rank == 0) {
        fprintf(stderr, "bench_link: found %d ranks, expected 2, and %d bytes of memory\n",
                comm.size, 2 * MEMORY);
    }
    free(out);
    free(in);
    dn_comm_finalize(&comm);
    return !ok;
}
