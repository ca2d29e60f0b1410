/*
 * The sum across ranks against the tree evaluated by its definition on each rank, bit by bit, for
 * several numbers of virtual ranks and lengths; run it under mpirun with any number of ranks up to
 * 64. Prints one line; its status is 1 on failure.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allreduce.h"
#include "comm.h"

/* Values of mixed magnitude, so that another order of additions shows in the last bits. */
static void fill_leaf(float *x, int count, int leaf)
{
    for (int i = 0; i < count; i++) {
        uint32_t h = (uint32_t)(leaf * 1000003 + i) * 2654435761u;
        h = (h ^ h >> 15) * 2246822519u;
        x[i] = ldexpf((float)(h >> 8) * 0x1p-24f - 0.5f, (int)(h % 31) - 15);
    }
}

/* sum(count) = node [lo, hi) by definition. Not by dn/tree.h, which is under test. */
static void sum_by_definition(float *sum, int count, int lo, int hi)
{
    if (hi - lo == 1) {
        fill_leaf(sum, count, lo);
        return;
    }
    int size = 1;
    while (2 * size < hi - lo)
        size *= 2;
    float *right = malloc(count * sizeof *right);
    if (right == NULL)
        abort();
    sum_by_definition(sum, count, lo, lo + size);
    sum_by_definition(right, count, lo + size, hi);
    for (int i = 0; i < count; i++)
        sum[i] = sum[i] + right[i];
    free(right);
}

/* Vector halving sends the least possible where R and V/R are powers of two. */
static dn_status check_cost(const dn_comm *comm, const dn_allreduce *allreduce, int v, int count)
{
    const dn_allreduce_cost cost = dn_allreduce_get_cost(allreduce);
    const int size = comm->size;
    const int leaves = v / size;
    if ((size & (size - 1)) != 0 || v % size != 0 || (leaves & (leaves - 1)) != 0 || count < 65536)
        return DN_OK;
    const size_t slack = 64 * 16, least = (size_t)count * (size - 1) / size;
    DN_CHECK(cost.sent <= least + slack, DN_EINVAL, "R %d, V %d: %zu floats sent, expected %zu",
             size, v, cost.sent, least);
    DN_CHECK(cost.scratch <= (size_t)count / 2 + slack, DN_EINVAL, "R %d, V %d: scratch %zu", size,
             v, cost.scratch);
    DN_CHECK(cost.messages <= cost.rounds && (1 << cost.rounds) == size && cost.gathers == 1,
             DN_EINVAL, "R %d, V %d: %d messages, %d rounds, %d gathers", size, v, cost.messages,
             cost.rounds, cost.gathers);
    return DN_OK;
}

static dn_status check_sum(const dn_comm *comm, int v, int count)
{
    const int first = dn_tree_first(v, comm->size, comm->rank);
    const int last = dn_tree_first(v, comm->size, comm->rank + 1);
    float *leaf = malloc(count * sizeof *leaf), *expected = malloc(count * sizeof *expected);
    dn_tree *tree = NULL;
    dn_allreduce *allreduce = NULL;
    const dn_subtree *subtrees;
    dn_status status = DN_OK;
    DN_TRY_OR_DONE(dn_tree_create(&tree, v, first, last, count));
    DN_TRY_OR_DONE(dn_allreduce_create(&allreduce, comm, v, count));
    sum_by_definition(expected, count, 0, v);
    for (int round = 0; round < 2; round++) {
        dn_tree_reset(tree);
        for (int i = first; i < last; i++) {
            fill_leaf(leaf, count, i);
            dn_tree_push(tree, leaf);
        }
        memset(leaf, 0xff, count * sizeof *leaf);
        const int held = dn_tree_subtrees(tree, &subtrees);
        dn_allreduce_run(allreduce, subtrees, held, leaf);
        if (memcmp(leaf, expected, count * sizeof *leaf) != 0)
            status = dn_fail(DN_EINVAL, "R %d, V %d, count %d: wrong sum", comm->size, v, count);
    }
    if (status == DN_OK)
        status = check_cost(comm, allreduce, v, count);
done:
    dn_tree_destroy(&tree);
    dn_allreduce_destroy(&allreduce);
    free(leaf);
    free(expected);
    return dn_comm_agree(comm, status);
}

static dn_status check_all(const dn_comm *comm, int *sums)
{
    const int count[] = {1, 5, 1000, 100003};
    const int v[] = {comm->size, 8, 13, 16, 64, comm->size + 1, 3 * comm->size};
    dn_allreduce *none = NULL;
    if (dn_allreduce_create(&none, comm, comm->size - 1, 1) != DN_EINVAL)
        return dn_fail(DN_EINVAL, "more ranks than virtual ranks were accepted");
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        for (size_t j = 0; j < sizeof count / sizeof *count && v[i] >= comm->size; j++) {
            if (count[j] > 1000 && v[i] * comm->size > 256)
                continue; /* the check by definition would take too long */
            DN_TRY(check_sum(comm, v[i], count[j]));
            ++*sums;
        }
    }
    return DN_OK;
}

int main(int argc, char **argv)
{
    dn_comm comm;
    dn_comm_init(&comm, &argc, &argv);
    int sums = 0;
    const dn_status status = check_all(&comm, &sums);
    if (comm.rank == 0 && status == DN_OK)
        printf("sum across %d ranks: %d cases agree bit by bit\n", comm.size, sums);
    if (comm.rank == 0 && status != DN_OK)
        fprintf(stderr, "sum across %d ranks: %s\n", comm.size, dn_message());
    dn_comm_finalize(&comm);
    return status != DN_OK;
}
