/*
 * Selects the maps that are recomputed for the backward pass instead of kept: all that can be, if
 * requested. Otherwise maps of the first layers, up to a small part of a step's products: large
 * maps for few products, which pays off in deep nets with small batches.
 */
#include <stdlib.h>

#include "dn/layer_info.h"
#include "model/model.h"

enum { RECOMPUTED_PART = 28 }; /* 1/28 of a step's products may be spent on recomputation */

/* Orders layers by the cost of recomputing their output, weights per channel, cheapest first. */
static int by_weights(const void *a, const void *b)
{
    const dn_layer *x = *(const dn_layer *const *)a, *y = *(const dn_layer *const *)b;
    return x->weights_in != y->weights_in ? x->weights_in - y->weights_in : x->index - y->index;
}

static double forward_flops(const dn_net *net, int layer)
{
    dn_layer_info info;
    dn_net_layer_info(net, layer, &info);
    return info.forward.flops;
}

/* Returns 1 if parameters, momentum and gradients take more memory than the maps. */
static int weights_outweigh_maps(const dn_net *net)
{
    double maps = 0;
    for (int i = 0; i < net->map_count; i++)
        maps += net->maps[i].channels * dn_map_pixels(&net->maps[i]) * (double)net->maps[i].element;
    return 3.0 * (double)net->view.parameter_count * sizeof(float) > maps;
}

dn_status dn_recompute_mark(dn_net *net)
{
    const double share = weights_outweigh_maps(net) ? 3.0 / RECOMPUTED_PART : 0;
    const dn_layer **layers = malloc((size_t)net->layer_count * sizeof *layers);
    int count = 0;
    double left = 0;
    DN_CHECK(layers != NULL, DN_ENOMEM, "out of memory for the plan of %s", net->spec.name);
    for (int i = 0; i < net->layer_count; i++) {
        const dn_layer *l = &net->layers[i];
        left += share * forward_flops(net, i);
        if (l->out >= 0 && net->maps[l->out].recomputable)
            layers[count++] = l;
    }
    qsort(layers, (size_t)count, sizeof *layers, by_weights);
    for (int i = 0; i < count; i++) {
        left -= forward_flops(net, layers[i]->index);
        if (left < 0 && !net->options.recompute)
            break;
        net->maps[layers[i]->out].recomputed = 1;
    }
    free(layers);
    return DN_OK;
}
