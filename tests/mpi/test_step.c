/*
 * A step on real ranks whose summed gradient is not finite on one of them alone: all ranks end it
 * with the same failure, which names that rank, and none waits for the others.
 *
 * The linker lets this file's dn_allreduce_finish stand before the program's (--wrap).
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "job/placement.h"
#include "training/step.h"

static const dn_net *spoilt; /* NULL: none of this rank's */

void __real_dn_allreduce_finish(dn_allreduce *a);
void __wrap_dn_allreduce_finish(dn_allreduce *a);

void __wrap_dn_allreduce_finish(dn_allreduce *a)
{
    __real_dn_allreduce_finish(a);
    if (spoilt)
        dn_net_view(spoilt).leaf[3] = NAN;
}

static dn_status load_zeros(void *user, int virtual_rank, float *images, int32_t *labels)
{
    const dn_net *net = user;
    const dn_view view = dn_net_view(net);
    memset(labels, 0, (size_t)view.batch * sizeof *labels);
    for (int i = 0; i < view.batch * view.spec->height * view.spec->width; i++)
        images[i] = (float)((i * 7 + virtual_rank) % 13);
    return DN_OK;
}

static dn_status make_net(dn_net **net)
{
    const dn_kernels *kernels;
    dn_spec spec;
    DN_TRY(dn_spec_parse(&spec, "blocks=1:growth=4:stem=cifar"));
    spec.channels = 1;
    spec.height = spec.width = 8;
    spec.classes = 4;
    DN_TRY(dn_kernels_select(&kernels, ""));
    DN_TRY(dn_net_create(net, &spec, kernels,
                         &(dn_net_options){.batch = 2, .train = 1, .norm_group = 1}));
    dn_net_init(*net, DN_INIT_KAIMING, 1);
    return DN_OK;
}

/* Steps with a good sum, then one that the last rank has spoilt. */
static dn_status run_steps(dn_comm *comm, dn_net *net, dn_step *step)
{
    dn_step_result result;
    char expected[256];
    const int last = comm->size - 1;
    DN_TRY(dn_step_create(
        step, comm, net,
        &(dn_step_settings){
            .virtual_ranks = comm->size, .load = load_zeros, .user = net, .bucket_mb = 1}));
    DN_TRY(dn_step_run(step, 0, 0.1, &result));
    const uint64_t before = dn_net_hash(net);
    spoilt = comm->rank == last ? net : NULL;
    const dn_status status = dn_step_run(step, 1, 0.1, &result);
    spoilt = NULL;
    DN_CHECK(status == DN_EDIVERGED, DN_EINVAL, "found status %d of the spoilt step", status);
    DN_CHECK(dn_net_hash(net) == before, DN_EINVAL, "the spoilt step changed the weights");
    snprintf(expected, sizeof expected, "not finite on rank %d", last);
    DN_CHECK(comm->size == 1 || strstr(dn_message(), expected) != NULL, DN_EINVAL,
             "found '%s', expected '%s'", dn_message(), expected);
    return dn_step_run(step, 1, 0.1, &result);
}

int main(int argc, char **argv)
{
    dn_comm comm;
    dn_place place;
    dn_net *net = NULL;
    dn_step step = {0};
    dn_comm_init(&comm, &argc, &argv);
    dn_status status = dn_place_create(&place, &comm, 1, DN_PIN_AUTO);
    comm.place = &place;
    if (status == DN_OK)
        status = dn_comm_agree(&comm, make_net(&net));
    if (status == DN_OK)
        status = dn_comm_agree(&comm, run_steps(&comm, net, &step));
    if (comm.rank == 0)
        printf("a sum spoilt on one of %d ranks: %s\n", comm.size,
               status == DN_OK ? "noticed by all" : dn_message());
    dn_step_destroy(&step);
    dn_net_destroy(&net);
    dn_comm_finalize(&comm);
    return status != DN_OK;
}
