/*
 * What a layer has to do: multiply-adds, and the elements that its fused passes move, each once
 * (src/layers/nodes.h). Forward reads the input's channels and writes its own. Backward reads its
 * own channels and their gradient, for the deferred correction; it reads the input's channels, to
 * normalise them again, and adds to their gradient, which the last reader of a map only writes.
 */
#include "layers.h"

static double pixels_of(const dn_net *net, int map)
{
    if (map >= 0)
        return dn_map_pixels(&net->maps[map]);
    return (double)net->options.batch * net->spec.height * net->spec.width;
}

static double weights_of(const dn_node *node)
{
    if (node->kind == DN_NODE_STEM_POOL)
        return 0;
    return (double)node->inputs * node->outputs * dn_node_taps(node);
}

/* Operations of one product over the batch: forward, or for either gradient. */
static double product_flops(const dn_net *net, const dn_node *node)
{
    const double images = net->options.batch;
    return 2 * weights_of(node) * (node->out >= 0 ? pixels_of(net, node->out) : images);
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
    if (backward && node->in >= 0 && dn_map_is_remade(net, &net->maps[node->in])) {
        const dn_layer_work again = forward_work(net, node - 1);
        work->flops += again.flops;
        work->bytes += again.bytes;
    }
    work->phase = dn_node_phase(node);
}
