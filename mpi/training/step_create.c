/* Allocates and frees the memory of steps; see training/step.h. */
#include "training/step_parts.h"

#include <omp.h>
#include <stdlib.h>

#include "job/placement.h"
#include "job/timeline.h"

static void add_doubles(void *sum, const void *other, size_t count)
{
    double *x = sum;
    const double *y = other;
    for (size_t i = 0; i < count; i++)
        x[i] = x[i] + y[i];
}

/* A dn_exchange_fn: sums the statistics of a norm group's batches. */
static void sum_statistics(void *user, double *rows, size_t width)
{
    const dn_step *step = user;
    const double start = omp_get_wtime();
    dn_allreduce_rows(step->allreduce, rows, width, add_doubles);
    dn_timeline_add(step->comm->timeline, DN_SPAN_STATISTICS, (int64_t)width, 0, start,
                    omp_get_wtime());
}

/* Makes the nets that run side by side: one for each virtual rank of a norm group on this rank,
 * else one for all. */
static dn_status make_team(dn_step *step)
{
    const int is_group = dn_net_view(step->net).norm_group > 1;
    const int count = is_group ? step->end - step->first : 1;
    dn_net **const nets = calloc((size_t)count, sizeof *nets);
    step->team = (dn_team){.nets = nets, .user = step};
    step->results = calloc((size_t)count, sizeof *step->results);
    DN_CHECK(nets != NULL && step->results != NULL, DN_ENOMEM, "out of memory for %d virtual ranks",
             count);
    nets[0] = step->net;
    step->team.count = 1;
    step->team.exchange = is_group ? sum_statistics : NULL;
    for (; step->team.count < count; step->team.count++)
        DN_TRY(dn_net_create_sharing(&nets[step->team.count], step->net));
    return DN_OK;
}

/* to = the trainable parameters of the head, or of the rest; returns their number. */
static int copy_learnt(const dn_view *net, int head, dn_tensor *to)
{
    int count = 0;
    for (const dn_tensor *t = net->tensors; t < net->tensors + net->tensor_count; t++)
        if (dn_is_parameter(t) && !t->frozen && t->is_head == head)
            to[count++] = *t;
    return count;
}

/* Allocates and sets the step's `learnt` tensors. DN_ENOMEM. */
static dn_status find_learnt(dn_step *step)
{
    const dn_view net = dn_net_view(step->net);
    step->learnt = calloc((size_t)net.tensor_count, sizeof *step->learnt);
    DN_CHECK(step->learnt, DN_ENOMEM, "out of memory for %d tensors", net.tensor_count);
    step->head_tensors = copy_learnt(&net, 1, step->learnt);
    step->learnt_tensors =
        step->head_tensors + copy_learnt(&net, 0, step->learnt + step->head_tensors);
    return DN_OK;
}

/* 1 if a communication thread is wanted and possible. One thread may call MPI at a time, and the
 * exchange of a norm group calls it while buckets are in flight. */
static int wants_thread(const dn_step *step)
{
    const dn_comm *const comm = step->comm;
    const dn_place *const place = comm->place;
    const dn_comm_thread choice = step->settings.comm_thread;
    const int has_spare_core =
        place->cores >= place->sharers * (place->threads + 1) &&
        (place->quota == 0 || place->quota >= 100 * place->quota_ranks * (place->threads + 1));
    return comm->threads_may_call && step->team.exchange == NULL &&
           (choice == DN_COMM_THREAD_ON || (choice == DN_COMM_THREAD_AUTO && has_spare_core));
}

dn_allreduce_settings dn_step_sum(const dn_step_settings *s, size_t count, size_t gradients)
{
    return (dn_allreduce_settings){.virtual_ranks = s->virtual_ranks,
                                   .count = count,
                                   .gradients = gradients,
                                   .bucket = (size_t)(s->bucket_mb * (1 << 20) / sizeof(float)),
                                   .bf16 = s->wire == DN_BF16};
}

dn_status dn_step_create(dn_step *step, const dn_comm *comm, dn_net *net,
                         const dn_step_settings *settings)
{
    const int v = settings->virtual_ranks;
    DN_CHECK(comm->threads_may_call || settings->comm_thread != DN_COMM_THREAD_ON, DN_EINVAL,
             "--comm-thread on: found an MPI library without MPI_THREAD_SERIALIZED, expected auto "
             "or off");
    *step = (dn_step){.comm = comm, .net = net, .settings = *settings};
    step->first = dn_share_begin(v, comm->size, comm->rank);
    step->end = dn_share_begin(v, comm->size, comm->rank + 1);
    const dn_view view = dn_net_view(net);
    const size_t count = view.leaf_count, gradients = view.gradient_count;
    dn_allreduce_settings sum = dn_step_sum(settings, count, gradients);
    DN_TRY(dn_optimizer_state_create(
        &step->optimizer, dn_optimizer_get(view.kernels, settings->optimizer), view.parameter_count,
        settings->average_decay > 0 ? view.parameter_count + view.running_count : 0));
    DN_TRY(find_learnt(step));
    const int own = step->end - step->first;
    step->losses = calloc((size_t)own, sizeof *step->losses);
    step->scores = calloc((size_t)own * DN_STEP_SCORES, sizeof *step->scores);
    DN_CHECK(step->losses != NULL && step->scores != NULL, DN_ENOMEM,
             "out of memory for the scores of %d virtual ranks", own);
    DN_TRY(make_team(step));
    DN_TRY(dn_tree_create(&step->tree, v, step->first, step->end, view.leaf, count,
                          sum.bf16 ? gradients : 0));
    const size_t statistics = count - gradients; /* two per channel of every map */
    sum.comm_thread = wants_thread(step);
    sum.widest = statistics > DN_STEP_SCORES ? statistics : DN_STEP_SCORES;
    return dn_allreduce_create(&step->allreduce, comm, step->tree, &sum);
}

dn_bytes dn_step_bytes(const dn_step *step)
{
    dn_bytes bytes = {.fixed = (double)step->optimizer.floats * sizeof(float) +
                               (double)dn_tree_bytes(step->tree) +
                               (double)dn_allreduce_bytes(step->allreduce)};
    for (int m = 1; m < step->team.count; m++)
        bytes.by_batch += (double)dn_net_view(step->team.nets[m]).arena_bytes;
    return bytes;
}

void dn_step_destroy(dn_step *step)
{
    dn_allreduce_destroy(&step->allreduce);
    dn_tree_destroy(&step->tree);
    dn_net **const nets = (dn_net **)step->team.nets; /* make_team made them non-const */
    for (int m = step->team.count; --m > 0;)
        dn_net_destroy(&nets[m]);
    free(nets);
    free(step->results);
    dn_optimizer_state_destroy(&step->optimizer);
    free(step->learnt);
    free(step->losses);
    free(step->scores);
    *step = (dn_step){0};
}
