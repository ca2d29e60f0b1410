/*
 * Packing of weights, cutting of backward work, and sums of weight gradients; see layers.h. Those
 * of a Winograd node are transformed on the way: G w G' when packed, G' m G when added up.
 */
#include "layers.h"

#include <assert.h>
#include <omp.h>
#include <string.h>

enum {
    SLICE_PIXELS = 2048, /* fewer, and adding up a slice's gradient costs more than it spreads */
    MAX_SLICES = 64,
    ITEMS_A_THREAD = 8 /* below which channels are cut as well */
};

static int divide_up(int x, int by)
{
    return (x + by - 1) / by;
}

dn_slices dn_slices_create(const dn_net *net, const dn_layout *layout, int inputs)
{
    const size_t pixels = (size_t)layout->images * dn_layout_pixels(layout);
    const size_t wanted = (pixels + SLICE_PIXELS - 1) / SLICE_PIXELS;
    const int most = wanted < MAX_SLICES ? (int)wanted : MAX_SLICES;
    /* As many pieces in each, so that no thread waits for another's longer one. */
    const int slices = divide_up(layout->pieces, divide_up(layout->pieces, most));
    const int blocks = divide_up(inputs, DN_BACKWARD_BLOCK);
    const int columns = divide_up(ITEMS_A_THREAD * net->threads, slices);
    return (dn_slices){layout->pieces, slices, blocks, columns < blocks ? columns : blocks};
}

dn_task dn_slices_task(const dn_slices *slices, int index)
{
    const int s = index / slices->columns, c = index % slices->columns;
    return (dn_task){.slice = s,
                     .piece = slices->pieces * s / slices->slices,
                     .piece_end = slices->pieces * (s + 1) / slices->slices,
                     .block = slices->blocks * c / slices->columns,
                     .block_end = slices->blocks * (c + 1) / slices->columns};
}

size_t dn_packed_forward_block(const dn_net *net, const dn_node *node, int block)
{
    if (dn_is_winograd(net, node))
        return DN_WINOGRAD * net->products->packed_floats(node->outputs, block, 1);
    return net->products->packed_floats(node->outputs, block, dn_node_taps(node));
}

size_t dn_packed_transposed_block(const dn_net *net, const dn_node *node, int block)
{
    if (dn_is_winograd(net, node))
        return DN_WINOGRAD * net->products->packed_floats(block, node->outputs, 1);
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

/* u(4, 4) = G w G' of a 3x3 kernel, or of the kernel turned by half a circle. */
static void transform_weights(const float *w, int turned, float *u)
{
    float half[4][3]; /* G w */
    for (int c = 0; c < 3; c++) {
        const float a = w[turned ? 8 - c : c], b = w[turned ? 5 - c : 3 + c];
        const float d = w[turned ? 2 - c : 6 + c];
        half[0][c] = a;
        half[1][c] = 0.5f * (a + b + d);
        half[2][c] = 0.5f * (a - b + d);
        half[3][c] = d;
    }
    for (int r = 0; r < 4; r++, u += 4) {
        u[0] = half[r][0];
        u[1] = 0.5f * (half[r][0] + half[r][1] + half[r][2]);
        u[2] = 0.5f * (half[r][0] - half[r][1] + half[r][2]);
        u[3] = half[r][2];
    }
}

/* dw(3, 3) = G' m G of a gradient in the transformed domain. */
static void transform_weight_gradient(const float *m, float *dw)
{
    float half[3][4]; /* G' m */
    for (int c = 0; c < 4; c++) {
        const float sum = m[4 + c] + m[8 + c], difference = m[4 + c] - m[8 + c];
        half[0][c] = m[c] + 0.5f * sum;
        half[1][c] = 0.5f * difference;
        half[2][c] = 0.5f * sum + m[12 + c];
    }
    for (int r = 0; r < 3; r++, dw += 3) {
        const float sum = half[r][1] + half[r][2], difference = half[r][1] - half[r][2];
        dw[0] = half[r][0] + 0.5f * sum;
        dw[1] = 0.5f * difference;
        dw[2] = 0.5f * sum + half[r][3];
    }
}

/* Packs weights(outputs, inputs) as 16 matrices, `step` floats apart. */
static void pack_winograd(dn_net *net, float *to, size_t step, const dn_weights *weights,
                          int turned)
{
    float *u = dn_thread_scratch(net);
    const ptrdiff_t row = (ptrdiff_t)weights->inputs * DN_WINOGRAD;
    for (int o = 0; o < weights->outputs; o++)
        for (int c = 0; c < weights->inputs; c++)
            transform_weights(weights->w + o * weights->out_step + c * weights->in_step, turned,
                              u + o * row + c * DN_WINOGRAD);
    for (int e = 0; e < DN_WINOGRAD; e++)
        net->products->pack(to + (size_t)e * step, &(dn_weights){.w = u + e,
                                                                 .outputs = weights->outputs,
                                                                 .inputs = weights->inputs,
                                                                 .taps = 1,
                                                                 .out_step = row,
                                                                 .in_step = DN_WINOGRAD});
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
        const int taps = dn_is_winograd(net, node) ? 1 : weights.taps;
        float *to = net->packed + (size_t)b * floats +
                    (o ? net->products->packed_floats(o, weights.inputs, taps) : 0);
        const size_t step = net->products->packed_floats(node->outputs, weights.inputs, 1);
        weights.w += o * weights.out_step;
        weights.outputs = node->outputs - o < DN_PACK_OUTPUTS ? node->outputs - o : DN_PACK_OUTPUTS;
        if (dn_is_winograd(net, node))
            pack_winograd(net, to, step, &weights, 0);
        else
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
        float *to = net->packed + (size_t)b * floats;
        if (dn_is_winograd(net, node))
            pack_winograd(net, to, net->products->packed_floats(w.inputs, w.outputs, 1),
                          &transposed, 1);
        else
            net->products->pack(to, &transposed);
    }
}

