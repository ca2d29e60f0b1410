/*
 * The sum of a few doubles of each virtual rank, on every rank, along the tree of dn/tree.h: the
 * same bits for every number of ranks. The caller waits for it.
 *
 * A rank adds up its maximal subtrees, then whole vectors are exchanged (comm_schedule.h, one
 * segment): log2(R) rounds of one message each way where R and V/R are powers of two, else at most
 * twice log2(V). What a message holds does not grow with V.
 */
#ifndef DN_SMALL_SUM_H
#define DN_SMALL_SUM_H

#include "allreduce/comm_schedule.h"
#include "dn/tree.h"
#include "job/comm.h"

typedef struct dn_small_sum {
    const dn_comm *comm;        /* not owned, nor are the subtrees */
    const dn_subtree *subtrees; /* this rank's; their vectors are not used */
    int count;
    dn_comm_schedule schedule;
    MPI_Request *request;
    double *landing; /* what a round receives */
} dn_small_sum;

/* For V = virtual_ranks, this rank's subtrees(count) as dn_tree_subtrees gives them (they must stay
 * where they are), and at most `widest` doubles. DN_ENOMEM. The caller destroys it, also after a
 * failure. Not collective. */
dn_status dn_small_sum_create(dn_small_sum *sum, const dn_comm *comm, int virtual_ranks,
                              const dn_subtree *subtrees, int count, size_t widest);
void dn_small_sum_destroy(dn_small_sum *sum);

/* The first of rows(leaves of this rank, width) = the sum of all ranks' rows; of the last `maxima`
 * columns the largest element instead. The other rows are overwritten. No bucket may be in flight.
 * Collective. */
void dn_small_sum_run(const dn_small_sum *sum, double *rows, size_t width, size_t maxima);

#endif
