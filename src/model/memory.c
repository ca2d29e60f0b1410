/*
 * A net's memory: its regions, their lifetimes (place.c places them), and who uses them.
 *
 * The regions are described once, by describe_memory, which runs twice: to plan them, and to assign
 * their addresses in the arena.
 *
 * The leaf is at the arena's beginning, because it must be contiguous. A layer's part of it is live
 * from that layer's backward visit on; until then, regions that end before may use its memory.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model/model.h"

enum { IMAGE_PAD = 3 * DN_LANES }; /* floats that kernels read after the images */

/* ---- regions ---- */

/* At least as many as there are regions. */
static int region_room(const dn_net *net)
{
    enum { OTHERS = 12 }; /* than those of layers, visits and maps */
    return 4 * net->layer_count + 3 * net->map_count + OTHERS;
}

/* The next region: planned or, if there is an arena, assigned. A red zone, in builds
 * that have them, is at its end. */
static void *next_region(dn_net *net, const char *name, size_t bytes, int first, int last)
{
    assert(net->view.region_count < region_room(net));
    dn_region_info *region = &net->regions[net->view.region_count++];
    if (net->arena != NULL)
        return (char *)net->arena + region->offset;
    *region = (dn_region_info){.bytes = bytes + DN_RED_ZONE_BYTES, .first = first, .last = last};
    snprintf(region->name, sizeof region->name, "%s", name);
    return NULL;
}

/* A region that is always live. */
static void *lasting_region(dn_net *net, const char *name, size_t count, size_t size)
{
    return next_region(net, name, count * size, 0, dn_net_last_time(net));
}

size_t dn_layer_leaf_end(const dn_net *net, const dn_layer *layer)
{
    if (layer->index <= net->first_learnt)
        return net->view.leaf_count;
    while (layer->tensor_count == 0)
        layer++;
    return layer->tensors->offset + layer->tensors->count;
}

/* Number of the first regions: one for each trained layer. */
static int leaf_regions(const dn_net *net)
{
    return net->options.train ? net->layer_count - net->first_learnt : 0;
}

/* In whole cache lines, without red zones; all of it in whole pages. The gradients of the first
 * trained layer come last, together with the statistics, which the forward pass writes. */
static void describe_leaf(dn_net *net)
{
    const int end = dn_net_last_time(net);
    size_t offset = 0;
    net->view.leaf = net->arena;
    for (int i = net->layer_count - 1; i >= net->first_learnt; i--) {
        size_t next = dn_round_lanes(dn_layer_leaf_end(net, &net->layers[i])) * sizeof(float);
        if (i == net->first_learnt)
            next = dn_whole_pages(next);
        dn_region_info *region = &net->regions[net->view.region_count];
        next_region(net, "gradients", 0, i > net->first_learnt ? end - i : 0, end);
        region->offset = offset;
        region->bytes = next - offset;
        offset = next;
    }
}

/* Of all maps: two for each channel. */
static size_t statistics_count(const dn_net *net)
{
    return net->view.leaf_count - net->view.gradient_count;
}

/* What the nets of a rank share: weights, data derived from them, the group's statistics, and what
 * a layer uses only while it runs. Scratch is one region for all visits, so that it stays in the
 * threads' caches. */
static void describe_shared(dn_net *net)
{
    const size_t channels = statistics_count(net) + net->view.running_count;
    const size_t group = (size_t)net->view.norm_group, outputs = (size_t)net->most_outputs;
    const size_t scratch = (size_t)net->threads * net->scratch_floats;
    net->view.parameters =
        lasting_region(net, "parameters", net->view.parameter_count, sizeof(float));
    net->view.running =
        lasting_region(net, "running statistics", net->view.running_count, sizeof(float));
    net->channel_statistics = lasting_region(net, "channel statistics", channels, sizeof(float));
    net->correction = lasting_region(net, "correction", 3 * outputs, sizeof(float));
    net->group.rows = lasting_region(net, "norm group's sums", group * 2 * outputs, sizeof(double));
    net->group.means = lasting_region(net, "norm group's means", outputs, sizeof(double));
    net->scratch = lasting_region(net, "scratch", scratch, sizeof(float));
}

static void share_memory(dn_net *net, const dn_net *lead)
{
    net->view.parameters = lead->view.parameters;
    net->view.running = lead->view.running;
    net->channel_statistics = lead->channel_statistics;
    net->correction = lead->correction;
    net->group = lead->group;
    net->scratch = lead->scratch;
}

static void describe_own(dn_net *net)
{
    const dn_spec *spec = &net->spec;
    const size_t batch = (size_t)net->options.batch, classes = (size_t)spec->classes;
    const size_t image = dn_spec_values(spec);
    net->channel_sums = lasting_region(net, "channel sums", statistics_count(net), sizeof(double));
    net->view.images = lasting_region(net, "images", batch * image + IMAGE_PAD, sizeof(float));
    net->view.labels = lasting_region(net, "labels", batch, sizeof(int32_t));
    net->view.logits = lasting_region(net, "logits", batch * classes, sizeof(float));
    net->losses = lasting_region(net, "losses", batch, sizeof(double));
}

/* A map's data are live from its first writer's visit to that layer's backward visit. If
 * recomputed, they are live until its last reader's visit, and again from that layer's backward
 * visit on. Its gradient is live from the backward visit of its last reader to that of its first
 * writer. */