/* Floats of a partial gradient that belong to one input channel. */
static size_t weight_column(const dn_net *net, const dn_node *node)
{
    return dn_round_lanes((size_t)node->outputs) * (size_t)dn_node_products(net, node);
}

float *dn_wgrad_partial(dn_net *net, const dn_node *node, int slice, int first)
{
    return net->wgrad_partial +
           ((size_t)slice * (size_t)node->inputs + (size_t)first) * weight_column(net, node);
}

void dn_wgrad_partial_clear(dn_net *net, const dn_node *node, const dn_task *item)
{
    const int first = item->block * DN_BACKWARD_BLOCK, end = item->block_end * DN_BACKWARD_BLOCK;
    const size_t rows = (size_t)((end < node->inputs ? end : node->inputs) - first);
    memset(dn_wgrad_partial(net, node, item->slice, first), 0,
           rows * weight_column(net, node) * sizeof(float));
}

dn_needs dn_weight_needs(const dn_net *net, const dn_node *node, int block, const dn_slices *slices)
{
    const size_t inputs = (size_t)node->inputs;
    const size_t forward = (inputs + (size_t)block - 1) / (size_t)block;
    const size_t back = (inputs + DN_BACKWARD_BLOCK - 1) / DN_BACKWARD_BLOCK;
    const size_t packed_forward = forward * dn_packed_forward_block(net, node, block);
    const size_t packed_back = back * dn_packed_transposed_block(net, node, DN_BACKWARD_BLOCK);
    const size_t outputs = (size_t)node->outputs;
    const size_t part = outputs < DN_PACK_OUTPUTS ? outputs : DN_PACK_OUTPUTS;
    const size_t transformed =
        (part * (size_t)block > outputs * DN_BACKWARD_BLOCK ? part * (size_t)block
                                                            : outputs * DN_BACKWARD_BLOCK) *
        DN_WINOGRAD;
    return (dn_needs){.scratch = dn_is_winograd(net, node) ? transformed : 0,
                      .packed = packed_forward > packed_back ? packed_forward : packed_back,
                      .wgrad_partial = (size_t)slices->slices * inputs * weight_column(net, node)};
}

/* sums(products * rows, DN_LANES) = the slices' partial gradients of so many outputs, added in
 * order; `ld` floats lie between rows and `stripe_floats` between slices. */
static void sum_stripes(const float *partial, int rows, size_t ld, int slices, size_t stripe_floats,
                        float (*sums)[DN_LANES])
{
    for (int r = 0; r < rows; r++)
        memcpy(sums[r], partial + (size_t)r * ld, sizeof sums[r]);
    for (int s = 1; s < slices; s++)
        for (int r = 0; r < rows; r++) {
            const float *from = partial + (size_t)s * stripe_floats + (size_t)r * ld;
            for (int o = 0; o < DN_LANES; o++)
                sums[r][o] += from[o];
        }
}

/* The gradient of one output's weights of `rows` inputs, from column `o` of its sums. */
static void turn_sums(float (*sums)[DN_LANES], int o, int products, int rows, int taps, float *to)
{
    for (int c = 0; c < rows; c++, to += taps) {
        float turned[DN_WINOGRAD];
        for (int p = 0; p < products; p++)
            turned[p] = sums[p * rows + c][o];
        if (products == DN_WINOGRAD)
            transform_weight_gradient(turned, to);
        else
            memcpy(to, turned, (size_t)taps * sizeof *to);
    }
}

void dn_wgrad_merge(dn_net *net, const dn_node *node, int slices, int block)
{
    const int taps = dn_node_taps(node), blocks = (node->inputs + block - 1) / block;
    const int products = dn_node_products(net, node);
    const size_t ld = dn_round_lanes((size_t)node->outputs);
    const size_t stripe_floats = (size_t)node->inputs * weight_column(net, node);
#pragma omp for schedule(static) collapse(2)
    for (int b = 0; b < blocks; b++)
        for (int first = 0; first < node->outputs; first += DN_LANES) {
            float sums[DN_WINOGRAD * DN_BACKWARD_BLOCK][DN_LANES];
            const int rows = dn_block_rows(node, b * block, block);
            assert(products * rows <= DN_WINOGRAD * DN_BACKWARD_BLOCK);
            sum_stripes(dn_wgrad_partial(net, node, 0, b * block) + first, products * rows, ld,
                        slices, stripe_floats, sums);
            float *to = net->leaf + node->weight + (size_t)(b * block * taps);
            for (int o = first; o < first + DN_LANES && o < node->outputs; o++)
                turn_sums(sums, o - first, products, rows, taps,
                          to + (size_t)o * (size_t)(node->inputs * taps));
        }
}

float *dn_thread_scratch(dn_net *net)
{
    return net->scratch + (size_t)omp_get_thread_num() * net->scratch_floats;
}
