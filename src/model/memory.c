/*
 * A net's memory: which maps are kept, what regions there are, when each of them lives (plan.h),
 * and which pointer points at it then.
 *
 * The leaf stands at the arena's beginning, as it must be in one piece; a node's part of it lives
 * from that node's backward on, and until then what dies before may stand there. The node that runs
 * has its packed weights and partial sums for that visit alone.
 */
#include "dn/layer_info.h"
#include "layers.h"
#include "plan.h"

#include <stdio.h>
#include <stdlib.h>

enum { RECOMPUTED_PART = 24 }; /* of a step's products may go into bottleneck maps made again */

/* ---- what is made again ---- */

/* A dense layer's 1x1 into a bottleneck map that is kept so far; its inputs are what a value costs
 * to make again. */
static int cheapest_bottleneck(const dn_net *net)
{
    int cheapest = -1;
    for (int i = 0; i < net->node_count; i++) {
        const dn_node *node = &net->nodes[i];
        if (node->kind == DN_NODE_CONV && node->kernel == 1 && !net->maps[node->out].recomputed &&
            (cheapest < 0 || node->inputs < net->nodes[cheapest].inputs))
            cheapest = i;
    }
    return cheapest;
}

static double forward_flops(const dn_net *net, int index)
{
    dn_layer_work work;
    dn_net_layer_work(net, index, 0, &work);
    return work.flops;
}

/* 1: parameters, momentum and gradients take more memory than the maps. */
static int weights_outweigh_maps(const dn_net *net)
{
    double maps = 0;
    for (int i = 0; i < net->map_count; i++)
        maps += net->maps[i].channels * dn_map_pixels(&net->maps[i]) * (double)net->maps[i].element;
    return 3.0 * (double)net->parameter_count * sizeof(float) > maps;
}

/* All bottleneck maps are made again where asked for. Elsewhere those of the first layers may be:
 * few products for large maps, a bargain in deep nets with small batches. */
static void mark_recomputed(dn_net *net)
{
    const double share = weights_outweigh_maps(net) ? 3.0 / RECOMPUTED_PART : 0;
    double left = 0;
    for (int i = 0; i < net->node_count; i++)
        left += share * forward_flops(net, i);
    for (int i; (i = cheapest_bottleneck(net)) >= 0;) {
        left -= forward_flops(net, i);
        if (left < 0 && !net->options.recompute)
            return;
        net->maps[net->nodes[i].out].recomputed = 1;
    }
}

/* ---- regions ---- */

static dn_needs node_needs(const dn_net *net, const dn_node *node)
{
    switch (node->kind) {
    case DN_NODE_STEM:
        return dn_stem_needs(net, node);
    case DN_NODE_STEM_POOL:
        return dn_stem_pool_needs(net, node);
    case DN_NODE_CONV:
        return dn_conv_needs(net, node);
    case DN_NODE_TRANSITION:
        return dn_transition_needs(net, node);
    case DN_NODE_HEAD:
        return dn_head_needs(net, node);
    }
    return (dn_needs){0};
}

/* Evaluation goes forward only. */
static int last_visit(const dn_net *net)
{
    return (net->options.train ? 2 : 1) * net->node_count - 1;
}

/* `target` is the pointer that will point at the region, or NULL. */
static dn_region_info *add_region(dn_net *net, const char *name, void *target, size_t bytes,
                                  int first, int last)
{
    dn_region_info *region = &net->regions[net->region_count];
    *region = (dn_region_info){.bytes = bytes, .first = first, .last = last};
    snprintf(region->name, sizeof region->name, "%s", name);
    net->targets[net->region_count++] = target;
    return region;
}

/* A region that always lives. */
static void add_lasting(dn_net *net, const char *name, void *target, size_t bytes)
{
    add_region(net, name, target, bytes, 0, last_visit(net));
}

/* In whole cache lines. The stem's gradients come last, and with them the statistics, which the
 * forward pass writes. */
