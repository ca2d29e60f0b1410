/*
 * What a layer is, what it has to do, and how long it took.
 *
 * To do: multiply-adds, and the elements that its fused passes move, each once
 * (src/layers/nodes.h). Forward reads the input's channels and writes its own. Backward reads its
 * own channels and their gradient, for the deferred correction; it reads the input's channels, to
 * normalise them again, and adds to their gradient, which the last reader of a map only writes.
 */
#include "dn/layer_info.h"
#include "layers.h"

#include <stdio.h>

static dn_phase phase_of(const dn_node *node)
{
    switch (node->kind) {
    case DN_NODE_STEM:
    case DN_NODE_STEM_POOL:
        return DN_PHASE_STEM;
    case DN_NODE_CONV:
        return node->kernel == 1 ? DN_PHASE_CONV1X1 : DN_PHASE_CONV3X3;
    case DN_NODE_TRANSITION:
        return DN_PHASE_TRANSITION;
    case DN_NODE_HEAD:
        break;
    }
    return DN_PHASE_HEAD;
}

static double pixels_of(const dn_net *net, int map)
{
    if (map >= 0)
        return dn_map_pixels(&net->maps[map]);
    return (double)net->options.batch * net->spec.height * net->spec.width;
}

static size_t weights_of(const dn_node *node)
{
    if (node->kind == DN_NODE_STEM_POOL)
        return 0;
    return (size_t)node->inputs * (size_t)node->outputs * (size_t)dn_node_taps(node);
}

/* Operations of one product over the batch: forward, or for either gradient. */
static double product_flops(const dn_net *net, const dn_node *node)
{
    const double images = net->options.batch;
    return 2.0 * (double)weights_of(node) * (node->out >= 0 ? pixels_of(net, node->out) : images);
}

static dn_layer_work forward_work(const dn_net *net, const dn_node *node)
{
    const double element = (double)dn_dtype_size(net->options.dtype);
    const double in = node->inputs * pixels_of(net, node->in);
    const double out = node->out >= 0 ? node->outputs * pixels_of(net, node->out) : 0;
    return (dn_layer_work){.flops = product_flops(net, node),
                           .bytes = in * (node->in >= 0 ? element : sizeof(float)) + out * element +
                                    weights_of(node) * sizeof(float)};
}

static dn_layer_work backward_work(const dn_net *net, const dn_node *node)
{
    const double element = (double)dn_dtype_size(net->options.dtype), gradient = sizeof(float);
    const double in = node->inputs * pixels_of(net, node->in);
    const double out = node->out >= 0 ? node->outputs * pixels_of(net, node->out) : 0;
    const int products = node->in >= 0 ? 2 : 1; /* nobody wants the images' gradient */
    dn_layer_work work = {.flops = products * product_flops(net, node),
                          .bytes = out * (element + gradient) +
                                   (products + 1) * weights_of(node) * sizeof(float)};
    work.bytes +=
        node->in < 0 ? in * sizeof(float) : in * (element + (node->accumulate ? 2 : 1) * gradient);
    return work;
}

void dn_net_layer_work(const dn_net *net, int index, int backward, dn_layer_work *work)
{
    const dn_node *node = &net->nodes[index];
    *work = backward ? backward_work(net, node) : forward_work(net, node);
    if (backward && node->in >= 0 && net->maps[node->in].recomputed) {
        const dn_layer_work again = forward_work(net, dn_node_before(node));
        work->flops += again.flops;
        work->bytes += again.bytes;
    }
    work->phase = phase_of(node);
}

void dn_net_layer_info(const dn_net *net, int index, dn_layer_info *info)
{
    static const char *const kinds[] = {[DN_NODE_STEM] = "conv",
                                        [DN_NODE_STEM_POOL] = "max pool",
                                        [DN_NODE_CONV] = "conv",
                                        [DN_NODE_TRANSITION] = "pool conv",
                                        [DN_NODE_HEAD] = "linear"};
    const dn_node *node = &net->nodes[index];
    const dn_layout image = {.height = net->spec.height, .width = net->spec.width};
    const dn_layout point = {.height = 1, .width = 1};
    const dn_layout *in = node->in >= 0 ? &net->maps[node->in].layout : &image;
    const dn_layout *out = node->out >= 0 ? &net->maps[node->out].layout : &point;
    const size_t weights = weights_of(node);
    *info = (dn_layer_info){.in_channels = node->inputs,
                            .in_height = in->height,
                            .in_width = in->width,
                            .out_channels = node->outputs,
                            .out_height = out->height,
                            .out_width = out->width};
    info->parameters = weights + (node->norm ? 2 * (size_t)node->inputs : 0) +
                       (node->kind == DN_NODE_HEAD ? (size_t)node->outputs : 0);
    info->multiply_adds = (double)weights * out->height * out->width;
    info->forward_seconds = node->forward_seconds;
    info->backward_seconds = node->backward_seconds;
    snprintf(info->name, sizeof info->name, "%s", node->name);
    snprintf(info->kind, sizeof info->kind, "%s %dx%d", kinds[node->kind], node->kernel,
             node->kernel);
}

const char *dn_phase_name(dn_phase phase)
{
    static const char *const names[DN_PHASES] = {"stem", "conv1x1", "conv3x3", "transition",
                                                 "head"};
    return names[phase];
}

dn_phase_times dn_net_phase_times(const dn_net *net)
{
    dn_phase_times times = {0};
    for (int i = 0; i < net->node_count; i++) {
        const dn_node *node = &net->nodes[i];
        times.forward[phase_of(node)] += node->forward_seconds;
        times.backward[phase_of(node)] += node->backward_seconds;
    }
    return times;
}

void dn_net_phase_reset(dn_net *net)
{
    for (int i = 0; i < net->node_count; i++)
        net->nodes[i].forward_seconds = net->nodes[i].backward_seconds = 0;
}
