/*
 * A net's memory: which maps are recomputed, what regions there are and when each of them lives
 * (plan.c places them), and the visits, which hand every layer its operands.
 *
 * The leaf stands at the arena's beginning, as it must be in one piece; a layer's part of it lives
 * from that layer's backward on, and until then what dies before may stand there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "layers/weights.h"
#include "model/model.h"

enum { RECOMPUTED_PART = 24 }; /* of a step's products may go into recomputed bottleneck maps */

/* What the planning needs and the net does not keep. Regions of one sort follow each other. */
typedef struct planner {
    dn_net *net;
    void ***target;             /* (regions) the pointer to a region that always lives, or NULL */
    int maps, workspaces, kept; /* first regions: of maps, MAP_REGIONS each; of times; of layers */
} planner;

enum { DATA, RECOMPUTED, GRADIENT, MAP_REGIONS };

/* Evaluation goes forward only. */
static int last_time(const dn_net *net)
{
    return (net->options.train ? 2 : 1) * net->layer_count - 1;
}

/* ---- what is recomputed ---- */

/* A dense layer's 1x1 into a bottleneck map that is kept so far; its inputs are what a value costs
 * to compute again. */
static int cheapest_bottleneck(const dn_net *net)
{
    int cheapest = -1;
    for (int i = 0; i < net->layer_count; i++) {
        const dn_layer *l = &net->layers[i];
        if (l->kind == &dn_layer_conv1x1 && !net->maps[l->out].recomputed &&
            (cheapest < 0 || l->inputs < net->layers[cheapest].inputs))
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

/* All bottleneck maps are recomputed where asked for. Elsewhere those of the first layers may be:
 * few products for large maps, a bargain in deep nets with small batches. */
static void mark_recomputed(dn_net *net)
{
    const double share = weights_outweigh_maps(net) ? 3.0 / RECOMPUTED_PART : 0;
    double left = 0;
    for (int i = 0; i < net->layer_count; i++)
        left += share * forward_flops(net, i);
    for (int i; (i = cheapest_bottleneck(net)) >= 0;) {
        left -= forward_flops(net, i);
        if (left < 0 && !net->options.recompute)
            return;
        net->maps[net->layers[i].out].recomputed = 1;
    }
}

const dn_visit *dn_visit_recomputing(const dn_net *net, const dn_visit *v)
{
    if (!v->backward || v->in == NULL || !v->in->recomputed)
        return NULL;
    return &net->recomputing[v->in->written];
}

/* ---- visits ---- */

/* Before there is memory: what its needs follow from; then also the arrays that all share. */
static dn_visit make_visit(const dn_net *net, int index, int time)
{
    const dn_layer *l = &net->layers[index];
    return (dn_visit){.layer = l,
                      .time = time,
                      .backward = time == 2 * net->layer_count - 1 - index,
                      .in = l->in >= 0 ? &net->maps[l->in] : NULL,
                      .out = l->out >= 0 ? &net->maps[l->out] : NULL,
                      .images = net->images,
                      .labels = net->labels,
                      .logits = net->logits,
                      .parameters = net->parameters,
                      .running = net->running,
                      .leaf = net->leaf,
                      .correction = net->correction,
                      .scratch = net->scratch,
                      .scratch_floats = net->scratch_floats,
                      .spec = &net->spec,
                      .kernels = net->kernels,
                      .products = &net->kernels->products[net->options.dtype],
                      .on_maps = &net->kernels->on_maps[net->options.dtype],
                      .dtype = net->options.dtype,
                      .batch = net->options.batch,
                      .threads = net->threads,
                      .dropout = net->options.dropout};
}

static void make_visits(dn_net *net)
{
    const int count = net->layer_count, end = 2 * count - 1;
    for (int i = 0; i < count; i++) {
        const dn_visit forward = net->visits[i] = make_visit(net, i, i);
        net->visits[end - i] = make_visit(net, i, end - i);
        if (net->options.train && forward.out != NULL && forward.out->recomputed)
            net->recomputing[i] = make_visit(net, i, end - forward.out->read);
    }
}

/* Bytes of what the visit's threads share, and of what each of them works in. */
static size_t workspace_bytes(dn_visit v)
{
    dn_carver c = {0};
    dn_workspace_carve(&v, &c);
    return c.bytes;
}

static size_t scratch_bytes(const dn_visit *v)
{
    dn_carver own = {0}, pack = {0};
    v->layer->kind->scratch(v, &own);
    dn_pack_scratch(v, &pack);
    return own.bytes > pack.bytes ? own.bytes : pack.bytes;
}

static size_t kept_bytes(dn_visit v)
{
    dn_carver c = {0};
    if (v.layer->kind->kept != NULL)
        v.layer->kind->kept(&v, &c);
    return c.bytes;
}

/* ---- regions ---- */

static int add_region(planner *p, const char *name, size_t bytes, int first, int last)
{
    dn_net *net = p->net;
    dn_region_info *region = &net->regions[net->region_count];
    *region = (dn_region_info){.bytes = bytes, .first = first, .last = last};
    snprintf(region->name, sizeof region->name, "%s", name);
    return net->region_count++;
}

/* A region that always lives, and the pointer to it. */
static void add_lasting(planner *p, const char *name, void *target, size_t bytes)
{
    p->target[add_region(p, name, bytes, 0, last_time(p->net))] = target;
}

size_t dn_layer_leaf_end(const dn_net *net, const dn_layer *layer)
{
    return layer->norm ? layer->gamma + (size_t)layer->inputs
                       : net->parameter_count + net->statistics_count;
}

/* In whole cache lines. The stem's gradients come last, and with them the statistics, which the
 * forward pass writes. */
static void add_leaf_regions(planner *p)
{
    dn_net *net = p->net;
    const int end = last_time(net);
    size_t offset = 0;
    for (int i = net->layer_count - 1; i >= 0; i--) {
        const size_t next = dn_round_lanes(dn_layer_leaf_end(net, &net->layers[i])) * sizeof(float);
        const int region = add_region(p, "gradients", next - offset, i > 0 ? end - i : 0, end);
        net->regions[region].offset = offset;
        offset = next;
    }
}

/* A map's data live from its first writer's visit to that layer's backward, or to its last reader's
 * and then anew from there where it is recomputed; its gradient from the backward of its last
 * reader to that of its first writer. */
static void add_map_regions(planner *p, const dn_feature_map *map)
{
    const int end = last_time(p->net), train = p->net->options.train, again = map->recomputed;
    const size_t elements =
        (size_t)map->layout.blocks * (size_t)map->channels * map->layout.stride + DN_LANES;
    const size_t bytes = elements * map->element;
    const int from = end - map->read, to = end - map->written;
    char name[96];
    add_region(p, map->name, bytes, map->written, train && !again ? to : map->read);
    snprintf(name, sizeof name, "%s, recomputed", map->name);
    add_region(p, name, train && again ? bytes : 0, from, to);
    snprintf(name, sizeof name, "%s gradient", map->name);
    add_region(p, name, train ? elements * sizeof(float) : 0, from, to);
}

/* What the visits of one time share among their threads; and the threads' scratch, one region for
 * all times: it stays in their caches. */
static void add_work_regions(planner *p)
{
    dn_net *net = p->net;
    size_t scratch = 0, channels = 0;
    p->workspaces = net->region_count;
    for (int t = 0; t <= last_time(net); t++) {
        const dn_visit *v = &net->visits[t], *input = dn_visit_recomputing(net, v);
        size_t bytes = workspace_bytes(*v), most = scratch_bytes(v);
        if (input != NULL && workspace_bytes(*input) > bytes)
            bytes = workspace_bytes(*input);
        add_region(p, "workspace", bytes, t, t);
        scratch = most > scratch ? most : scratch;
        if ((size_t)v->layer->outputs > channels)
            channels = (size_t)v->layer->outputs;
    }
    const size_t group = (size_t)net->options.norm_group;
    net->group.size = net->options.norm_group;
    net->scratch_floats = dn_row_stride(scratch / sizeof(float));
    add_lasting(p, "correction", &net->correction, 3 * channels * sizeof(float));
    add_lasting(p, "norm group's sums", &net->group.rows, group * 2 * channels * sizeof(double));
    add_lasting(p, "norm group's means", &net->group.means, channels * sizeof(double));
    add_lasting(p, "scratch", &net->scratch,
                (size_t)net->threads * net->scratch_floats * sizeof(float));
}

/* What a layer keeps from its forward to its backward. */
static void add_kept_regions(planner *p)
{
    const dn_net *net = p->net;
    const int end = last_time(net);
    p->kept = net->region_count;
    for (int i = 0; i < net->layer_count; i++)
        add_region(p, net->layers[i].name, kept_bytes(net->visits[i]), i,
                   net->options.train ? end - i : end);
}

static void add_regions(planner *p)
{
    dn_net *net = p->net;
    const size_t batch = (size_t)net->options.batch, classes = (size_t)net->spec.classes;
    const size_t image =
        (size_t)net->spec.channels * (size_t)net->spec.height * (size_t)net->spec.width;
    if (net->lead == net) {
        const size_t channels = net->statistics_count + net->running_count;
        add_lasting(p, "parameters", &net->parameters, net->parameter_count * sizeof(float));
        add_lasting(p, "running statistics", &net->running, net->running_count * sizeof(float));
        add_lasting(p, "channel statistics", &net->channel_statistics, channels * sizeof(float));
        add_work_regions(p);
    }
    add_lasting(p, "channel sums", &net->channel_sums, net->statistics_count * sizeof(double));
    add_lasting(p, "images", &net->images, (batch * image + 3 * DN_LANES) * sizeof(float));
    add_lasting(p, "labels", &net->labels, batch * sizeof(int32_t));
    add_lasting(p, "logits", &net->logits, batch * classes * sizeof(float));
    add_kept_regions(p);
    p->maps = net->region_count;
    for (int i = 0; i < net->map_count; i++)
        add_map_regions(p, &net->maps[i]);
}

/* ---- pointers ---- */

/* What nets of one rank have in common: weights, what follows from them and the group's
 * statistics, and what a layer uses only while it runs. */
static void share_memory(dn_net *net, const dn_net *lead)
{
    net->parameters = lead->parameters;
    net->running = lead->running;
    net->channel_statistics = lead->channel_statistics;
    net->correction = lead->correction;
    net->group = lead->group;
    net->scratch = lead->scratch;
    net->scratch_floats = lead->scratch_floats;
}

/* The small per-channel arrays of maps and layers. */
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
    for (int i = 0; i < net->layer_count; i++) {
        dn_layer *l = &net->layers[i];
        if (!l->norm)
            continue;
        l->scale = next;
        l->shift = next + l->inputs;
        next += 2 * l->inputs;
    }
}

static void *region_at(const dn_net *net, int region)
{
    return (char *)net->arena + net->regions[region].offset;
}

/* Points the visit at a map and its gradient. */
static void point_at_map(const planner *p, const dn_visit *v, int map, void **data,
                         float **gradient)
{
    const int first = p->maps + MAP_REGIONS * map, is_late = v->time >= p->net->layer_count;
    *data =
        region_at(p->net, first + (is_late && p->net->maps[map].recomputed ? RECOMPUTED : DATA));
    if (v->backward)
        *gradient = region_at(p->net, first + GRADIENT);
}

/* Those of a team's further nets share the first one's workspace. */
static void point_visit(const planner *p, dn_visit *v, const dn_visit *lead)
{
    const dn_layer *l = v->layer;
    *v = make_visit(p->net, l->index, v->time);
    if (l->in >= 0)
        point_at_map(p, v, l->in, &v->x, &v->dx);
    if (l->out >= 0)
        point_at_map(p, v, l->out, &v->y, &v->dy);
    v->workspace = lead ? lead->workspace : region_at(p->net, p->workspaces + v->time);
    dn_workspace_carve(v, &(dn_carver){.memory = v->workspace});
    if (l->kind->kept != NULL)
        l->kind->kept(v, &(dn_carver){.memory = region_at(p->net, p->kept + l->index)});
}

static void point_visits(const planner *p)
{
    dn_net *net = p->net;
    const dn_net *lead = net->lead != net ? net->lead : NULL;
    for (int t = 0; t <= last_time(net); t++)
        point_visit(p, &net->visits[t], lead ? &lead->visits[t] : NULL);
    for (int i = 0; i < net->layer_count; i++)
        if (net->recomputing[i].layer != NULL)
            point_visit(p, &net->recomputing[i], lead ? &lead->recomputing[i] : NULL);
}

/* ---- all of it ---- */

/* An arena of zeroed pages, huge ones where the system grants them, not yet touched. */
static dn_status create_arena(dn_net *net)
{
    net->arena = mmap(NULL, net->arena_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (net->arena == MAP_FAILED) {
        net->arena = NULL;
        return dn_fail(DN_ENOMEM, "memory: found none for a net of %.1f MiB",
                       (double)net->arena_bytes / 0x1p20);
    }
    madvise(net->arena, net->arena_bytes, MADV_HUGEPAGE);
    return DN_OK;
}

static dn_status plan(planner *p)
{
    dn_net *net = p->net;
    if (net->options.train)
        mark_recomputed(net);
    make_visits(net);
    if (net->options.train)
        add_leaf_regions(p);
    const int fixed = net->region_count;
    add_regions(p);
    DN_TRY(dn_memory_place(net->regions, fixed, net->region_count, &net->arena_bytes));
    if (net->options.plan_only)
        return DN_OK;
    DN_TRY(create_arena(net));
    net->leaf = net->options.train ? net->arena : NULL;
    for (int i = 0; i < net->region_count; i++)
        if (p->target[i] != NULL)
            *p->target[i] = region_at(net, i);
    if (net->lead != net)
        share_memory(net, net->lead);
    carve_channels(net);
    point_visits(p);
    return DN_OK;
}

dn_status dn_memory_create(dn_net *net)
{
    const size_t layers = (size_t)net->layer_count, maps = (size_t)net->map_count;
    const size_t regions = 4 * layers + MAP_REGIONS * maps + 16;
    planner p = {.net = net, .target = calloc(regions, sizeof *p.target)};
    net->regions = calloc(regions, sizeof *net->regions);
    net->visits = calloc(2 * layers, sizeof *net->visits);
    net->recomputing = calloc(layers, sizeof *net->recomputing);
    dn_status status = DN_OK;
    if (!p.target || !net->regions || !net->visits || !net->recomputing)
        DN_TRY_OR_DONE(dn_fail(DN_ENOMEM, "memory: found none to plan %s", net->spec.name));
    DN_TRY_OR_DONE(plan(&p));
done:
    free(p.target);
    return status;
}

void dn_memory_destroy(dn_net *net)
{
#if DN_RED_ZONES
    dn_memory_open(net->arena, net->arena_bytes);
#endif
    if (net->arena != NULL)
        munmap(net->arena, net->arena_bytes);
    free(net->regions);
    free(net->visits);
    free(net->recomputing);
}

/* ---- red zones ---- */

#if DN_RED_ZONES
/* Regions that always live are what callers fill. */
static int is_fresh(const dn_net *net, const dn_region_info *r, int time)
{
    return r->first == time && !(r->first == 0 && r->last == last_time(net));
}

/* Opens what lives, of which what begins now is fresh. */
static void open_regions(const dn_net *net, int time, int spoils)
{
    dn_memory_close(net->arena, net->arena_bytes);
    for (int i = 0; i < net->region_count; i++) {
        const dn_region_info *r = &net->regions[i];
        if (r->first > time || r->last < time)
            continue;
        dn_memory_open(region_at(net, i), r->bytes);
        if (spoils && is_fresh(net, r, time))
            dn_memory_spoil(region_at(net, i), r->bytes);
    }
}

void dn_memory_enter(const dn_net *net, const dn_visit *v)
{
    const int is_second = !v->backward ? 0 : dn_visit_recomputing(net, v) != NULL;
    dn_visit copy = *v;
    dn_carver work = {.memory = v->workspace, .short_part = v->short_part - DN_SHORT_WORKSPACE};
    dn_carver kept = {.memory = (char *)v->kept[0], .short_part = v->short_part - DN_SHORT_KEPT};
    open_regions(net, v->time, !is_second);
    dn_workspace_carve(&copy, &work);
    kept.keeps = v->backward;
    if (v->kept[0] != NULL)
        v->layer->kind->kept(&copy, &kept);
}
#else
void dn_memory_enter(const dn_net *net, const dn_visit *v)
{
    (void)net, (void)v;
}
#endif
