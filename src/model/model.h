/*
 * The internals of a net, which build.c creates from a specification, memory.c allocates, and
 * walk.c runs.
 *
 * Time is counted in visits: the forward pass visits layer i at time i, the backward pass at 2N - 1
 * - i.
 */
#ifndef DN_MODEL_H
#define DN_MODEL_H

#include "dn/line.h"
#include "layers/layer.h"
#include "layers/norm.h"

struct dn_net {
    dn_view view; /* its `tensors` and `regions` are those below */
    dn_spec spec;
    dn_net_options options;
    int threads;
    const dn_net *lead; /* owner of the weights and working memory: itself, or its team's first */

    dn_feature_map *maps;
    int map_count;
    dn_layer *layers;
    int layer_count, most_outputs; /* largest number of outputs of a layer */
    dn_tensor *tensors;
    int first_learnt; /* first layer with a parameter that is not frozen */

    dn_visit *visits; /* (2 layer_count) by time; only the first half in a net for evaluation */
    dn_visit *recomputing; /* (layer_count) a forward visit if the output is recomputed, referred to
                              by `visits` */

    void *arena;
    dn_region_info *regions;
    double *losses;
    float *channel_statistics; /* of all maps and layers */
    double *channel_sums;      /* of all maps */
    float *correction;         /* (most outputs, 3) of the layer that runs backward */
    dn_norm_group group;       /* the sums that its batches exchange */
    float *scratch;            /* (threads, scratch_floats) */
    size_t scratch_floats;
};

/* build.c: creates the net's maps, layers, tensors and counts from its spec and options. Errors:
 * DN_ENOMEM, DN_EINVAL (options.freeze). */
dn_status dn_build(dn_net *net);

/* The last visit; a net for evaluation has only the forward pass. */
static inline int dn_net_last_time(const dn_net *net)
{
    return (net->options.train ? 2 : 1) * net->layer_count - 1;
}

/* recompute.c: marks the maps that are recomputed. Errors: DN_ENOMEM. */
dn_status dn_recompute_mark(dn_net *net);

/* visit.c: the visit of a layer at a time, which is not the layer's own time if its output is
 * recomputed; and the visit of a time. Both without the workspace, and before memory is allocated
 * without addresses. */
dn_visit dn_visit_of(const dn_net *net, int layer, int time);
dn_visit dn_visit_at(const dn_net *net, int time);

/* visit.c: largest scratch of a thread, in floats. */
size_t dn_visits_scratch(const dn_net *net);

/* place.c: sets the offset of each region from its bytes, first and last, and *arena_bytes. The
 * first `fixed` regions, in ascending order, already have offsets. The others are placed largest
 * first, each at the lowest address that is free during its whole lifetime. Offsets are multiples
 * of 64. Errors: DN_ENOMEM. */
dn_status dn_memory_place(dn_region_info *regions, int fixed, int count, size_t *arena_bytes);

/* memory.c: plans the memory of a net that dn_build has created and, unless only the plan is
 * wanted, allocates it and creates the visits. On failure, dn_memory_destroy frees what was
 * allocated. Errors: DN_ENOMEM. */
dn_status dn_memory_create(dn_net *net);
void dn_memory_destroy(dn_net *net);

/* memory.c: with red zones (layers/scratch.h), poisons what is not live at the visit's time, and
 * fills what becomes live then, and the visit's workspace, with NaN. Otherwise nothing. */
void dn_memory_guard(const dn_net *net, const dn_visit *v);

/* memory.c: the end of the part of the leaf that is final after the layer's backward visit: the end
 * of its first tensor's gradient, as the parameters are in reverse. For a layer without parameters
 * it is unchanged; for the first trained layer and those before it, it is the
 * end of the leaf. */
size_t dn_layer_leaf_end(const dn_net *net, const dn_layer *layer);

#endif
