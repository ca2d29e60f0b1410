/*
 * Norm, ReLU, convolution (1x1 or 3x3): the two halves of a dense layer.
 *
 * Forward, for one piece of the map at a time: a panel of input channels is normalised while it is
 * packed (for a 3x3 with a border of zeros, so that a tap is an offset), multiplied, and the sums
 * are written in place into the output map; then the moments of what was written, while it is in
 * the cache.
 *
 * Backward, for one item at a time, a slice of pieces and a column of input channels: the output's
 * gradient is loaded with the deferred correction applied, and packed for the weights' gradient,
 * once for the column; then, panel by panel of its channels, the normalised input is packed again
 * and gives the weights' gradient, the product with the transposed weights gives the input's, which
 * the ReLU masks and adds into the input map's gradient: of a 1x1 both in one kernel where there is
 * one (dgrad_norm_relu). A panel of x is read once for all of it. A 1x1's piece is cut further,
 * into runs of pixels whose dy stays near.
 *
 * The pieces of a 3x3 go to winograd.c where the net's products have Winograd's transforms. Where
 * they have none, a 3x3 goes tap by tap over the padded layout of a piece (dn/kernels.h), one
 * channel's row, here one image of 2 x 4:
 *
 *     0 0 0 0 0 | x x x x 0 | x x x x 0 | 0 0 0 0 0
 *                 ^ first           ^ last of the run
 *
 * The padded layout's source begins where the piece's x does; in a band, with the rows above and
 * below. Output position first + p has tap t at first + p + shift[t], shift = (dr) * 5 + (dc), so
 * each tap is the same product over the `run` of positions from the first pixel to the last. What
 * is computed on border positions is dropped by `store`, or meets a zero of dy.
 */
#include "dn/rng.h"
#include "layers.h"

/* How a node sees one piece. */
typedef struct piece_view {
    dn_piece piece;
    dn_padded padded;  /* of the input, bordered for a 3x3 */
    ptrdiff_t source;  /* where the padded layout's source begins, from the piece's first pixel */
    size_t first, run; /* positions in the padded layout that the products go over */
    size_t ld;         /* of padded layout scratch rows */
} piece_view;

static piece_view view_create(const dn_layout *layout, const dn_node *node, int index)
{
    piece_view v = {.piece = dn_layout_piece(layout, index)};
    if (node->kernel == 1) {
        v.padded = dn_padded_none(v.piece.pixels);
        v.run = v.piece.pixels;
    } else {
        v.padded = dn_piece_padded(layout, &v.piece, &v.source);
        v.first = dn_padded_first(&v.padded);
        v.run = dn_padded_run(&v.padded);
    }
    v.ld = dn_padded_stride(&v.padded);
    return v;
}

enum { RUN_FLOATS = 65536, RUN_STEP = 64 }; /* of dy, so that it and what is made of it stay near */

/* Pixels of a 1x1's piece that go backward at once. */
static size_t backward_run(const dn_node *node, const piece_view *v)
{
    const size_t run = RUN_FLOATS / (size_t)node->outputs / RUN_STEP * RUN_STEP;
    return node->kernel == 3 || run >= v->run ? v->run : run > 0 ? run : RUN_STEP;
}

/* Up to `count` pixels of a view, from pixel `at` on; a 3x3's are all of them. */
static piece_view view_of_run(const piece_view *whole, size_t at, size_t count)
{
    piece_view v = *whole;
    if (count == whole->run)
        return v;
    v.piece.offset += at;
    v.piece.pixels = v.run = whole->run - at < count ? whole->run - at : count;
    v.padded = dn_padded_none(v.run);
    v.ld = dn_padded_stride(&v.padded);
    return v;
}

/* A product's output over the padded layout: its first row holds pixels, no border stands above. */
static dn_padded output_padded(const piece_view *v)
{
    dn_padded padded = v->padded;
    padded.skip = 0;
    if (dn_padded_bordered(&padded))
        padded.rows = v->piece.rows;
    return padded;
}

static dn_taps node_taps(const dn_layout *layout, const dn_node *node, int sign)
{
    return node->kernel == 1 ? (dn_taps){.count = 1} : dn_taps_3x3(layout->width, sign);
}

static int forward_block(const dn_node *node)
{
    return node->kernel == 1 ? DN_FORWARD_BLOCK_1X1 : DN_FORWARD_BLOCK_3X3;
}

/* The draw belongs to (step, virtual rank, layer and channel, image and pixel). */
void dn_conv_dropout(const dn_net *net, const dn_node *node, const dn_pass *pass,
                     const dn_padded *padded, int image, size_t pixel, int channel, float *row)
{
    const dn_layout *layout = &net->maps[node->in].layout;
    const float keep = 1 / (1 - net->options.dropout);
    const uint64_t a = pass->step * 65536 + pass->virtual_rank;
    const uint64_t plane = (uint64_t)(node - net->nodes) << 16 | (uint64_t)channel;
    for (int i = 0; i < padded->images; i++)
        for (int r = 0; r < padded->rows; r++) {
            float *p = row + (size_t)(i * padded->image_rows + padded->skip + r) * padded->pitch;
            for (int c = 0; c < padded->width; c++) {
                const uint64_t at = (uint64_t)(image + i) * dn_layout_pixels(layout) + pixel +
                                    (uint64_t)r * (uint64_t)padded->width + (uint64_t)c;
                const uint32_t word =
                    dn_random(pass->seed, DN_STREAM_DROPOUT, a, plane << 32 | at).word[0];
                p[c] *= dn_random_unit(word) < net->options.dropout ? 0 : keep;
            }
        }
}

