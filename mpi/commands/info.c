/* `dn_dist info`: parameters, multiply-adds, memory and learning rates; with --layers also for each
 * layer. */
#include "commands/commands.h"
#include "commands/from_options.h"
#include "dn/layer_info.h"
#include "dn/loader.h"
#include "dn/manifest.h"
#include "dn/optimizer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_layer(const dn_layer_info *layer)
{
    char in[48], out[48];
    snprintf(in, sizeof in, "%dx%dx%d", layer->in_channels, layer->in_height, layer->in_width);
    snprintf(out, sizeof out, "%dx%dx%d", layer->out_channels, layer->out_height, layer->out_width);
    printf("%-44s %-13s %16s %16s %10zu %14.0f\n", layer->name, layer->kind, in, out,
           layer->parameters, layer->multiply_adds);
}

static void print_layers(const dn_net *net, int is_listed)
{
    double multiply_adds = 0;
    if (is_listed)
        printf("\n%-44s %-13s %16s %16s %10s %14s\n", "layer", "kind", "input CxHxW",
               "output CxHxW", "parameters", "multiply-adds");
    for (int i = 0; i < dn_net_view(net).layers; i++) {
        dn_layer_info layer;
        dn_net_layer_info(net, i, &layer);
        if (is_listed)
            print_layer(&layer);
        multiply_adds += layer.multiply_adds;
    }
    printf("%sparameters %zu, multiply-adds an image forward %.0f\n", is_listed ? "\n" : "",
           dn_net_view(net).parameter_count, multiply_adds);
}

static void print_memory_plan(const dn_net *net, int is_listed)
{
    const dn_view view = dn_net_view(net);
    size_t most = 0;
    printf("memory plan, training, batch %d: %zu bytes\n", view.batch, view.arena_bytes);
    if (is_listed)
        printf("%-36s %14s %14s %6s %6s\n", "region", "offset", "bytes", "first", "last");
    for (int i = 0; i < view.region_count; i++) {
        const dn_region_info *r = &view.regions[i];
        if (r->first >= r->last)
            most = r->bytes > most ? r->bytes : most;
        else if (is_listed)
            printf("%-36s %14zu %14zu %6d %6d\n", r->name, r->offset, r->bytes, r->first, r->last);
    }
    printf("packed weights and partial sums of one step each: at most %zu bytes\n", most);
}

/* An optimizer's vector has the length of the parameters; a sum's also contains the batch
 * statistics. */
static void print_beside_plan(const dn_net *net, const dn_options *options)
{
    const dn_view view = dn_net_view(net);
    const dn_optimizer *optimizer = dn_optimizer_get(view.kernels, options->step.optimizer);
    printf("beside the plan: ");
    for (int i = 0; optimizer->states[i]; i++)
        printf("%s, %zu bytes; ", optimizer->states[i], view.parameter_count * sizeof(float));
    printf("sums over virtual ranks, %zu bytes a vector\n", view.leaf_count * sizeof(float));
}

enum {
    ASSUMED_STEPS = 1000, /* an epoch, without --data */
    MOST_EPOCHS = 100000  /* that are searched, so that a mistyped --epochs ends */
};

/* *images = the number of training images of --data, without those that --val-fraction holds out;
 * the net takes image size and classes from it. Without --data: 0. */
static dn_status read_data(dn_options *o, int64_t *images)
{
    dn_manifest *manifest;
    *images = 0;
    if (!dn_options_given(o, "data"))
        return DN_OK;
    DN_TRY(dn_manifest_load(&manifest, o->data));
    dn_options_fit(o, &manifest->info);
    *images = manifest->split[DN_TRAIN].count;
    *images -= llround(o->run.val_fraction * (double)*images); /* as dn_draw_images does */
    free(manifest);
    return DN_OK;
}

/* 1 if the options say anything about the rate. */
static int has_schedule(const dn_options *o)
{
    int given = dn_options_given(o, "recipe");
    for (const dn_option *row = dn_option_table; row->name; row++)
        given |= strcmp(row->group, "Optimisation") == 0 && dn_options_given(o, row->name);
    return given;
}

/* Prints the rate of each epoch's first step; consecutive epochs with the same rate share a line.
 */
static dn_status print_schedule(const dn_options *o, int64_t images)
{
    const int virtual_ranks = o->step.virtual_ranks > 0 ? o->step.virtual_ranks : 1;
    const int has_data = dn_options_given(o, "data");
    int64_t steps = ASSUMED_STEPS;
    dn_rate rate;
    if (has_data)
        DN_TRY(dn_options_steps(o, virtual_ranks, images, &steps));
    DN_TRY(dn_options_rate(o, virtual_ranks, steps, &rate));
    printf("\nlearning rate, %s schedule, global batch %" PRId64 ", %" PRId64
           " steps an epoch%s, at the first step of epochs\n",
           rate.schedule->name, (int64_t)o->batch_size * virtual_ranks, steps,
           has_data ? "" : " (no --data)");
    const int64_t epochs = o->epochs < MOST_EPOCHS ? o->epochs : MOST_EPOCHS;
    for (int64_t first = 0, end; first < epochs; first = end) {
        const double now = dn_learning_rate(&rate, first * steps);
        for (end = first + 1; end < epochs && dn_learning_rate(&rate, end * steps) == now;)
            end++;
        char last[32] = "";
        if (end - first > 1)
            snprintf(last, sizeof last, "to %" PRId64, end);
        printf("  %6" PRId64 " %-10s %.6g\n", first + 1, last, now);
    }
    if (epochs < o->epochs)
        printf("  later epochs are not shown\n");
    if (rate.schedule->observe != NULL)
        printf("  until --plateau-patience epochs have been no better: then times %g\n",
               rate.settings.gamma);
    return DN_OK;
}

static dn_status print_info(dn_options *options)
{
    dn_net *net = NULL, *further = NULL;
    int64_t images;
    dn_status status;
    DN_TRY(read_data(options, &images));
    DN_TRY_OR_DONE(dn_options_net(options, DN_NET_IS_PLANNED, NULL, NULL, 1, &net));
    DN_TRY_OR_DONE(dn_net_create_sharing(&further, net));
    const dn_spec *spec = dn_net_view(net).spec;
    printf("%s, %dx%dx%d images, %d classes\n", spec->name, spec->channels, spec->height,
           spec->width, spec->classes);
    print_layers(net, options->layers);
    print_memory_plan(net, options->layers);
    print_beside_plan(net, options);
    printf("batches that are read ahead: %zu bytes\n",
           DN_READ_AHEAD * (size_t)options->batch_size * sizeof(float) * dn_spec_values(spec));
    printf("with --sync-bn, a rank's further virtual ranks: %zu bytes each\n",
           dn_net_view(further).arena_bytes);
    if (has_schedule(options))
        status = print_schedule(options, images);
done:
    dn_net_destroy(&further);
    dn_net_destroy(&net);
    return status;
}

dn_status dn_info_command(const dn_comm *comm, dn_options *options)
{
    return DN_ON_RANK_0(comm, print_info(options));
}
