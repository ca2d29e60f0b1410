/*
 * The training step on any number of ranks under mpirun: if one rank alone has a non-finite sum of
 * gradients or losses, all return the same status; all know which rank was late; and the update
 * obeys its settings. Prints one line; the exit status is 1 on failure.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "job/placement.h"
#include "training/step_parts.h"

static dn_net *broken;   /* whose sum is to be spoiled */
static double *loss;     /* a virtual rank's addend, to be spoiled */
static useconds_t delay; /* of this rank's batches, microseconds */

void __real_dn_allreduce_finish(dn_allreduce *a);
void __wrap_dn_allreduce_finish(dn_allreduce *a);

/* In place of the step's call, by the linker. */
void __wrap_dn_allreduce_finish(dn_allreduce *a)
{
    __real_dn_allreduce_finish(a);
    if (broken != NULL)
        dn_net_view(broken).leaf[0] = (float)NAN;
    if (loss != NULL)
        *loss = INFINITY;
}

static dn_status load(void *user, int virtual_rank, float *images, int32_t *labels, double *waited)
{
    const dn_spec *spec = user;
    (void)waited;
    usleep(delay);
    const int values = 4 * spec->channels * spec->height * spec->width;
    for (int i = 0; i < values; i++)
        images[i] = (float)((i * 7 + virtual_rank) % 13) / 13;
    for (int i = 0; i < 4; i++)
        labels[i] = i % spec->classes;
    return DN_OK;
}

static dn_status expect_divergence(dn_step *step, const char *what)
{
    char expected[80];
    dn_step_result result;
    snprintf(expected, sizeof expected, "the sum of the virtual ranks' %s is not finite", what);
    const dn_status status = dn_step_run(step, 0, 0.1, 0, &result);
    DN_CHECK(status == DN_EDIVERGED && strcmp(dn_message(), expected) == 0, DN_EINVAL,
             "found status %d: %s, expected: %s", status, dn_message(), expected);
    return DN_OK;
}

/* Steps with and without the faults; a message says what went wrong. The ranks agree on it before
 * the next step, in which they would wait for one that has left. */
static dn_status run_steps(const dn_comm *comm, dn_step *step, dn_net *net)
{
    dn_step_result result;
    const uint64_t before = dn_net_hash(net);
    const int is_last = comm->rank == comm->size - 1;
    broken = is_last ? net : NULL;
    DN_TRY(dn_comm_agree(comm, expect_divergence(step, "gradients")));
    broken = NULL;
    loss = is_last ? &step->scores[DN_SCORE_LOSS] : NULL;
    DN_TRY(dn_comm_agree(comm, expect_divergence(step, "losses")));
    loss = NULL;
    const uint64_t kept = dn_net_hash(net);
    DN_TRY(dn_step_run(step, 0, 0.1, 0, &result));
    DN_CHECK(kept == before, DN_EINVAL, "found other weights");
    DN_CHECK(dn_net_hash(net) != before, DN_EINVAL, "found the same weights");
    return DN_OK;
}

/* A rank that comes later and later is the late one in the end, whatever else delays the others. */
static dn_status run_late(const dn_comm *comm, dn_step *step)
{
    const int late = comm->size / 2;
    dn_step_result result = {.values.late_rank = -1};
    for (useconds_t d = 20000;
         dn_comm_max(comm, result.values.late_rank != late) > 0 && d < 5000000; d *= 2) {
        delay = comm->rank == late ? d : 0;
        DN_TRY(dn_step_run(step, 0, 0.1, 0, &result));
    }
    delay = 0;
    DN_CHECK(result.values.late_rank == late, DN_EINVAL, "found rank %d late, expected %d",
             result.values.late_rank, late);
    DN_CHECK(comm->size == 1 ? result.values.late_wait == 0 : result.values.late_wait > 0,
             DN_EINVAL, "found a wait of %g s for the late rank", result.values.late_wait);
    return DN_OK;
}

/* The parameter moves by `factor` times its summed gradient, to within rounding. */
static dn_status expect_moves(const dn_view *net, const dn_tensor *t, const float *before,
                              double factor)
{
    for (size_t i = t->offset; i < t->offset + t->count; i++) {
        const double expected = before[i] - factor * net->leaf[i];
        DN_CHECK(fabs(net->parameters[i] - expected) <= 1e-6 * (1 + fabs(expected)), DN_EINVAL,
                 "%s: found %.8g after an update of %.8g by %.8g, expected %.8g", t->name,
                 net->parameters[i], before[i], factor * net->leaf[i], expected);
    }
    return DN_OK;
}

