/*
 * The training step on any number of ranks under mpirun: if one rank alone has a non-finite sum of
 * gradients or losses, all return the same status; and all know which rank was late. Prints one
 * line; the exit status is 1 on failure.
 */
#include <math.h>
#include <stdio.h>
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
