/*
 * Compares the sum across ranks, bit by bit, with the tree evaluated by its definition on each
 * rank: for several numbers of virtual ranks, lengths, buckets and segments, polled and with a
 * communication thread, with random delays on each rank; and sums of rows. Run it under mpirun with
 * any number of ranks up to 64. Prints one line; the exit status is 1 on failure.
 */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tree_sum.h"
#include "allreduce/allreduce.h"
#include "allreduce/comm_schedule.h"
#include "allreduce/inflight.h"
#include "job/comm.h"

static void fill_leaf(float *x, size_t count, int leaf)
{
    for (size_t i = 0; i < count; i++)
        x[i] = leaf_value(leaf, i);
}

/* Pushes the last leaf in ranges of random length, after random delays. */
static void push_in_parts(dn_tree *tree, dn_allreduce *allreduce, size_t count, unsigned *random)
{
    for (size_t begin = 0, end; begin < count; begin = end) {
        const size_t range = 1 + (size_t)rand_r(random) % (count / 3 + 1);
        end = begin + range < count ? begin + range : count;
        if (rand_r(random) % 4 == 0)
            usleep((unsigned)rand_r(random) % 500);
        dn_tree_push(tree, begin, end);
        dn_allreduce_ready(allreduce, end);
    }
}

/* The sums of three steps; the ranks are not in step with each other. */
static dn_status run_sums(dn_tree *tree, dn_allreduce *allreduce, const dn_comm *comm, int v,
                          float *leaf, const float *expected, size_t count)
{
    const int first = dn_share_begin(v, comm->size, comm->rank);
    const int last = dn_share_begin(v, comm->size, comm->rank + 1);
    unsigned random = (unsigned)(comm->rank * 7919 + v);
    dn_status status = DN_OK;
    for (int step = 0; step < 3; step++) {
        dn_tree_reset(tree);
        for (int i = first; i < last; i++) {
            fill_leaf(leaf, count, i);
            if (i < last - 1)
                dn_tree_push(tree, 0, count);
        }
        push_in_parts(tree, allreduce, count, &random);
        dn_allreduce_finish(allreduce);
        if (memcmp(leaf, expected, count * sizeof *leaf) != 0)
            status = dn_fail(DN_EINVAL, "R %d, V %d, count %zu: wrong sum", comm->size, v, count);
    }
    return status;
}

static dn_status check_sum(const dn_comm *comm, dn_allreduce_settings settings)
{
    const int v = settings.virtual_ranks;
    const int first = dn_share_begin(v, comm->size, comm->rank);
    const int last = dn_share_begin(v, comm->size, comm->rank + 1);
    const size_t count = settings.count, rounded = settings.bf16 ? settings.gradients : 0;
    float *leaf = malloc(count * sizeof *leaf), *expected = malloc(count * sizeof *expected);
    dn_tree *tree = NULL;
    dn_allreduce *allreduce = NULL;
    dn_status status = DN_OK;
    if (leaf == NULL || expected == NULL)
        abort();
    DN_TRY_OR_DONE(dn_tree_create(&tree, v, first, last, leaf, count, rounded));
    DN_TRY_OR_DONE(dn_allreduce_create(&allreduce, comm, tree, &settings));
    for (size_t i = 0; i < count; i++)
        expected[i] = tree_sum(0, v, i, rounded);
    status = run_sums(tree, allreduce, comm, v, leaf, expected, count);
done:
    dn_tree_destroy(&tree);
    dn_allreduce_destroy(&allreduce);
    free(leaf);
    free(expected);
    return dn_comm_agree(comm, status);
}

static dn_status check_all(const dn_comm *comm, int *sums)
{
    const size_t count[] = {1, 5, 1000, 100003}, bucket[] = {7, 3000, 1000000};
    const int segments[] = {0, 1, 2, 8, 64};
    const int v[] = {comm->size, 8, 13, 16, 64, comm->size + 1, 3 * comm->size};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        for (size_t j = 0; j < sizeof count / sizeof *count && v[i] >= comm->size; j++) {
            if (count[j] > 1000 && v[i] * comm->size > 256)
                continue; /* the check by definition would take too long */
            const dn_allreduce_settings settings = {.virtual_ranks = v[i],
                                                    .count = count[j],
                                                    .gradients = count[j] - count[j] / 7,
                                                    .bucket = bucket[(i + j) % 3],
                                                    .segments = segments[(2 * i + j) % 5],
                                                    .bf16 = (i + j) / 2 % 2 == 1,
                                                    .comm_thread = (i + j) % 2 == 1};
            DN_TRY(check_sum(comm, settings));
            ++*sums;
        }
    }
    return DN_OK;
}

/* ---- small sums ---- */

enum { WIDTH = 5, MAXIMA = 2, MOST_LEAVES = 64 * 3 };

/* rows(leaves [first, last), WIDTH) */
static void fill_rows(double *rows, int first, int last)
{
    for (int v = first; v < last; v++)
        for (int i = 0; i < WIDTH; i++)
            *rows++ = ldexp(1.0 / (3 + v * WIDTH + i), (v * 7 + i) % 60);
}

/* Sums, and of the last columns the largest. */
static void merge_rows(void *sum, const void *other, size_t count)
{
    double *x = sum;
    const double *y = other;
    for (size_t i = 0; i < count; i++)
        x[i] = i < WIDTH - MAXIMA ? x[i] + y[i] : fmax(x[i], y[i]);
}

