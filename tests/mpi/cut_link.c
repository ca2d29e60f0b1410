/*
 * dn_dist over a network that loses messages, for e2e/faults.sh; overrides MPI functions. CUT_LINK
 * says which messages: "sum": those between ranks 1 and 3, a moment after the start; "cores": all,
 * when cores are assigned; "trace": those of rank 3 with its trace; "end": all, when MPI ends;
 * "error": rank 1's, a moment after the start, and MPI says so.
 */
#include "job/comm.h"
#include "job/cores.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ONE_END = 1,
    OTHER_END = 3,
    SENT_BEFORE = 200,   /* messages */
    LONGEST_OTHER = 1024 /* bytes that MPI_Send sends before the trace */
};

static int loses(const char *which)
{
    const char *const lost = getenv("CUT_LINK");
    return lost != NULL && strcmp(lost, which) == 0;
}

static int own_rank(void)
{
    int rank;
    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

static void wait_for_ever(void)
{
    for (;;)
        pause();
}

int MPI_Isend(const void *buffer, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    static int sent;
    const int rank = own_rank();
    const int is_on_link =
        (rank == ONE_END && to == OTHER_END) || (rank == OTHER_END && to == ONE_END);
    if (loses("sum") && is_on_link && sent++ >= SENT_BEFORE)
        to = MPI_PROC_NULL;
    if (loses("error") && rank == ONE_END && sent++ >= SENT_BEFORE)
        return MPI_ERR_OTHER;
    return PMPI_Isend(buffer, count, type, to, tag, comm, request);
}

int MPI_Send(const void *buffer, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm)
{
    if (loses("trace") && count > LONGEST_OTHER && own_rank() == OTHER_END)
        wait_for_ever();
    return PMPI_Send(buffer, count, type, to, tag, comm);
}

int MPI_Allgather(const void *own, int count, MPI_Datatype type, void *all, int each,
                  MPI_Datatype of, MPI_Comm comm)
{
    if (loses("cores") && count == (int)sizeof(dn_cores))
        wait_for_ever();
    return PMPI_Allgather(own, count, type, all, each, of, comm);
}

int MPI_Finalize(void)
{
    if (loses("end"))
        wait_for_ever();
    return PMPI_Finalize();
}