/* SGD with a limit of `share` times the gradient's norm, and three times the rate in the head. */
static dn_status run_update(dn_step *step, const dn_view *net, double share, float *before)
{
    static const double rate = 0.1, head_rate = 3;
    dn_step_result result;
    step->settings.head_rate = head_rate;
    DN_TRY(dn_step_run(step, 0, 0, 0, &result)); /* for the gradient's norm */
    double squares = 0;
    for (size_t i = 0; i < net->gradient_count; i++)
        squares += (double)net->leaf[i] * net->leaf[i];
    const double norm = sqrt(squares) / step->settings.virtual_ranks;
    step->settings.clip_norm = share * norm;
    memcpy(before, net->parameters, net->parameter_count * sizeof *before);
    DN_TRY(dn_step_run(step, 0, rate, 0, &result));
    const double scale = rate * fmin(share, 1) / step->settings.virtual_ranks;
    for (const dn_tensor *t = net->tensors; t < net->tensors + net->tensor_count; t++) {
        if (dn_is_parameter(t))
            DN_TRY(expect_moves(net, t, before, t->is_head ? scale * head_rate : scale));
    }
    return DN_OK;
}

static dn_status run_updates(const dn_comm *comm, dn_step *step, dn_net *net)
{
    const dn_view view = dn_net_view(net);
    float *before = malloc(view.parameter_count * sizeof *before);
    DN_CHECK(before, DN_ENOMEM, "out of memory for %zu parameters", view.parameter_count);
    dn_status status = dn_comm_agree(comm, run_update(step, &view, 0.5, before));
    if (status == DN_OK)
        status = run_update(step, &view, 2, before);
    free(before);
    return status;
}

/* The loss of the same weights is linear in the label smoothing. */
static dn_status run_smoothing(dn_step *step)
{
    double losses[3];
    for (int i = 0; i < 3; i++) {
        dn_step_result result;
        step->settings.label_smoothing = 0.4 * i;
        DN_TRY(dn_step_run(step, 0, 0, 0, &result));
        losses[i] = result.values.loss;
    }
    const double once = losses[1] - losses[0], twice = losses[2] - losses[0];
    DN_CHECK(fabs(once) > 1e-5 && fabs(twice - 2 * once) < 1e-6, DN_EINVAL,
             "found losses %.8g, %.8g and %.8g with label smoothing 0, 0.4 and 0.8", losses[0],
             losses[1], losses[2]);
    return DN_OK;
}

static dn_status test_step(const dn_comm *comm)
{
    dn_spec spec;
    dn_net *net;
    dn_step step;
    const dn_net_options options = {.batch = 4, .train = 1, .norm_group = 1};
    dn_step_settings settings = {
        .virtual_ranks = comm->size, .load = load, .head_rate = 1, .bucket_mb = 1};
    DN_TRY(dn_spec_parse(&spec, "blocks=1,1:growth=4:stem=cifar"));
    spec.height = spec.width = 8;
    spec.classes = 2;
    settings.user = &spec;
    DN_TRY(dn_net_create(&net, &spec, dn_kernels_get(0), &options));
    dn_net_init(net, DN_INIT_KAIMING, 1);
    dn_status status = dn_step_create(&step, comm, net, &settings);
    if (status == DN_OK)
        status = dn_comm_agree(comm, run_steps(comm, &step, net));
    if (status == DN_OK)
        status = dn_comm_agree(comm, run_updates(comm, &step, net));
    if (status == DN_OK)
        status = dn_comm_agree(comm, run_smoothing(&step));
    if (status == DN_OK)
        status = run_late(comm, &step);
    dn_step_destroy(&step);
    dn_net_destroy(&net);
    return status;
}

int main(int argc, char **argv)
{
    dn_comm comm;
    dn_place place = {.cores = 1, .sharers = 1, .threads = 1};
    dn_comm_init(&comm, &argc, &argv);
    comm.place = &place;
    const int is_bad = dn_comm_agree(&comm, test_step(&comm)) != DN_OK;
    if (comm.rank == 0)
        printf("a step on %d ranks: %s\n", comm.size, is_bad ? dn_message() : "right");
    dn_comm_finalize(&comm);
    return is_bad;
}