/* Sums twice, so that the second meets the memory of the first. */
static dn_status check_small_sum(const dn_comm *comm, int v)
{
    const int first = dn_share_begin(v, comm->size, comm->rank);
    const int last = dn_share_begin(v, comm->size, comm->rank + 1);
    double all[MOST_LEAVES * WIDTH], rows[MOST_LEAVES * WIDTH], expected[WIDTH];
    float leaf;
    dn_tree *tree = NULL;
    dn_allreduce *allreduce = NULL;
    const dn_allreduce_settings settings = {
        .virtual_ranks = v, .count = 1, .gradients = 1, .bucket = 1, .widest = WIDTH};
    dn_status status;
    fill_rows(all, 0, v);
    for (int i = 0; i < WIDTH; i++) {
        expected[i] = dn_tree_sum(all + i, v, WIDTH);
        for (int leaf_number = 0; leaf_number < v && i >= WIDTH - MAXIMA; leaf_number++)
            expected[i] =
                leaf_number == 0 ? all[i] : fmax(expected[i], all[leaf_number * WIDTH + i]);
    }
    DN_TRY_OR_DONE(dn_tree_create(&tree, v, first, last, &leaf, 1, 0));
    DN_TRY_OR_DONE(dn_allreduce_create(&allreduce, comm, tree, &settings));
    for (int step = 0; step < 2; step++) {
        fill_rows(rows, first, last);
        dn_allreduce_rows(allreduce, rows, WIDTH, merge_rows);
        if (memcmp(rows, expected, sizeof expected) != 0)
            status = dn_fail(DN_EINVAL, "R %d, V %d: wrong small sum", comm->size, v);
    }
done:
    dn_allreduce_destroy(&allreduce);
    dn_tree_destroy(&tree);
    return dn_comm_agree(comm, status);
}

static dn_status check_small_sums(const dn_comm *comm, int *sums)
{
    for (int v = comm->size; v <= 3 * comm->size; v++, ++*sums)
        DN_TRY(check_small_sum(comm, v));
    return DN_OK;
}

/* ---- whom a bucket waits for ---- */

enum { BUCKET_TAG = 1, GO_TAG, PATIENCE = 60 };

/* In one round ranks 1 and 2 send rank 0 a float each, rank `late` when rank 0 has found that the
 * bucket waits for it. */
static dn_status check_partner(const dn_comm *comm, int late)
{
    dn_transfer transfer[] = {{.from = {.rank = 1}, .to = {.rank = 0}, .last = 1},
                              {.from = {.rank = 2}, .to = {.rank = 0, .slot = 1}, .last = 1}};
    dn_transfer *const own = &transfer[comm->rank == 2];
    const dn_comm_schedule schedule = {
        .segments = 1, .count = comm->rank == 0 ? 2 : 1, .transfer = own};
    dn_bucket bucket = {.count = 1,
                        .tag = BUCKET_TAG,
                        .segments = 1,
                        .segment_length = 1,
                        .elements = &dn_elements_fp32,
                        .schedule = &schedule};
    float x[] = {(float)comm->rank, 0};
    dn_inflight flight;
    dn_status status = dn_inflight_create(&flight, comm, &bucket, 1);
    flight.vectors[0] = &x[0];
    flight.vectors[1] = &x[1];
    if (comm->rank == late)
        MPI_Recv(NULL, 0, MPI_BYTE, 0, GO_TAG, comm->world, MPI_STATUS_IGNORE);
    dn_inflight_start(&flight, &bucket);
    if (comm->rank == 0) {
        const double end = omp_get_wtime() + PATIENCE;
        while (dn_inflight_partner(&flight) != late && omp_get_wtime() < end)
            dn_inflight_advance(&flight);
        if (dn_inflight_partner(&flight) != late)
            status = dn_fail(DN_EINVAL, "found a bucket that waits for rank %d, expected %d",
                             dn_inflight_partner(&flight), late);
        MPI_Send(NULL, 0, MPI_BYTE, late, GO_TAG, comm->world);
    }
    dn_inflight_finish(&flight);
    dn_inflight_destroy(&flight);
    if (comm->rank == 0 && (x[0] != 1 || x[1] != 2))
        status =
            dn_fail(DN_EINVAL, "found %g and %g, expected 1 and 2", (double)x[0], (double)x[1]);
    return status;
}

static dn_status check_partners(const dn_comm *comm)
{
    dn_status status = DN_OK;
    for (int late = 1; late <= 2 && comm->size > 2 && status == DN_OK; late++)
        status = dn_comm_agree(comm, comm->rank <= 2 ? check_partner(comm, late) : DN_OK);
    return status;
}

int main(int argc, char **argv)
{
    dn_comm comm;
    dn_comm_init(&comm, &argc, &argv);
    int sums = 0;
    dn_status status = check_all(&comm, &sums);
    if (status == DN_OK)
        status = check_small_sums(&comm, &sums);
    if (status == DN_OK)
        status = check_partners(&comm);
    if (comm.rank == 0 && status == DN_OK)
        printf("sum across %d ranks: %d cases agree bit by bit\n", comm.size, sums);
    if (comm.rank == 0 && status != DN_OK)
        fprintf(stderr, "sum across %d ranks: %s\n", comm.size, dn_message());
    dn_comm_finalize(&comm);
    return status != DN_OK;
}
