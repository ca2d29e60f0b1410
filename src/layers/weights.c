/* Packing of weights, cutting of backward work, and sums of weight gradients; see layers.h. */
#include "layers.h"

#include <omp.h>
#include <string.h>

enum {
    STRIPE_PIXELS = 1536, /* below that, adding up a stripe's gradient costs more than it spreads */
    MAX_STRIPES = 64,
    WANTED_ITEMS = 16 /* pieces of work below which channels are cut as well */
};

dn_stripes dn_stripes_create(const dn_grid *grid, int inputs)
{
    const size_t pixels = (size_t)grid->images * dn_grid_pixels(grid);
    size_t stripes = (pixels + STRIPE_PIXELS - 1) / STRIPE_PIXELS;
    if (stripes > MAX_STRIPES)
        stripes = MAX_STRIPES;
    if (stripes > (size_t)grid->pieces)
        stripes = (size_t)grid->pieces;
    const int blocks = (inputs + DN_BACKWARD_BLOCK - 1) / DN_BACKWARD_BLOCK;
    int columns = (WANTED_ITEMS + (int)stripes - 1) / (int)stripes;
    if (columns > blocks)
        columns = blocks;
    return (dn_stripes){grid->pieces, (int)stripes, blocks, columns};
}

dn_stripe dn_stripes_item(const dn_stripes *stripes, int index)
{
    const int s = index / stripes->columns, c = index % stripes->columns;
    return (dn_stripe){.stripe = s,
                       .piece = stripes->pieces * s / stripes->stripes,
                       .piece_end = stripes->pieces * (s + 1) / stripes->stripes,
                       .block = stripes->blocks * c / stripes->columns,
                       .block_end = stripes->blocks * (c + 1) / stripes->columns};
}

size_t dn_packed_forward_block(const dn_net *net, const dn_node *node, int block)
{
    return net->products->packed_floats(node->outputs, block, dn_node_taps(node));
}

size_t dn_packed_transposed_block(const dn_net *net, const dn_node *node, int block)
{
    return net->products->packed_floats(block, node->outputs, dn_node_taps(node));
}

/* The weights of `rows` input channels from `first` on, as a matrix (outputs, rows). */
static dn_weights block_weights(const dn_net *net, const dn_node *node, int first, int rows)
{
    const int taps = dn_node_taps(node);
    return (dn_weights){.w = net->parameters + node->weight + (size_t)first * (size_t)taps,
                        .outputs = node->outputs,
                        .inputs = rows,
                        .taps = taps,
                        .out_step = (ptrdiff_t)node->inputs * taps,
                        .in_step = taps};
}

void dn_pack_forward(dn_net *net, const dn_node *node, int block)
{
    const size_t floats = dn_packed_forward_block(net, node, block);
    const int blocks = (node->inputs + block - 1) / block;
    const int parts = (node->outputs + DN_PACK_OUTPUTS - 1) / DN_PACK_OUTPUTS;
#pragma omp for schedule(static)
    for (int item = 0; item < blocks * parts; item++) {
        const int b = item / parts, o = item % parts * DN_PACK_OUTPUTS;
        dn_weights weights =
            block_weights(net, node, b * block, dn_block_rows(node, b * block, block));
        float *to = net->packed + (size_t)b * floats +
                    (o ? net->products->packed_floats(o, weights.inputs, weights.taps) : 0);
        weights.w += o * weights.out_step;
        weights.outputs = node->outputs - o < DN_PACK_OUTPUTS ? node->outputs - o : DN_PACK_OUTPUTS;
        net->products->pack(to, &weights);
    }
}

void dn_pack_transposed(dn_net *net, const dn_node *node, int block)
{
    const size_t floats = dn_packed_transposed_block(net, node, block);
    const int blocks = (node->inputs + block - 1) / block;
#pragma omp for schedule(static)
    for (int b = 0; b < blocks; b++) {
        const dn_weights w =
            block_weights(net, node, b * block, dn_block_rows(node, b * block, block));
        const dn_weights transposed = {.w = w.w,
                                       .outputs = w.inputs,
                                       .inputs = w.outputs,
                                       .taps = w.taps,
                                       .out_step = w.in_step,
                                       .in_step = w.out_step};
        net->products->pack(net->packed + (size_t)b * floats, &transposed);
    }
}

float *dn_weight_partial(dn_net *net, const dn_node *node, int stripe, int first)
{
    const size_t column = (size_t)node->outputs * (size_t)dn_node_taps(node);
    return net->weight_partial + ((size_t)stripe * (size_t)node->inputs + (size_t)first) * column;
}

void dn_weight_partial_clear(dn_net *net, const dn_node *node, const dn_stripe *item)
{
    const int first = item->block * DN_BACKWARD_BLOCK, end = item->block_end * DN_BACKWARD_BLOCK;
    const size_t rows = (size_t)((end < node->inputs ? end : node->inputs) - first);
    memset(dn_weight_partial(net, node, item->stripe, first), 0,
           rows * (size_t)(node->outputs * dn_node_taps(node)) * sizeof(float));
}

dn_needs dn_weight_needs(const dn_net *net, const dn_node *node, int block,
                         const dn_stripes *stripes)
{
    const size_t inputs = (size_t)node->inputs;
    const size_t forward = (inputs + (size_t)block - 1) / (size_t)block;
    const size_t back = (inputs + DN_BACKWARD_BLOCK - 1) / DN_BACKWARD_BLOCK;
    const size_t packed_forward = forward * dn_packed_forward_block(net, node, block);
    const size_t packed_back = back * dn_packed_transposed_block(net, node, DN_BACKWARD_BLOCK);
    return (dn_needs){.packed = packed_forward > packed_back ? packed_forward : packed_back,
                      .weight_partial = (size_t)stripes->stripes * inputs *
                                        (size_t)(node->outputs * dn_node_taps(node))};
}

void dn_weight_merge(dn_net *net, const dn_node *node, int stripes, int block)
{
    const int taps = dn_node_taps(node), blocks = (node->inputs + block - 1) / block;
    const size_t stripe_floats = (size_t)node->inputs * (size_t)node->outputs * (size_t)taps;
#pragma omp for schedule(static) collapse(2)
    for (int b = 0; b < blocks; b++)
        for (int o = 0; o < node->outputs; o++) {
            const int rows = dn_block_rows(node, b * block, block);
            const float *from = dn_weight_partial(net, node, 0, b * block);
            float *to = net->leaf + node->weight +
                        ((size_t)o * (size_t)node->inputs + (size_t)(b * block)) * (size_t)taps;
            for (int t = 0; t < taps; t++)
                for (int c = 0; c < rows; c++) {
                    const float *part =
                        from + ((size_t)t * (size_t)node->outputs + (size_t)o) * (size_t)rows + c;
                    float sum = part[0];
                    for (int s = 1; s < stripes; s++)
                        sum += part[(size_t)s * stripe_floats];
                    to[c * taps + t] = sum;
                }
        }
}

float *dn_thread_scratch(dn_net *net)
{
    return net->scratch + (size_t)omp_get_thread_num() * net->scratch_floats;
}
