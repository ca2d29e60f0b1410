/*
 * Real ranks on this machine: ranks that are not bound divide the cores, each thread is
 * bound to one core of its rank's share, and a thread made later may use the whole share.
 */
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job/placement.h"

static int failures;

static void expect(const dn_comm *comm, int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "rank %d: %s\n", comm->rank, what);
        failures++;
    }
}

static void *get_mask(void *mask)
{
    sched_getaffinity(0, sizeof(cpu_set_t), mask);
    return NULL;
}

/* The masks of this rank's threads, together, are a later thread's. Where there are as many as
 * cores (a CPU quota may grant fewer) they do not meet. */
static void check_threads(const dn_comm *comm, const dn_place *place)
{
    cpu_set_t later, all;
    pthread_t thread;
    int met = 0;
    CPU_ZERO(&later);
    CPU_ZERO(&all);
    if (pthread_create(&thread, NULL, get_mask, &later) == 0)
        pthread_join(thread, NULL);
#pragma omp parallel
    {
        cpu_set_t own, both;
        get_mask(&own);
#pragma omp critical
        {
            CPU_AND(&both, &own, &all);
            met += CPU_COUNT(&both) > 0;
            CPU_OR(&all, &all, &own);
        }
    }
    expect(comm, place->threads == omp_get_max_threads(), "threads");
    expect(comm, met == 0 || place->threads < place->cores, "two threads on one core");
    expect(comm, CPU_EQUAL(&later, &all), "a later thread is not on the rank's cores");
}

/* The shares of the node's ranks do not meet. */
static void check_ranks(const dn_comm *comm)
{
    cpu_set_t own, *all = calloc((size_t)comm->machine_size, sizeof *all);
    pthread_t thread;
    CPU_ZERO(&own);
    if (pthread_create(&thread, NULL, get_mask, &own) == 0)
        pthread_join(thread, NULL);
    MPI_Allgather(&own, sizeof own, MPI_BYTE, all, sizeof own, MPI_BYTE, comm->machine);
    for (int r = 0; r < comm->machine_size; r++) {
        cpu_set_t both;
        CPU_AND(&both, &own, &all[r]);
        expect(comm, r == comm->machine_rank || CPU_COUNT(&both) == 0, "two ranks on one core");
    }
    free(all);
}

int main(int argc, char **argv)
{
    dn_comm comm;
    dn_place place;
    cpu_set_t any;
    memset(&any, 0xff, sizeof any);
    dn_comm_init(&comm, &argc, &argv);
    sched_setaffinity(0, sizeof any, &any); /* as with mpirun --bind-to none */
    unsetenv("OMP_NUM_THREADS");
    dn_status status = dn_place_create(&place, &comm, 0, DN_PIN_AUTO);
    expect(&comm, status == DN_OK, dn_message());
    expect(&comm, place.cores >= 1 && place.threads >= 1 && place.numa_nodes >= 1, "no cores");
    expect(&comm, place.pinned == (place.sharers == 1), "pinned unless ranks share cores");
    int pinned = place.pinned;
    MPI_Allreduce(MPI_IN_PLACE, &pinned, 1, MPI_INT, MPI_LAND, comm.machine);
    if (place.pinned)
        check_threads(&comm, &place);
    if (pinned)
        check_ranks(&comm);
    status = failures > 0 ? dn_fail(DN_EINVAL, "%d failures", failures) : DN_OK;
    const int is_bad = dn_comm_agree(&comm, status) != DN_OK;
    if (comm.rank == 0)
        printf("places of %d ranks, pinned %d: %s\n", comm.size, pinned,
               is_bad ? "wrong" : "right");
    dn_comm_finalize(&comm);
    return is_bad;
}
