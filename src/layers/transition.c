/*
 * Norm, ReLU, 2x2 average pool, 1x1 convolution.
 *
 * Average pooling and a 1x1 convolution commute, so the pool comes first and the convolution works
 * on a quarter of the pixels: the same function for a quarter of the work. A last odd row or column
 * of the input has no share in the output, as in PyTorch. Backward has the structure of conv.c.
 */
#include "layers.h"

#include <string.h>

enum { FORWARD_BLOCK = 2 * DN_BACKWARD_BLOCK };

/* The input's share in one image of an output piece: whole rows, contiguous. The last piece has an
 * odd row that is in no output, too. */
typedef struct source {
    size_t offset, pixels; /* from the image's first pixel */
    int rows, width;
} source;

static source source_of(const dn_feature_map *in, const dn_feature_map *out, const dn_piece *piece)
{
    const int last = piece->row + piece->rows == out->layout.height;
    source s = {.rows = last ? in->layout.height - 2 * piece->row : 2 * piece->rows,
                .width = in->layout.width};
    s.offset = (size_t)(2 * piece->row) * (size_t)s.width;
    s.pixels = (size_t)s.rows * (size_t)s.width;
    return s;
}

/* panel(rows, pixels) = the pooled activations of input channels [c, c + rows). */
static void pool_block(dn_net *net, const dn_node *node, const dn_piece *piece, int c, int rows,
                       float *panel, size_t ld, float *plane)
{
    const dn_feature_map *in = &net->maps[node->in];
    const source from = source_of(in, &net->maps[node->out], piece);
    const dn_padded run = dn_padded_none(from.pixels);
    const size_t pixels = piece->pixels / (size_t)piece->images;
    for (int i = 0; i < rows; i++, panel += ld)
        for (int image = 0; image < piece->images; image++) {
            net->on_maps->norm_relu(
                1, &run,
                dn_map_at(in, dn_map_plane_index(in, piece->image + image, c + i, from.offset)), 0,
                node->scale + c + i, node->shift + c + i, plane, 0);
            net->kernels->stride.average_pool(from.rows, from.width, plane,
                                              panel + (size_t)image * pixels);
        }
}

static size_t panel_stride(const dn_feature_map *out)
{
    return dn_row_stride(dn_layout_piece(&out->layout, 0).pixels);
}

static void forward_piece(dn_net *net, const dn_node *node, int index)
{
    const dn_feature_map *out = &net->maps[node->out];
    const dn_piece piece = dn_layout_piece(&out->layout, index);
    const dn_taps one = {.count = 1};
    const size_t ld = panel_stride(out);
    const size_t packed_block = dn_packed_forward_block(net, node, FORWARD_BLOCK);
    const dn_padded run = dn_padded_none(piece.pixels);
    float *panel = dn_thread_scratch(net), *y = panel + FORWARD_BLOCK * ld;
    float *plane = y + (size_t)node->outputs * ld;
    for (int c = 0; c < node->inputs; c += FORWARD_BLOCK) {
        const int rows = dn_block_rows(node, c, FORWARD_BLOCK);
        pool_block(net, node, &piece, c, rows, panel, ld, plane);
        net->products->gemm(net->packed + (size_t)(c / FORWARD_BLOCK) * packed_block, node->outputs,
                            rows, &one, piece.pixels, panel, ld, y, ld, c > 0);
    }
    net->on_maps->store(node->outputs, &run, y, ld, dn_map_at(out, dn_map_index(out, &piece, 0, 0)),
                        out->layout.stride);
}

void dn_transition_forward(dn_net *net, const dn_node *node, const dn_pass *pass)
{
    dn_feature_map *out = &net->maps[node->out];
    dn_norm_prepare(net, node, pass);
#pragma omp parallel
    {
        dn_pack_forward(net, node, FORWARD_BLOCK);
#pragma omp for schedule(dynamic)
        for (int p = 0; p < out->layout.pieces; p++) {
            forward_piece(net, node, p);
            if (pass)
                dn_map_piece_moments(net, out, p, 0, node->outputs);
        }
        if (pass)
            dn_map_merge_moments(net, out, 0, node->outputs);
    }
}

