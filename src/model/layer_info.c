/*
 * Description, work and time of layers; see include/dn/layer_info.h.
 *
 * Work is multiply-adds, and the elements that the fused passes read or write, each once
 * (src/layers/layer.h). The forward pass reads the layer's input channels and writes its output
 * channels. The backward pass reads the output channels and their gradient, for the deferred
 * correction; it reads the input channels, to normalise them again, and adds to their gradient,
 * which the last reader of a map only writes.
 */
#include "dn/layer_info.h"

#include <stdio.h>
#include <string.h>

#include "model/model.h"

/* ---- phases ---- */

/* Kinds of the same phase are adjacent in the table. */
const char *dn_phase_name(int phase)
{
    const char *name = NULL;
    const dn_layer_kind *kind;
    for (int i = 0; (kind = dn_layer_kind_get(i)) != NULL; i++) {
        if (name != NULL && strcmp(name, kind->phase) != 0)
            phase--;
        name = kind->phase;
        if (phase == 0)
            return name;
    }
    return NULL;
}

static int phase_number(const dn_layer_kind *kind)
{
    int phase = 0;
    while (strcmp(dn_phase_name(phase), kind->phase) != 0)
        phase++;
    return phase;
}

/* ---- work ---- */

/* The quantities that determine a layer's work. */
typedef struct layer_size {
    double in, out, weights;  /* elements of its channels (0 for logits); of the weights */
    double in_bytes, element; /* bytes per element of the input, and of a map */
    double flops;             /* of one product over the batch: forward, or either gradient */
} layer_size;

static layer_size size_of(const dn_net *net, const dn_layer *l)
{
    const dn_spec *spec = &net->spec;
    const double batch = net->options.batch;
    layer_size s = {.in = l->inputs * batch * spec->height * spec->width,
                    .in_bytes = sizeof(float),
                    .element = (double)dn_dtype_size(net->options.dtype),
                    .weights = l->weight ? (double)l->weight->count : 0};
    if (l->in >= 0) {
        s.in = l->inputs * dn_map_pixels(&net->maps[l->in]);
        s.in_bytes = s.element;
    }
    if (l->out >= 0)
        s.out = l->outputs * dn_map_pixels(&net->maps[l->out]);
    s.flops = 2 * s.weights * (l->out >= 0 ? s.out / l->outputs : batch);
    return s;
}

static dn_layer_work forward_work(const dn_net *net, const dn_layer *l)
{
    const layer_size s = size_of(net, l);
    return (dn_layer_work){.flops = s.flops,
                           .bytes =
                               s.in * s.in_bytes + s.out * s.element + s.weights * sizeof(float),
                           .seconds = l->forward_seconds};
}

/* Includes the recomputation of the layer's input. */
static dn_layer_work backward_work(const dn_net *net, const dn_layer *l)
{
    const layer_size s = size_of(net, l);
    const int products = l->in >= 0 ? 2 : 1; /* the images' gradient is not needed */
    const int accesses = l->in < 0 ? 0 : l->accumulate ? 2 : 1; /* of the input's gradient */
    dn_layer_work work = {.flops = products * s.flops,
                          .bytes = s.in * (s.in_bytes + accesses * s.element) +
                                   2 * s.out * s.element +
                                   (products + 1) * s.weights * sizeof(float),
                          .seconds = l->backward_seconds};
    if (l->in >= 0 && net->maps[l->in].recomputed) {
        const dn_layer_work again = forward_work(net, &net->layers[net->maps[l->in].written]);
        work.flops += again.flops;
        work.bytes += again.bytes;
    }
    return work;
}

void dn_net_layer_info(const dn_net *net, int index, dn_layer_info *info)
{
    const dn_layer *l = &net->layers[index];
    const dn_layout image = {.height = net->spec.height, .width = net->spec.width};
    const dn_layout point = {.height = 1, .width = 1};
    const dn_layout *in = l->in >= 0 ? &net->maps[l->in].layout : &image;
    const dn_layout *out = l->out >= 0 ? &net->maps[l->out].layout : &point;
    *info = (dn_layer_info){.phase = phase_number(l->kind),
                            .in_channels = l->inputs,
                            .in_height = in->height,
                            .in_width = in->width,
                            .out_channels = l->outputs,
                            .out_height = out->height,
                            .out_width = out->width,
                            .multiply_adds = (l->weight ? (double)l->weight->count : 0) *
                                             out->height * out->width,
                            .forward = forward_work(net, l),
                            .backward = backward_work(net, l)};
    for (const dn_tensor *t = l->tensors; t < l->tensors + l->tensor_count; t++)
        info->parameters += dn_is_parameter(t) ? t->count : 0;
    snprintf(info->name, sizeof info->name, "%s", l->name);
    snprintf(info->kind, sizeof info->kind, "%s %dx%d", l->kind->name, l->kind->kernel,
             l->kind->kernel);
}

void dn_net_phase_reset(dn_net *net)
{
    for (int i = 0; i < net->layer_count; i++)
        net->layers[i].forward_seconds = net->layers[i].backward_seconds = 0;
}