static void add_leaf_regions(dn_net *net)
{
    const int end = last_visit(net);
    size_t offset = 0;
    for (int i = net->node_count - 1; i >= 0; i--) {
        const size_t next = dn_round_lanes(dn_node_leaf_end(net, &net->nodes[i])) * sizeof(float);
        add_region(net, "gradients", NULL, next - offset, i > 0 ? end - i : 0, end)->offset =
            offset;
        offset = next;
    }
}

static size_t map_elements(const dn_feature_map *map)
{
    return (size_t)map->layout.groups * (size_t)map->channels * map->layout.stride + DN_LANES;
}

/* A map's data live from its first writer's visit to that node's backward, or to its last reader's
 * and then anew from there where it is made again; its gradient from the backward of its last
 * reader to that of its first writer. */
static void add_map_regions(dn_net *net, dn_feature_map *map)
{
    const int end = last_visit(net), is_recomputed = map->recomputed;
    const size_t elements = map_elements(map), bytes = elements * map->element;
    char name[96];
    add_region(net, map->name, &map->data, bytes, map->written,
               net->options.train && !is_recomputed ? end - map->written : map->read);
    if (!net->options.train)
        return;
    snprintf(name, sizeof name, "%s, made again", map->name);
    if (is_recomputed)
        add_region(net, name, &map->data, bytes, end - map->read, end - map->written);
    snprintf(name, sizeof name, "%s gradient", map->name);
    add_region(net, name, &map->gradient, elements * sizeof(float), end - map->read,
               end - map->written);
}

static void add_head_regions(dn_net *net)
{
    const dn_node *head = &net->nodes[net->node_count - 1];
    const size_t batch = (size_t)net->options.batch, ld = dn_round_lanes(batch);
    const size_t channels = (size_t)head->inputs, classes = (size_t)head->outputs;
    const size_t pixels =
        (size_t)net->spec.channels * (size_t)net->spec.height * (size_t)net->spec.width;
    add_lasting(net, "images", &net->images, (batch * pixels + 3 * DN_LANES) * sizeof(float));
    add_lasting(net, "labels", &net->labels, batch * sizeof(int32_t));
    add_lasting(net, "features", &net->features, channels * ld * sizeof(float));
    add_lasting(net, "feature gradient", &net->feature_gradient, channels * ld * sizeof(float));
    add_lasting(net, "logits", &net->logits, batch * classes * sizeof(float));
    add_lasting(net, "logit rows", &net->logit_rows, classes * ld * sizeof(float));
    add_lasting(net, "losses", &net->image_loss, batch * sizeof(double));
}

/* What the node that runs may use; backward, where its input is made again, also the node before.
 * The threads' scratch is one region for all: it stays in their caches. */
static void add_work_regions(dn_net *net)
{
    const size_t group = (size_t)net->options.norm_group;
    size_t channels = 0;
    for (int t = 0; t <= last_visit(net); t++) {
        const int is_backward = t >= net->node_count;
        const dn_node *node = &net->nodes[is_backward ? last_visit(net) - t : t];
        dn_needs needs = node_needs(net, node);
        if (is_backward && node->in >= 0 && net->maps[node->in].recomputed)
            needs = dn_needs_max(needs, node_needs(net, dn_node_before(node)));
        add_region(net, "packed weights", &net->packed, needs.packed * sizeof(float), t, t);
        add_region(net, "partial sums", &net->partial, needs.partial * sizeof(double), t, t);
        if (is_backward)
            add_region(net, "partial weight gradients", &net->wgrad_partial,
                       needs.wgrad_partial * sizeof(float), t, t);
        if (net->scratch_floats < dn_round_lanes(needs.scratch) + 4 * DN_LANES)
            net->scratch_floats = dn_round_lanes(needs.scratch) + 4 * DN_LANES;
        if ((size_t)node->outputs > channels)
            channels = (size_t)node->outputs;
    }
    add_lasting(net, "coefficients", &net->coefficients, 3 * channels * sizeof(float));
    add_lasting(net, "norm group's sums", &net->rows, group * 2 * channels * sizeof(double));
    add_lasting(net, "norm group's means", &net->means, channels * sizeof(double));
    add_lasting(net, "scratch", &net->scratch,
                (size_t)net->threads * net->scratch_floats * sizeof(float));
}

