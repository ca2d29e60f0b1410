/* The training step; see step.h. */
#include "training/step.h"

#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "job/heartbeat.h"
#include "job/placement.h"
#include "job/timeline.h"
#include "training/rescue.h"

/* What a step adds up over the virtual ranks; and of what it takes the largest: how long a rank
 * waited for the sum, the negative of that, how long for its batches, whether it found a sum that
 * is not finite, and why to stop. Last the rank that waited least: the others waited for it. */
enum {
    LOSS,
    CORRECT,
    SUMS,
    WAIT = SUMS,
    NEGATIVE_WAIT,
    DATA_WAIT,
    BAD_SUM,
    STOP,
    LATE_RANK,
    SCORES
};

/* Ends a span that began at `start`, and returns its end. */
static double mark(const dn_step *step, dn_span span, int64_t number, double start)
{
    const double now = omp_get_wtime();
    dn_timeline_add(step->comm->timeline, span, number, 0, start, now);
    return now;
}

static void add_doubles(void *sum, const void *other, size_t count)
{
    double *x = sum;
    const double *y = other;
    for (size_t i = 0; i < count; i++)
        x[i] = x[i] + y[i];
}

static void merge_scores(void *sum, const void *other, size_t count)
{
    double *x = sum;
    const double *y = other;
    (void)count;
    add_doubles(x, y, SUMS);
    if (y[NEGATIVE_WAIT] > x[NEGATIVE_WAIT])
        x[LATE_RANK] = y[LATE_RANK];
    for (size_t i = SUMS; i < LATE_RANK; i++)
        x[i] = fmax(x[i], y[i]);
}

/* Adds up the statistics of a norm group's batches. */
static void sum_statistics(void *user, double *rows, size_t width)
{
    const dn_step *step = user;
    const double start = omp_get_wtime();
    dn_allreduce_rows(step->allreduce, rows, width, add_doubles);
    mark(step, DN_SPAN_STATISTICS, (int64_t)width, start);
}

/* The nets that compute at once: all of a norm group's on this rank, else one in turn for each. */
static dn_status make_team(dn_step *step)
{
    const int is_group = dn_net_view(step->net).norm_group > 1;
    const int count = is_group ? step->last - step->first : 1;
    dn_net **const nets = calloc((size_t)count, sizeof *nets);
    step->team = (dn_team){.nets = nets, .user = step};
    step->results = calloc((size_t)count, sizeof *step->results);
    DN_CHECK(nets != NULL && step->results != NULL, DN_ENOMEM,
             "memory: found none for %d virtual ranks", count);
    nets[0] = step->net;
    step->team.count = 1;
    if (is_group) {
        step->team.first = step->first;
        step->team.exchange = sum_statistics;
    }
    for (; step->team.count < count; step->team.count++)
        DN_TRY(dn_net_create_sharing(&nets[step->team.count], step->net));
    return DN_OK;
}

/* 1 where a thread is to look after the gradients, and may. */
static int wants_thread(const dn_comm *comm, dn_comm_thread choice)
{
    const dn_place *place = comm->place;
    const int has_spare_core =
        place->cores >= place->sharers * (place->threads + 1) &&
        (place->quota == 0 || place->quota >= 100 * place->quota_ranks * (place->threads + 1));
    return comm->threads_may_call &&
           (choice == DN_COMM_THREAD_ON || (choice == DN_COMM_THREAD_AUTO && has_spare_core));
}

/* to = the parameters that are learnt, those of the head or the others; returns how many. */
static int copy_learnt(const dn_view *net, int head, dn_tensor *to)
{
    int count = 0;
    for (const dn_tensor *t = net->tensors; t < net->tensors + net->tensor_count; t++) {
        const int is_head = t->kind == DN_LINEAR_WEIGHT || t->kind == DN_LINEAR_BIAS;
        if (dn_is_parameter(t) && !t->frozen && is_head == head)
            to[count++] = *t;
    }
    return count;
}

static dn_status find_learnt(dn_step *step)
{
    const dn_view net = dn_net_view(step->net);
    step->learnt = calloc((size_t)net.tensor_count, sizeof *step->learnt);
    DN_CHECK(step->learnt, DN_ENOMEM, "memory: found none for %d tensors", net.tensor_count);
    step->head_tensors = copy_learnt(&net, 1, step->learnt);
    step->learnt_tensors =
        step->head_tensors + copy_learnt(&net, 0, step->learnt + step->head_tensors);
    return DN_OK;
}