static void forward_piece(dn_net *net, const dn_node *node, const dn_pass *pass, int index)
{
    const dn_feature_map *in = &net->maps[node->in], *out = &net->maps[node->out];
    const piece_view v = view_create(&in->layout, node, index);
    const dn_taps taps = node_taps(&in->layout, node, 1);
    const int block = forward_block(node);
    const size_t packed_block = dn_packed_forward_block(net, node, block);
    /* A 1x1 into an fp32 map needs no store of its own: its sums go there at once. */
    const int direct = node->kernel == 1 && net->options.dtype == DN_FP32;
    float *panel = dn_thread_scratch(net) + DN_PADDED_LEAD;
    void *to = dn_map_at(out, dn_map_index(out, &v.piece, node->first, 0));
    float *y = direct ? to : panel + (size_t)block * v.ld;
    const size_t y_ld = direct ? out->layout.stride : v.ld;
    for (int c = 0; c < node->inputs; c += block) {
        const int rows = dn_block_rows(node, c, block);
        net->on_maps->norm_relu(rows, &v.padded,
                                dn_map_at(in, dn_map_index(in, &v.piece, c, v.source)),
                                in->layout.stride, node->scale + c, node->shift + c, panel, v.ld);
        net->products->gemm(net->packed + (size_t)(c / block) * packed_block, node->outputs, rows,
                            &taps, v.run, panel + v.first, v.ld, y, y_ld, c > 0);
    }
    const dn_padded padded = output_padded(&v);
    for (int o = 0; o < node->outputs && pass && node->dropout; o++)
        dn_conv_dropout(net, node, pass, &padded, v.piece.image, v.piece.offset, o,
                        y + (size_t)o * y_ld);
    if (!direct)
        net->on_maps->store(node->outputs, &padded, y, y_ld, to, out->layout.stride);
}

void dn_conv_forward(dn_net *net, const dn_node *node, const dn_pass *pass)
{
    dn_feature_map *out = &net->maps[node->out];
    dn_norm_prepare(net, node, pass);
#pragma omp parallel
    {
        dn_pack_forward(net, node, forward_block(node));
#pragma omp for schedule(dynamic)
        for (int p = 0; p < out->layout.pieces; p++) {
            if (dn_is_winograd(net, node))
                dn_winograd_forward_piece(net, node, pass, p);
            else
                forward_piece(net, node, pass, p);
            if (pass)
                dn_map_piece_moments(net, out, p, node->first, node->outputs);
        }
        if (pass)
            dn_map_merge_moments(net, out, node->first, node->outputs);
    }
}

/* dy = the output's gradient over the padded layout, deferred correction applied; packed = the same
 * for the weights' gradient. */
static void load_gradient(dn_net *net, const dn_node *node, const dn_pass *pass,
                          const piece_view *v, float *dy, float *packed)
{
    const dn_feature_map *out = &net->maps[node->out];
    const size_t at = dn_map_index(out, &v->piece, node->first, v->source);
    net->on_maps->affine(node->outputs, &v->padded, out->gradient + at, out->layout.stride,
                         dn_map_at(out, at), out->layout.stride, net->coefficients, dy, v->ld);
    if (node->dropout)
        for (int o = 0; o < node->outputs; o++)
            dn_conv_dropout(net, node, pass, &v->padded, v->piece.image,
                            v->piece.offset + (size_t)v->source, o, dy + (size_t)o * v->ld);
    net->products->pack_dy(packed, node->outputs, v->run, dy + v->first, v->ld);
}

/* The input's gradient of a block of channels, through the ReLU into the map's. */
static void input_gradient(dn_net *net, const dn_node *node, const piece_view *v, const float *dy,
                           float *dx, dn_norm_grad *grad, const float *packed)
{
    const dn_taps back = node_taps(&net->maps[node->in].layout, node, -1);
    if (node->kernel == 1 && net->products->dgrad_norm_relu != NULL) {
        net->products->dgrad_norm_relu(packed, node->outputs, dy, v->ld, grad);
        return;
    }
    net->products->gemm(packed, grad->rows, node->outputs, &back, v->run, dy + v->first, v->ld, dx,
                        v->ld, 0);
    grad->gradient = dx;
    grad->gradient_ld = v->ld;
    if (node->kernel == 3) {
        float *compact = dx + DN_BACKWARD_BLOCK * v->ld;
        const dn_padded padded = output_padded(v);
        net->kernels->on_maps[DN_FP32].store(grad->rows, &padded, dx, v->ld, compact, v->ld);
        grad->gradient = compact;
    }
    net->on_maps->norm_relu_grad(grad);
}