/* What nets of one rank have in common: weights, what follows from them and the group's
 * statistics, and (see dn_memory_visit) what a node uses only while it runs. */
static void share_memory(dn_net *net, const dn_net *lead)
{
    net->parameters = lead->parameters;
    net->running = lead->running;
    net->channel_statistics = lead->channel_statistics;
    net->coefficients = lead->coefficients;
    net->rows = lead->rows;
    net->means = lead->means;
    net->scratch = lead->scratch;
    net->scratch_floats = lead->scratch_floats;
}

/* The small per-channel arrays of maps and nodes. */
static void carve_channels(dn_net *net)
{
    float *next = net->channel_statistics;
    double *sums = net->channel_sums;
    for (int i = 0; i < net->map_count; i++) {
        dn_feature_map *map = &net->maps[i];
        map->mean = next;
        map->inverse = next + map->channels;
        map->sums = sums;
        next += 2 * map->channels;
        sums += 2 * map->channels;
    }
    for (int i = 0; i < net->node_count; i++) {
        dn_node *node = &net->nodes[i];
        if (!node->norm)
            continue;
        node->scale = next;
        node->shift = next + node->inputs;
        next += 2 * node->inputs;
    }
}

static void add_regions(dn_net *net)
{
    if (net->lead == net) {
        const size_t channels = net->statistics_count + net->running_count;
        add_lasting(net, "parameters", &net->parameters, net->parameter_count * sizeof(float));
        add_lasting(net, "running statistics", &net->running, net->running_count * sizeof(float));
        add_lasting(net, "channel statistics", &net->channel_statistics, channels * sizeof(float));
        add_work_regions(net);
    }
    add_lasting(net, "channel sums", &net->channel_sums, net->statistics_count * sizeof(double));
    add_head_regions(net);
    for (int i = 0; i < net->map_count; i++)
        add_map_regions(net, &net->maps[i]);
}

static void point(const dn_net *net, int region)
{
    if (net->targets[region] != NULL)
        *net->targets[region] = (char *)net->arena + net->regions[region].offset;
}

dn_status dn_memory_create(dn_net *net)
{
    const size_t most = 7 * (size_t)net->node_count + 3 * (size_t)net->map_count + 24;
    net->regions = calloc(most, sizeof *net->regions);
    net->targets = calloc(most, sizeof *net->targets);
    DN_CHECK(net->regions != NULL && net->targets != NULL, DN_ENOMEM,
             "memory: found none to plan %s", net->spec.name);
    if (net->options.train) {
        mark_recomputed(net);
        add_leaf_regions(net);
    }
    const int fixed = net->region_count;
    add_regions(net);
    DN_TRY(dn_memory_place(net->regions, fixed, net->region_count, &net->arena_bytes));
    if (net->options.plan_only)
        return DN_OK;
    DN_TRY(dn_arena_create(&net->arena, net->arena_bytes));
    net->leaf = net->options.train ? net->arena : NULL;
    for (int i = 0; i < net->region_count; i++)
        point(net, i);
    if (net->lead != net)
        share_memory(net, net->lead);
    carve_channels(net);
    return DN_OK;
}

void dn_memory_visit(dn_net *net, int time)
{
    for (int i = 0; i < net->region_count; i++)
        if (net->regions[i].first == time)
            point(net, i);
    net->packed = net->lead->packed;
    net->partial = net->lead->partial;
    net->wgrad_partial = net->lead->wgrad_partial;
}

void dn_memory_destroy(dn_net *net)
{
    dn_arena_destroy(&net->arena, net->arena_bytes);
    free(net->regions);
    free(net->targets);
}