static void describe_map(dn_net *net, dn_feature_map *map)
{
    const int train = net->options.train, again = map->recomputed;
    const int from = dn_net_last_time(net) - map->read, to = dn_net_last_time(net) - map->written;
    const size_t elements =
        (size_t)map->layout.strips * (size_t)map->channels * map->layout.stride + DN_LANES;
    const size_t bytes = elements * map->element;
    char name[96];
    map->data = map->backward_data =
        next_region(net, map->name, bytes, map->written, train && !again ? to : map->read);
    if (again) {
        snprintf(name, sizeof name, "%s, recomputed", map->name);
        map->backward_data = next_region(net, name, bytes, from, to);
    }
    if (train) {
        snprintf(name, sizeof name, "%s gradient", map->name);
        map->gradient = next_region(net, name, bytes, from, to);
    }
}

static void describe_kept(dn_net *net, dn_layer *l)
{
    const int end = dn_net_last_time(net), last = net->options.train ? end - l->index : end;
    if (l->kind->kept == NULL)
        return;
    const size_t bytes = l->kind->kept(l, net->options.batch) * sizeof(float);
    l->kept = next_region(net, l->name, bytes, l->index, last);
}

/* ---- visits ---- */

/* The visit at a time, and the one that recomputes its input; both use one workspace, and the other
 * nets of a team use that of the first. */
static void describe_visit(dn_net *net, int time)
{
    dn_visit *v = &net->visits[time], *before = NULL;
    dn_carver workspace = {0};
    *v = dn_visit_at(net, time);
    dn_visit_carve(v, &workspace);
    if (v->backward && v->in != NULL && v->in->recomputed) {
        v->before = before = &net->recomputing[v->in->written];
        *before = dn_visit_of(net, v->in->written, time);
        dn_carve_anew(&workspace);
        dn_visit_carve(before, &workspace);
    }
    v->workspace = net->lead != net ? net->lead->visits[time].workspace
                                    : next_region(net, "workspace", workspace.most, time, time);
    dn_visit_carve(v, &(dn_carver){.memory = v->workspace});
    if (before != NULL) {
        before->workspace = v->workspace;
        dn_visit_carve(before, &(dn_carver){.memory = v->workspace});
    }
}

/* ---- all of it ---- */

static void describe_memory(dn_net *net)
{
    net->view.region_count = 0;
    if (net->options.train)
        describe_leaf(net);
    if (net->lead != net)
        share_memory(net, net->lead);
    else
        describe_shared(net);
    describe_own(net);
    for (int i = 0; i < net->layer_count; i++)
        describe_kept(net, &net->layers[i]);
    for (int i = 0; i < net->map_count; i++)
        describe_map(net, &net->maps[i]);
    for (int t = 0; t <= dn_net_last_time(net); t++)
        describe_visit(net, t);
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
        if (l->gamma == NULL)
            continue;
        l->scale = next;
        l->shift = next + l->inputs;
        next += 2 * l->inputs;
    }
}

/* Allocates an arena of zeroed pages, huge ones if the system grants them, without touching them.
 */
static dn_status create_arena(dn_net *net)
{
    void *arena = mmap(NULL, net->view.arena_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    DN_CHECK(arena != MAP_FAILED, DN_ENOMEM, "out of memory for a net of %.1f MiB",
             (double)net->view.arena_bytes / 0x1p20);
    madvise(arena, net->view.arena_bytes, MADV_HUGEPAGE);
    net->arena = arena;
    return DN_OK;
}

dn_status dn_memory_create(dn_net *net)
{
    const size_t layers = (size_t)net->layer_count;
    net->regions = calloc((size_t)region_room(net), sizeof *net->regions);
    net->visits = calloc(2 * layers, sizeof *net->visits);
    net->recomputing = calloc(layers, sizeof *net->recomputing);
    net->view.regions = net->regions;
    DN_CHECK(net->regions && net->visits && net->recomputing, DN_ENOMEM,
             "out of memory for the plan of %s", net->spec.name);
    if (net->options.train)
        DN_TRY(dn_recompute_mark(net));
    net->scratch_floats = dn_visits_scratch(net);
    describe_memory(net);
    DN_TRY(dn_memory_place(net->regions, leaf_regions(net), net->view.region_count,
                           &net->view.arena_bytes));
    if (net->options.plan_only)
        return DN_OK;
    DN_TRY(create_arena(net));
    describe_memory(net);
    carve_channels(net);
    return DN_OK;
}

void dn_memory_destroy(dn_net *net)
{
    if (net->arena != NULL) {
        dn_memory_open(net->arena, net->view.arena_bytes);
        munmap(net->arena, net->view.arena_bytes);
    }
    free(net->regions);
    free(net->visits);
    free(net->recomputing);
}

/* ---- red zones ---- */

void dn_memory_guard(const dn_net *net, const dn_visit *v)
{
    const int fixed = leaf_regions(net), end = dn_net_last_time(net);
    if (!DN_RED_ZONES)
        return;
    dn_memory_close(net->arena, net->view.arena_bytes);
    for (int i = 0; i < net->view.region_count; i++) {
        const dn_region_info *r = &net->regions[i];
        const size_t bytes = r->bytes - (i < fixed ? 0 : DN_RED_ZONE_BYTES);
        const int is_lasting = r->first == 0 && r->last == end; /* filled by the caller */
        if (r->first > v->time || r->last < v->time)
            continue;
        dn_memory_open((char *)net->arena + r->offset, bytes);
        if (r->first == v->time && v->before == NULL && !is_lasting)
            dn_memory_spoil((char *)net->arena + r->offset, bytes);
    }
    dn_visit copy = *v;
    dn_visit_carve(&copy, &(dn_carver){.memory = v->workspace, .short_part = -v->short_part});
}
