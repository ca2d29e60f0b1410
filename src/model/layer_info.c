/*
 * What a layer is, what it has to do, and how long it took.
 *
 * To do: multiply-adds, and the elements that its fused passes move, each once
 * (src/layers/layer.h). Forward reads the input's channels and writes its own. Backward reads its
 * own channels and their gradient, for the deferred correction; it reads the input's channels, to
 * normalise them again, and adds to their gradient, which the last reader of a map only writes.
 */
#include "dn/layer_info.h"

#include <stdio.h>
#include <string.h>

#include "model/model.h"

/* ---- phases ---- */

/* The number of a kind's phase: kinds of one phase follow each other in the table. */
static int phase_number(const dn_layer_kind *kind)
{
    int phase = 0;
    const dn_layer_kind *k;
    for (int i = 0; (k = dn_layer_kind_get(i)) != kind; i++)
        phase += strcmp(k->phase, dn_layer_kind_get(i + 1)->phase) != 0;
    return phase;
}

const char *dn_phase_name(int phase)
{
    const dn_layer_kind *k;
    for (int i = 0; (k = dn_layer_kind_get(i)) != NULL; i++)
        if (phase_number(k) == phase)
            return k->phase;
    return NULL;
}

/* ---- work ---- */

/* Elements of a number of channels: of a map, or of the images or logits where that is NULL. */
static double elements_in(const dn_net *net, const dn_layer *l)
{
    if (l->in >= 0)
        return l->inputs * dn_map_pixels(&net->maps[l->in]);
    return (double)l->inputs * net->options.batch * net->spec.height * net->spec.width;
}

static double elements_out(const dn_net *net, const dn_layer *l)
{
    return l->out >= 0 ? l->outputs * dn_map_pixels(&net->maps[l->out]) : 0;
}

static double weight_count(const dn_layer *l)
{
    return l->weight ? (double)l->weight->count : 0;
}

/* Operations of one product over the batch: forward, or for either gradient. */
static double product_flops(const dn_net *net, const dn_layer *l)
{
    const double pixels = l->out >= 0 ? dn_map_pixels(&net->maps[l->out]) : net->options.batch;
    return 2 * weight_count(l) * pixels;
}

static dn_layer_work forward_work(const dn_net *net, const dn_layer *l)
{
    const double element = (double)dn_dtype_size(net->options.dtype);
    return (dn_layer_work){.flops = product_flops(net, l),
                           .bytes = elements_in(net, l) * (l->in >= 0 ? element : sizeof(float)) +
                                    elements_out(net, l) * element +
                                    weight_count(l) * sizeof(float),
                           .seconds = l->forward_seconds};
}

/* A recomputed input is this layer's work, too. */
static dn_layer_work backward_work(const dn_net *net, const dn_layer *l)
{
    const double element = (double)dn_dtype_size(net->options.dtype), gradient = sizeof(float);
    const int products = l->in >= 0 ? 2 : 1; /* nobody wants the images' gradient */
    const double each_input =
        l->in >= 0 ? element + (l->accumulate ? 2 : 1) * gradient : sizeof(float);
    dn_layer_work work = {.flops = products * product_flops(net, l),
                          .bytes = elements_in(net, l) * each_input +
                                   elements_out(net, l) * (element + gradient) +
                                   (products + 1) * weight_count(l) * sizeof(float),
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
    const dn_tensor *const parameters[] = {l->gamma, l->beta, l->weight, l->bias};
    *info = (dn_layer_info){.phase = phase_number(l->kind),
                            .in_channels = l->inputs,
                            .in_height = in->height,
                            .in_width = in->width,
                            .out_channels = l->outputs,
                            .out_height = out->height,
                            .out_width = out->width,
                            .multiply_adds = weight_count(l) * out->height * out->width,
                            .forward = forward_work(net, l),
                            .backward = backward_work(net, l)};
    for (int t = 0; t < 4; t++)
        info->parameters += parameters[t] ? parameters[t]->count : 0;
    snprintf(info->name, sizeof info->name, "%s", l->name);
    snprintf(info->kind, sizeof info->kind, "%s %dx%d", l->kind->name, l->kind->kernel,
             l->kind->kernel);
}

dn_phase_times dn_net_phase_times(const dn_net *net)
{
    dn_phase_times times = {0};
    for (int i = 0; i < net->layer_count; i++) {
        const dn_layer *l = &net->layers[i];
        times.forward[phase_number(l->kind)] += l->forward_seconds;
        times.backward[phase_number(l->kind)] += l->backward_seconds;
    }
    return times;
}

void dn_net_phase_reset(dn_net *net)
{
    for (int i = 0; i < net->layer_count; i++)
        net->layers[i].forward_seconds = net->layers[i].backward_seconds = 0;
}