/* Weight gradient, input gradient and norm sums of block `b` of input channels of one view; adds to
 * partial(rows, 2). `panel` has room for the block's rows of x, of dx, and of dx without borders.
 */
static void backward_block(dn_net *net, const dn_node *node, const piece_view *v,
                           const dn_task *item, int b, const float *dy, const float *packed_dy,
                           float *panel, double *partial)
{
    const dn_feature_map *in = &net->maps[node->in];
    const int c = b * DN_BACKWARD_BLOCK, rows = dn_block_rows(node, c, DN_BACKWARD_BLOCK);
    const dn_taps taps = node_taps(&in->layout, node, 1);
    const size_t at = dn_map_index(in, &v->piece, c, 0);
    float sums[DN_BACKWARD_BLOCK * 2];
    net->on_maps->norm_relu(rows, &v->padded, dn_map_at(in, at + (size_t)v->source),
                            in->layout.stride, node->scale + c, node->shift + c, panel, v->ld);
    net->products->wgrad(node->outputs, rows, &taps, v->run, packed_dy, panel + v->first, v->ld,
                         dn_wgrad_partial(net, node, item->slice, c));
    dn_norm_grad grad = dn_norm_backward_args(net, node, c, rows, at, v->piece.pixels, sums);
    input_gradient(net, node, v, dy, panel + DN_BACKWARD_BLOCK * v->ld, &grad,
                   net->packed +
                       (size_t)b * dn_packed_transposed_block(net, node, DN_BACKWARD_BLOCK));
    for (int i = 0; i < 2 * rows; i++)
        partial[i] += sums[i];
}

static void backward_view(dn_net *net, const dn_node *node, const dn_pass *pass,
                          const dn_task *item, int index, const piece_view *v)
{
    float *dy = dn_thread_scratch(net) + DN_PADDED_LEAD;
    float *packed = dy + (size_t)node->outputs * v->ld;
    float *panel = packed + dn_round_lanes(net->products->packed_dy_floats(node->outputs, v->run)) +
                   DN_PADDED_LEAD;
    load_gradient(net, node, pass, v, dy, packed);
    for (int b = item->block; b < item->block_end; b++)
        backward_block(net, node, v, item, b, dy, packed, panel,
                       dn_norm_partial(net, node, index, b * DN_BACKWARD_BLOCK));
}

static void backward_item(dn_net *net, const dn_node *node, const dn_pass *pass,
                          const dn_task *item)
{
    const dn_layout *layout = &net->maps[node->in].layout;
    dn_wgrad_partial_clear(net, node, item);
    for (int p = item->piece; p < item->piece_end; p++) {
        const piece_view whole = view_create(layout, node, p);
        const size_t step = backward_run(node, &whole);
        dn_norm_partial_clear(net, node, item, p);
        for (size_t at = 0; at < whole.run; at += step) {
            const piece_view v = view_of_run(&whole, at, step);
            backward_view(net, node, pass, item, p, &v);
        }
    }
}

void dn_conv_backward(dn_net *net, const dn_node *node, const dn_pass *pass)
{
    const dn_slices slices = dn_slices_create(net, &net->maps[node->in].layout, node->inputs);
#pragma omp parallel
    {
        dn_pack_transposed(net, node, DN_BACKWARD_BLOCK);
#pragma omp for schedule(dynamic)
        for (int i = 0; i < slices.slices * slices.columns; i++) {
            const dn_task item = dn_slices_task(&slices, i);
            if (dn_is_winograd(net, node))
                dn_winograd_backward_item(net, node, pass, &item);
            else
                backward_item(net, node, pass, &item);
        }
        dn_wgrad_merge(net, node, slices.slices, DN_BACKWARD_BLOCK);
        dn_norm_merge_sums(net, node, slices.pieces);
    }
}

dn_needs dn_conv_needs(const dn_net *net, const dn_node *node)
{
    const dn_feature_map *in = &net->maps[node->in], *out = &net->maps[node->out];
    const piece_view widest = view_create(&in->layout, node, 0);
    const piece_view run = view_of_run(&widest, 0, backward_run(node, &widest));
    const dn_slices slices = dn_slices_create(net, &in->layout, node->inputs);
    const int block = forward_block(node);
    const size_t outputs = (size_t)node->outputs, inputs = (size_t)node->inputs;
    const size_t forward = ((size_t)block + outputs) * widest.ld;
    const size_t backward =
        (outputs + 3 * DN_BACKWARD_BLOCK) * run.ld +
        dn_round_lanes(net->products->packed_dy_floats(node->outputs, run.run)) + DN_PADDED_LEAD;
    const size_t most = inputs > outputs ? inputs : outputs;
    size_t scratch = (backward > forward ? backward : forward) + 2 * DN_PADDED_LEAD;
    if (dn_is_winograd(net, node))
        scratch = dn_winograd_scratch(net, node);
    return dn_needs_max(
        dn_weight_needs(net, node, block, &slices),
        (dn_needs){.scratch = scratch, .partial = (size_t)out->layout.pieces * most * 2});
}