dn_status dn_step_create(dn_step *step, const dn_comm *comm, dn_net *net,
                         const dn_step_settings *settings)
{
    const int v = settings->virtual_ranks, bf16 = settings->wire == DN_BF16;
    *step = (dn_step){.comm = comm, .net = net, .settings = *settings};
    step->first = dn_tree_first(v, comm->size, comm->rank);
    step->last = dn_tree_first(v, comm->size, comm->rank + 1);
    const dn_view view = dn_net_view(net);
    const size_t count = view.leaf_count, gradients = view.gradient_count;
    DN_TRY(dn_optimizer_state_create(
        &step->optimizer, view.kernels->optimizers[settings->optimizer], view.parameter_count,
        settings->average_decay > 0 ? view.parameter_count + view.running_count : 0));
    DN_TRY(find_learnt(step));
    const int own = step->last - step->first;
    step->losses = calloc((size_t)own, sizeof *step->losses);
    step->scores = calloc((size_t)own * SCORES, sizeof *step->scores);
    DN_CHECK(step->losses != NULL && step->scores != NULL, DN_ENOMEM,
             "memory: found none for the scores of %d virtual ranks", own);
    DN_TRY(make_team(step));
    DN_TRY(dn_tree_create(&step->tree, v, step->first, step->last, view.leaf, count,
                          bf16 ? gradients : 0));
    const size_t statistics = count - gradients; /* of all maps, two a channel */
    return dn_allreduce_create(
        &step->allreduce, comm, step->tree,
        &(dn_allreduce_settings){.virtual_ranks = v,
                                 .count = count,
                                 .split = gradients,
                                 .bucket =
                                     (size_t)(settings->bucket_mb * (1 << 20) / sizeof(float)),
                                 .bf16 = bf16,
                                 .comm_thread = wants_thread(comm, settings->comm_thread),
                                 .widest = statistics > SCORES ? statistics : SCORES});
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
    dn_net **const nets = (dn_net **)step->team.nets; /* those of make_team, which made them */
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

/* The last virtual rank's backward pass has finished floats [0, end) of its leaf. */
static void send_gradients(void *user, size_t end)
{
    dn_step *step = user;
    dn_tree_push(step->tree, step->pushed, end);
    step->pushed = end;
    dn_allreduce_ready(step->allreduce, end);
}

/* What is left to add of member `m`'s leaf, virtual rank `v`'s. The tree takes all leaves from the
 * first net's array. */
static void add_leaf(dn_step *step, int m, int v)
{
    const dn_view lead = dn_net_view(step->net);
    const size_t count = lead.leaf_count;
    if (m > 0)
        memcpy(lead.leaf, dn_net_view(step->team.nets[m]).leaf, count * sizeof(float));
    if (v < step->last - 1)
        dn_tree_push(step->tree, 0, count);
    else if (step->pushed < count)
        send_gradients(step, count);
}

/* Batches of the team's virtual ranks from `v` on, in step `number`. Other ranks wait for this
 * one's sums, so where one cannot be loaded the pass goes on with what images there are, and has no
 * loss. */
static void load_team(dn_step *step, int64_t number, int v)
{
    const dn_step_settings *s = &step->settings;
    const double start = omp_get_wtime();
    for (int m = 0; m < step->team.count; m++) {
        const dn_view net = dn_net_view(step->team.nets[m]);
        const dn_status status = s->load(s->user, v + m, net.images, net.labels, &step->data_wait);
        dn_failure_keep(&step->loading, status);
        if (status != DN_OK)
            memset(net.labels, 0, (size_t)net.batch * sizeof *net.labels);
        const dn_spec *spec = net.spec;
        const dn_mix mix = dn_mix_draw(&s->mixing, s->seed, (uint64_t)number, (uint64_t)(v + m),
                                       spec->height, spec->width);
        dn_mix_images(&mix, net.images, net.batch, spec->channels, spec->height, spec->width);
    }
    mark(step, DN_SPAN_LOAD, v, start);
}

/* Losses and gradients of the team's virtual ranks from `v` on, in step `number`. */
static void compute(dn_step *step, int64_t number, int v, dn_ready_fn *ready)
{
    const dn_team *team = &step->team;
    const dn_pass pass = {.seed = step->settings.seed,
                          .step = (uint64_t)number,
                          .virtual_rank = (uint64_t)v,
                          .label_smoothing = (float)step->settings.label_smoothing,
                          .class_weights = step->settings.class_weights,
                          .mixing = step->settings.mixing,
                          .ready = ready,
                          .user = step};
    dn_heartbeat_doing(step->comm->heartbeat, DN_FORWARD);
    load_team(step, number, v);
    double time = omp_get_wtime();
    dn_team_forward(team, &pass, step->results);
    time = mark(step, DN_SPAN_FORWARD, v, time);
    dn_heartbeat_doing(step->comm->heartbeat, DN_BACKWARD);
    dn_team_backward(team, &pass);
    mark(step, DN_SPAN_BACKWARD, v, time);
}

/* The same, added into the tree. A norm group's gradients are sent after its last exchange. */
static void run_team(dn_step *step, int64_t number, int v)
{
    const dn_team *team = &step->team;
    const int is_sent = v == step->last - 1 && team->exchange == NULL;
    compute(step, number, v, is_sent ? send_gradients : NULL);
    for (int m = 0; m < team->count; m++) {
        add_leaf(step, m, v + m);
        const int row = v + m - step->first;
        step->losses[row] = step->loading.status == DN_OK ? step->results[m].loss : NAN;
        step->scores[row * SCORES + LOSS] = step->losses[row];
        step->scores[row * SCORES + CORRECT] = step->results[m].correct1;
    }
}

/* ---- non-finite losses and gradients ---- */

static int is_leaf_finite(const dn_net *net)
{
    const float *leaf = dn_net_view(net).leaf;
    const size_t count = dn_net_view(net).leaf_count;
    int bad = 0;
#pragma omp parallel for simd reduction(| : bad)
    for (size_t i = 0; i < count; i++)
        bad |= !(fabsf(leaf[i]) <= FLT_MAX);
    return !bad;
}

/* The lowest of the virtual ranks that the ranks give, -1 where all give the number of them. */
static int lowest(const dn_step *step, int v)
{
    const int none = step->settings.virtual_ranks, least = none - dn_comm_max(step->comm, none - v);
    return least < none ? least : -1;
}

/* The first virtual rank whose loss is not finite, and that loss, on all ranks. */
static int find_loss(const dn_step *step, double *loss)
{
    int own = step->settings.virtual_ranks, root = 0;
    for (int v = step->last; v-- > step->first;)
        if (!isfinite(step->losses[v - step->first]))
            own = v;
    const int found = lowest(step, own);
    while (dn_tree_first(step->settings.virtual_ranks, step->comm->size, root + 1) <= found)
        root++;
    *loss = found == own ? step->losses[own - step->first] : 0;
    dn_comm_broadcast(step->comm, loss, sizeof *loss, root);
    return found;
}

/* The virtual rank whose gradient made the sum non-finite, -1 where each is finite: nothing was
 * updated yet, so computing them once more gives the same. */
static int find_gradient(dn_step *step, int64_t number)
{
    const dn_team *team = &step->team;
    int own = step->settings.virtual_ranks;
    for (int v = step->first; v < step->last; v += team->count) {
        compute(step, number, v, NULL);
        for (int m = team->count; m-- > 0;)
            if (v + m < own && !is_leaf_finite(team->nets[m]))
                own = v + m;
    }
    return lowest(step, own);
}

/* Looks at the losses and the summed gradient. All ranks come to the same result, also where one
 * has other sums than the rest, as by a fault of its memory: the step's scores say so. */
static dn_status check_numbers(dn_step *step, int64_t number, int *culprit)
{
    if (!isfinite(step->scores[LOSS])) { /* also where a rank could not load its batch */
        double loss;
        DN_TRY(dn_comm_agree(step->comm, dn_failure_report(&step->loading)));
        *culprit = find_loss(step, &loss);
        return dn_fail(DN_EDIVERGED, "the loss of virtual rank %d is %g", *culprit, loss);
    }
    if (step->scores[BAD_SUM] == 0)
        return DN_OK;
    *culprit = find_gradient(step, number);
    DN_TRY(dn_comm_agree(step->comm, dn_failure_report(&step->loading)));
    DN_CHECK(*culprit >= 0, DN_EDIVERGED, "the sum of the virtual ranks' gradients is not finite");
    return dn_fail(DN_EDIVERGED, "the gradient of virtual rank %d is not finite", *culprit);
}

/* What the mean gradient of sum(count) is multiplied by for the update. */
static float gradient_scale(const dn_step *step, const float *sum, size_t count)
{
    const float share = 1 / (float)step->settings.virtual_ranks;
    const double most = step->settings.clip_norm;
    const double norm = most > 0 ? (double)share * dn_gradient_norm(sum, count) : 0;
    return norm > most ? share * (float)(most / (norm + 1e-6)) : share;
}

/* Those of frozen parameters that the backward pass has by the way. */
static void clear_frozen(const dn_view *net, float *gradients)
{
    for (const dn_tensor *t = net->tensors; t < net->tensors + net->tensor_count; t++)
        if (t->frozen && t->offset < net->gradient_count)
            memset(gradients + t->offset, 0, t->count * sizeof *gradients);
}

/* Parameters and running statistics from the summed leaf. */
static void update(dn_step *step, int64_t number, double rate)
{
    const dn_view net = dn_net_view(step->net);
    const float share = 1 / (float)step->settings.virtual_ranks;
    /* The last leaf became the sum of all: tree and allreduce add in place (dn/tree.h). */
    float *const sum = net.leaf;
    clear_frozen(&net, sum);
    dn_update u = {.settings = step->settings.rule,
                   .step = number + 1,
                   .count = net.parameter_count,
                   .parameters = net.parameters,
                   .states = step->optimizer.vectors,
                   .gradients = sum,
                   .gradient_scale = gradient_scale(step, sum, net.gradient_count),
                   .tensors = step->learnt,
                   .tensor_count = step->learnt_tensors};
    u.settings.rate = rate;
    if (step->settings.head_rate != 1) {
        u.tensor_count = step->head_tensors;
        u.settings.rate = rate * step->settings.head_rate;
        step->optimizer.optimizer->update(&u);
        u.tensors += step->head_tensors;
        u.tensor_count = step->learnt_tensors - step->head_tensors;
        u.settings.rate = rate;
    }
    step->optimizer.optimizer->update(&u);
    if (step->optimizer.average != NULL)
        dn_optimizer_average(&step->optimizer, net.parameters, step->settings.average_decay);
    for (size_t i = net.gradient_count; i < net.leaf_count; i++)
        sum[i] *= share;
    dn_net_update_running(step->net, sum);
}

/* Seconds with buckets in flight, which go to the timeline. */
static double record_buckets(dn_step *step)
{
    const dn_bucket *bucket;
    const int buckets = dn_allreduce_buckets(step->allreduce, &bucket);
    double seconds = 0, until = 0;
    for (int i = 0; i < buckets; i++) { /* in the order of their starts */
        const double start = bucket[i].start > until ? bucket[i].start : until;
        seconds += bucket[i].end > start ? bucket[i].end - start : 0;
        until = bucket[i].end > until ? bucket[i].end : until;
        if (step->comm->size > 1)
            dn_timeline_add(step->comm->timeline, DN_SPAN_BUCKET, i, bucket[i].flight,
                            bucket[i].start, bucket[i].end);
    }
    return seconds;
}

/* Shares the scores of a step that began at `start`, computed until `computed` and has had the sum
 * since `reduced`; returns why a rank should stop. What even the latest rank waits for the sum is
 * communication; what the others wait beyond that, they wait for the latest. */
static int share_scores(dn_step *step, double start, double computed, double reduced)
{
    const int is_bad = !is_leaf_finite(step->net);
    dn_preempt *stop = step->settings.preempt;
    if (stop)
        stop->longest_step = fmax(stop->longest_step, reduced - start);
    for (int row = 0; row < step->last - step->first; row++) {
        double *scores = step->scores + (ptrdiff_t)row * SCORES;
        scores[WAIT] = reduced - computed;
        scores[NEGATIVE_WAIT] = computed - reduced;
        scores[DATA_WAIT] = step->data_wait;
        scores[BAD_SUM] = is_bad;
        scores[STOP] = stop ? dn_preempt_reason(stop) : 0;
        scores[LATE_RANK] = step->comm->rank;
    }
    dn_allreduce_rows(step->allreduce, step->scores, SCORES, merge_scores);
    const double most = step->scores[WAIT], least = -step->scores[NEGATIVE_WAIT];
    step->times.exposed += least;
    step->times.imbalance += most - least;
    return (int)step->scores[STOP];
}

dn_status dn_step_run(dn_step *step, int64_t number, double rate, dn_step_result *result)
{
    const double start = omp_get_wtime();
    dn_heartbeat_step(step->comm->heartbeat, number + 1);
    dn_tree_reset(step->tree);
    step->pushed = 0;
    step->loading.status = DN_OK;
    step->data_wait = 0;
    for (int i = step->first; i < step->last; i += step->team.count)
        run_team(step, number, i);
    const double computed = omp_get_wtime();
    dn_heartbeat_doing(step->comm->heartbeat, DN_SUMMING);
    dn_allreduce_finish(step->allreduce);
    const double reduced = mark(step, DN_SPAN_WAIT, number, computed);
    result->preempted = share_scores(step, start, computed, reduced);
    dn_heartbeat_doing(step->comm->heartbeat, DN_UPDATING);
    DN_TRY(check_numbers(step, number, &result->culprit));
    dn_rescue_hold(step->settings.rescue);
    update(step, number, rate);
    dn_rescue_release(step->settings.rescue, number + 1);
    const double updated = mark(step, DN_SPAN_UPDATE, number, reduced);
    result->loss = step->scores[LOSS] / step->settings.virtual_ranks;
    result->correct = (int64_t)step->scores[CORRECT];
    result->data_wait = step->scores[DATA_WAIT];
    result->sum_wait = step->scores[WAIT];
    result->late_rank = (int)step->scores[LATE_RANK];
    result->late_wait = step->scores[WAIT] + step->scores[NEGATIVE_WAIT];
    step->times.compute += computed - start;
    step->times.wait += reduced - computed;
    step->times.flight += record_buckets(step);
    step->times.update += updated - reduced;
    return DN_OK;
}
