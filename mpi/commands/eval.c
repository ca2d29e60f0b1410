/* `dn_dist eval`: the scores of a checkpoint on the test set. */
#include "commands/commands.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "training/run.h"

static void print_scores(const dn_options *options, const dn_scores *scores, int64_t images)
{
    char loss[32] = "null"; /* JSON has no NaN */
    if (isfinite(scores->loss))
        snprintf(loss, sizeof loss, "%.9g", scores->loss);
    if (options->json)
        printf("{\"top1\": %.9g, \"top5\": %.9g, \"loss\": %s}\n", scores->top1, scores->top5,
               loss);
    else
        printf("%" PRId64 " images: top-1 %.2f %%, top-5 %.2f %%, loss %.4f\n", images,
               scores->top1, scores->top5, scores->loss);
}

/* The net that the checkpoint holds, with its weights, and what makes its input of images. The
 * options take what the checkpoint recorded; a batch is of no more than all images. Not collective.
 */
static dn_status load_net(dn_net **net, dn_transform *transform, dn_options *options,
                          const dn_source *images)
{
    dn_checkpoint state;
    dn_checkpoint_file *file;
    dn_status status;
    DN_TRY_OR_DONE(dn_checkpoint_open(&file, options->checkpoint, &state));
    DN_TRY_OR_DONE(dn_options_resume(options, &state));
    if (options->batch_size > images->count)
        options->batch_size = (int)images->count;
    DN_TRY_OR_DONE(dn_options_transform(options, DN_TEST, &images->info, transform));
    DN_TRY_OR_DONE(dn_options_net(options, &images->info, transform, 1, net));
    if (!options->json)
        dn_info("%s from %s, kernels %s", dn_net_view(*net).spec->name, options->checkpoint,
                dn_net_view(*net).kernels->name);
    DN_TRY_OR_DONE(options->weights ? dn_checkpoint_load_average(file, *net)
                                    : dn_checkpoint_load(file, *net, NULL));
done:
    dn_checkpoint_close(&file);
    return status;
}

dn_status dn_eval(const dn_comm *comm, dn_options *options)
{
    dn_net *net = NULL;
    dn_split test = {0};
    dn_transform transform;
    dn_scores scores;
    dn_status status;
    DN_TRY_OR_DONE(dn_split_open(&test, comm, options->data, DN_TEST));
    DN_TRY_OR_DONE(dn_comm_agree(comm, load_net(&net, &transform, options, &test.images)));
    DN_TRY_OR_DONE(dn_check_memory(comm, net, (dn_bytes){0}));
    DN_TRY_OR_DONE(dn_evaluate(comm, net, &test.images, &transform, NULL, &scores));
    if (comm->rank == 0)
        print_scores(options, &scores, test.images.count);
done:
    dn_net_destroy(&net);
    dn_split_close(&test);
    return status;
}
