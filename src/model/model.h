/*
 * The inside of a net: what build.c makes of a specification, memory.c finds room for, and walk.c
 * runs.
 *
 * Time is counted in visits: forward visits layer i at i, backward at 2N - 1 - i.
 */
#ifndef DN_MODEL_H
#define DN_MODEL_H

#include "layers/layer.h"
#include "layers/norm.h"

struct dn_net {
    dn_spec spec;
    dn_net_options options;
    const dn_kernels *kernels;
    int threads;
    const dn_net *lead; /* whose weights and working memory it uses: its own, or its team's first */

    dn_feature_map *maps;
    int map_count;
    dn_layer *layers;
    int layer_count, most_outputs; /* of a layer */
    dn_tensor *tensors;
    int tensor_count;
    size_t parameter_count, running_count, statistics_count;
    int first_learnt;      /* the first layer with a parameter that is not frozen */
    size_t gradient_count; /* of the parameters of that layer and those behind it */

    dn_visit *visits;      /* (2 layer_count) by time; of a net for evaluation the first half */
    dn_visit *recomputing; /* (layer_count): forward once more, where the output is recomputed;
                              visits refer to them */

    void *arena;
    size_t arena_bytes;
    dn_region_info *regions;
    int region_count;
    float *parameters, *running, *leaf, *images, *logits;
    int32_t *labels;
    double *losses;
    float *channel_statistics; /* of all maps and layers */
    double *channel_sums;      /* of all maps */
    float *correction;         /* (most outputs, 3) of the layer that runs backward */
    dn_norm_group group;       /* the sums that its batches share */
    float *scratch;            /* (threads, scratch_floats) */
    size_t scratch_floats;
};

/* build.c: fills the net's maps, layers, tensors and counts from its spec and options. DN_ENOMEM.
 */
dn_status dn_build(dn_net *net);

/* Evaluation goes forward only. */
static inline int dn_net_last_time(const dn_net *net)
{
    return (net->options.train ? 2 : 1) * net->layer_count - 1;
}

/* recompute.c: marks the maps that are recomputed. DN_ENOMEM. */
dn_status dn_recompute_mark(dn_net *net);

/* visit.c: the visit of a layer at a time, which for a recomputed map is not the layer's own; and
 * that of a time. All but the workspace; before there is memory, no more than that follows from. */
dn_visit dn_visit_of(const dn_net *net, int layer, int time);
dn_visit dn_visit_at(const dn_net *net, int time);

/* visit.c: floats of what a thread works in at most. */
size_t dn_visits_scratch(const dn_net *net);

/* plan.c: places each region (bytes, first, last given; offset filled) and returns the arena's
 * bytes. The first `fixed` ones, in ascending order, have their offsets already; then largest
 * first, each at the lowest address that is free during its whole life. Offsets are multiples of
 * 64. DN_ENOMEM. */
dn_status dn_memory_place(dn_region_info *regions, int fixed, int count, size_t *arena_bytes);

/* memory.c: plans the memory of a net that dn_build has filled and, unless for the plan alone,
 * allocates it and makes the visits. DN_ENOMEM; dn_memory_destroy then frees what there is. */
dn_status dn_memory_create(dn_net *net);
void dn_memory_destroy(dn_net *net);

/* With red zones (layers/scratch.h): what does not live at the visit's time is closed, what begins
 * then is spoilt, and so is the visit's workspace. Else nothing. */
void dn_memory_guard(const dn_net *net, const dn_visit *v);

/* The end of the part of the leaf that is final after the layer's backward: the end of its gamma's
 * gradient, which stands last among its parameters, or its weight's; of a layer without parameters
 * what was final before; for the first layer that learns, which runs last, and those before it the
 * leaf's end. */
size_t dn_layer_leaf_end(const dn_net *net, const dn_layer *layer);

#endif
