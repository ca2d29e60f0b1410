/* Small vectors of doubles, whole, round by round; see small_sum.h. */
#include "allreduce/small_sum.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TAG = 0 }; /* buckets have those above it */

/* sum(width) = sum + other; the last `maxima` elements = the larger ones. */
static void merge_rows(double *sum, const double *other, size_t width, size_t maxima)
{
    for (size_t i = 0; i < width - maxima; i++)
        sum[i] = sum[i] + other[i];
    for (size_t i = width - maxima; i < width; i++)
        sum[i] = fmax(sum[i], other[i]);
}

/* The first of rows(count, width) = their sum along the tree. */
static void fold_rows(double *rows, int count, size_t width, size_t maxima)
{
    if (count < 2)
        return;
    const int middle = dn_tree_split(0, count);
    double *right = rows + (size_t)middle * width;
    fold_rows(rows, middle, width, maxima);
    fold_rows(right, count - middle, width, maxima);
    merge_rows(rows, right, width, maxima);
}

/* Where the subtree's sum is: in its first leaf's row. NULL on another rank. */
static double *row_of(const dn_small_sum *sum, dn_holder holder, double *rows, size_t width)
{
    const int row = sum->subtrees[holder.slot].lo - sum->subtrees[0].lo;
    return holder.rank == sum->comm->rank ? rows + (size_t)row * width : NULL;
}

/* The round that starts with `begin`; returns where the next one starts. */
static const dn_transfer *exchange_round(const dn_small_sum *sum, const dn_transfer *begin,
                                         double *rows, size_t width, size_t maxima)
{
    const dn_transfer *t, *end = sum->schedule.transfer + sum->schedule.count;
    double *landing = sum->landing;
    int requests = 0;
    for (t = begin; t < end && t->round == begin->round; t++) {
        double *from = row_of(sum, t->from, rows, width), *to = row_of(sum, t->to, rows, width);
        MPI_Request *request = &sum->request[requests];
        requests += from == NULL || to == NULL;
        if (from == NULL) {
            DN_MPI(MPI_Irecv(landing, (int)width, MPI_DOUBLE, t->from.rank, TAG, sum->comm->world,
                             request));
            landing += width;
        } else if (to == NULL) {
            DN_MPI(MPI_Isend(from, (int)width, MPI_DOUBLE, t->to.rank, TAG, sum->comm->world,
                             request));
        }
    }
    DN_MPI(MPI_Waitall(requests, sum->request, MPI_STATUSES_IGNORE));
    landing = sum->landing;
    end = t;
    for (t = begin; t < end; t++) {
        const double *from = row_of(sum, t->from, rows, width);
        double *to = row_of(sum, t->to, rows, width);
        if (from == NULL) {
            from = landing;
            landing += width;
        }
        if (to != NULL && t->adds)
            merge_rows(to, from, width, maxima);
        else if (to != NULL)
            memcpy(to, from, width * sizeof *to);
    }
    return end;
}

void dn_small_sum_run(const dn_small_sum *sum, double *rows, size_t width, size_t maxima)
{
    const dn_subtree *first = sum->subtrees, *last = first + sum->count - 1;
    for (const dn_subtree *s = first; s <= last; s++)
        fold_rows(rows + (size_t)(s->lo - first->lo) * width, s->hi - s->lo, width, maxima);
    const dn_transfer *t = sum->schedule.transfer, *end = t + sum->schedule.count;
    while (t < end)
        t = exchange_round(sum, t, rows, width, maxima);
    memmove(rows, rows + (size_t)(last->lo - first->lo) * width, width * sizeof *rows);
}

dn_status dn_small_sum_create(dn_small_sum *sum, const dn_comm *comm, int virtual_ranks,
                              const dn_subtree *subtrees, int count, size_t widest)
{
    *sum = (dn_small_sum){.comm = comm, .subtrees = subtrees, .count = count};
    DN_TRY(dn_comm_schedule_create(&sum->schedule, virtual_ranks, comm->size, comm->rank, 1));
    const dn_transfer *t = sum->schedule.transfer, *end = t + sum->schedule.count;
    size_t most = 1; /* messages of a round */
    for (size_t messages = 0; t < end; t++) {
        messages = t > sum->schedule.transfer && t[-1].round == t->round ? messages + 1 : 1;
        most = messages > most ? messages : most;
    }
    sum->request = malloc(most * sizeof *sum->request);
    sum->landing = malloc(most * widest * sizeof *sum->landing);
    DN_CHECK(sum->request != NULL && sum->landing != NULL, DN_ENOMEM,
             "sum across ranks: out of memory for %zu messages of %zu doubles", most, widest);
    return DN_OK;
}

void dn_small_sum_destroy(dn_small_sum *sum)
{
    dn_comm_schedule_destroy(&sum->schedule);
    free(sum->request);
    free(sum->landing);
    *sum = (dn_small_sum){0};
}