/* Carries the pooled gradient of channel `c` of a piece through the ReLU into the input's. */
static void unpool_row(dn_net *net, const dn_node *node, const dn_piece *piece, int c,
                       const float *dy, float *plane, double *partial)
{
    const dn_feature_map *in = &net->maps[node->in], *out = &net->maps[node->out];
    const source from = source_of(in, out, piece);
    const size_t pixels = piece->pixels / (size_t)piece->images;
    partial[0] = partial[1] = 0;
    for (int i = 0; i < piece->images; i++) {
        float sums[2];
        net->kernels->stride.average_pool_grad(from.rows, from.width, dy + (size_t)i * pixels,
                                               plane);
        const size_t x = dn_map_plane_index(in, piece->image + i, c, from.offset);
        dn_norm_backward(net, node, c, 1, x, from.pixels, plane, 0, sums);
        partial[0] += sums[0];
        partial[1] += sums[1];
    }
}

static void backward_piece(dn_net *net, const dn_node *node, const dn_task *item, int index)
{
    const dn_feature_map *out = &net->maps[node->out];
    const dn_piece piece = dn_layout_piece(&out->layout, index);
    const dn_taps one = {.count = 1};
    const dn_padded run = dn_padded_none(piece.pixels);
    const size_t ld = panel_stride(out);
    const size_t packed = dn_packed_transposed_block(net, node, DN_BACKWARD_BLOCK);
    float *dy = dn_thread_scratch(net), *packed_dy = dy + (size_t)node->outputs * ld;
    float *panel =
        packed_dy + dn_round_lanes(net->products->packed_dy_floats(node->outputs, piece.pixels));
    float *dx = panel + DN_BACKWARD_BLOCK * ld, *plane = dx + DN_BACKWARD_BLOCK * ld;
    const size_t first = dn_map_index(out, &piece, 0, 0);
    net->on_maps->affine(node->outputs, &run, out->gradient + first, out->layout.stride,
                         dn_map_at(out, first), out->layout.stride, net->coefficients, dy, ld);
    net->products->pack_dy(packed_dy, node->outputs, piece.pixels, dy, ld);
    for (int b = item->block; b < item->block_end; b++) {
        const int c = b * DN_BACKWARD_BLOCK, rows = dn_block_rows(node, c, DN_BACKWARD_BLOCK);
        pool_block(net, node, &piece, c, rows, panel, ld, plane);
        net->products->wgrad(node->outputs, rows, &one, piece.pixels, packed_dy, panel, ld,
                             dn_wgrad_partial(net, node, item->slice, c));
        net->products->gemm(net->packed + (size_t)b * packed, rows, node->outputs, &one,
                            piece.pixels, dy, ld, dx, ld, 0);
        for (int i = 0; i < rows; i++)
            unpool_row(net, node, &piece, c + i, dx + (size_t)i * ld, plane,
                       dn_norm_partial(net, node, index, c + i));
    }
}

void dn_transition_backward(dn_net *net, const dn_node *node)
{
    const dn_feature_map *out = &net->maps[node->out];
    const dn_slices slices = dn_slices_create(net, &out->layout, node->inputs);
#pragma omp parallel
    {
        dn_pack_transposed(net, node, DN_BACKWARD_BLOCK);
#pragma omp for schedule(dynamic)
        for (int i = 0; i < slices.slices * slices.columns; i++) {
            const dn_task item = dn_slices_task(&slices, i);
            dn_wgrad_partial_clear(net, node, &item);
            for (int p = item.piece; p < item.piece_end; p++)
                backward_piece(net, node, &item, p);
        }
        dn_wgrad_merge(net, node, slices.slices, DN_BACKWARD_BLOCK);
        dn_norm_merge_sums(net, node, slices.pieces);
    }
}

dn_needs dn_transition_needs(const dn_net *net, const dn_node *node)
{
    const dn_feature_map *in = &net->maps[node->in], *out = &net->maps[node->out];
    const dn_slices slices = dn_slices_create(net, &out->layout, node->inputs);
    const size_t plane = dn_row_stride(dn_layout_pixels(&in->layout)) + DN_LANES;
    const size_t rows = (size_t)node->outputs + FORWARD_BLOCK; /* backward: two panels */
    const dn_needs weights = dn_weight_needs(net, node, FORWARD_BLOCK, &slices);
    const size_t packed_dy = dn_round_lanes(
        net->products->packed_dy_floats(node->outputs, dn_layout_piece(&out->layout, 0).pixels));
    return dn_needs_max(
        weights, (dn_needs){.scratch = rows * panel_stride(out) + packed_dy + plane,
                            .partial = (size_t)out->layout.pieces * (size_t)node->inputs * 2});
}
