/*
 * dn_dist over a network that loses the link between ranks 1 and 3 a moment after the start: what
 * they send each other goes nowhere. For e2e_faults.sh; overrides a function of MPI's.
 */
#include "job/comm.h"

enum { ONE_END = 1, OTHER_END = 3, SENT_BEFORE = 200 }; /* messages */

int MPI_Isend(const void *buffer, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    static int sent;
    int rank;
    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    const int is_on_link =
        (rank == ONE_END && to == OTHER_END) || (rank == OTHER_END && to == ONE_END);
    if (is_on_link && sent++ >= SENT_BEFORE)
        to = MPI_PROC_NULL;
    return PMPI_Isend(buffer, count, type, to, tag, comm, request);
}
