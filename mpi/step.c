/* The training step; see step.h. */
#include "step.h"

#include <stdlib.h>

dn_status dn_step_create(dn_step *step, const dn_comm *comm, dn_net *net, int virtual_ranks)
{
    *step = (dn_step){.comm = comm, .net = net, .virtual_ranks = virtual_ranks};
    DN_CHECK(comm->size <= virtual_ranks, DN_EINVAL,
             "--virtual-ranks %d: found %d ranks, expected at most one a virtual rank",
             virtual_ranks, comm->size);
    step->first = dn_tree_first(virtual_ranks, comm->size, comm->rank);
    step->last = dn_tree_first(virtual_ranks, comm->size, comm->rank + 1);
    const size_t count = dn_net_leaf_count(net);
    step->momentum = calloc(dn_net_parameter_count(net), sizeof *step->momentum);
    step->losses = calloc(2 * (size_t)virtual_ranks, sizeof *step->losses);
    if (step->momentum == NULL || step->losses == NULL)
        return dn_fail(DN_ENOMEM, "memory: found none for %zu floats of momentum",
                       dn_net_parameter_count(net));
    step->corrects = step->losses + virtual_ranks;
    DN_TRY(dn_tree_create(&step->tree, virtual_ranks, step->first, step->last, count));
    return dn_allreduce_create(&step->allreduce, comm, virtual_ranks, count);
}

void dn_step_destroy(dn_step *step)
{
    dn_allreduce_destroy(&step->allreduce);
    dn_tree_destroy(&step->tree);
    free(step->momentum);
    free(step->losses);
    *step = (dn_step){0};
}

/* Loss and gradient of virtual rank `v`, added into the tree. */
static void run_virtual_rank(dn_step *step, dn_pass pass, int v, dn_load_fn *load, void *user)
{
    dn_net *net = step->net;
    dn_result result;
    pass.virtual_rank = (uint64_t)v;
    load(user, v, dn_net_images(net), dn_net_labels(net));
    dn_net_forward_train(net, &pass, &result);
    dn_net_backward(net, &pass);
    dn_tree_push(step->tree, dn_net_leaf(net));
    step->losses[v] = result.loss;
    step->corrects[v] = result.correct1;
}

/* The net's leaf array now holds the sum of all virtual ranks' leaves, on every rank. */
static void reduce(dn_step *step)
{
    const dn_subtree *subtrees;
    const int count = dn_tree_subtrees(step->tree, &subtrees);
    dn_allreduce_run(step->allreduce, subtrees, count, dn_net_leaf(step->net));
    dn_comm_gather_doubles(step->comm, step->losses, step->virtual_ranks);
    dn_comm_gather_doubles(step->comm, step->corrects, step->virtual_ranks);
}

/* Parameters and running statistics from the summed leaf. */
static void update(dn_step *step, const dn_sgd *sgd)
{
    dn_net *net = step->net;
    const size_t parameters = dn_net_parameter_count(net), count = dn_net_leaf_count(net);
    const float share = 1 / (float)step->virtual_ranks;
    float *leaf = dn_net_leaf(net);
    dn_sgd_update(dn_net_parameters(net), step->momentum, leaf, parameters, share, sgd);
    for (size_t i = parameters; i < count; i++)
        leaf[i] *= share;
    dn_net_update_running(net, leaf);
}

void dn_step_run(dn_step *step, const dn_pass *pass, const dn_sgd *sgd, dn_load_fn *load,
                 void *user, dn_step_result *result)
{
    const double start = MPI_Wtime();
    dn_tree_reset(step->tree);
    for (int v = step->first; v < step->last; v++)
        run_virtual_rank(step, *pass, v, load, user);
    const double computed = MPI_Wtime();
    reduce(step);
    const double reduced = MPI_Wtime();
    update(step, sgd);
    result->loss = dn_tree_sum(step->losses, step->virtual_ranks) / step->virtual_ranks;
    result->correct = (int64_t)dn_tree_sum(step->corrects, step->virtual_ranks);
    step->compute_seconds += computed - start;
    step->reduce_seconds += reduced - computed;
    step->update_seconds += MPI_Wtime() - reduced;
}
