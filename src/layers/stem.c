/*
 * The first convolution, and what stands before the first dense block of an ImageNet model.
 *
 * The 3x3 stem works like conv.c without the norm: a tap is an offset into planes with a border.
 * The 7x7 stem with stride 2 gathers the 49 pixels under its kernel into rows (im2col), one image
 * channel at a time, and is a matrix product over them; its weights are then those of a 1x1
 * convolution with 49 inputs an image channel. Nobody needs the gradient of the images.
 */
#include "layers.h"

#include <string.h>

enum { SIDE_7 = 7, TAPS_7 = 49 };

/* A 7x7 stem as the 1x1 convolution of gathered rows; any other node as it is. */
static dn_node as_product(const dn_node *node)
{
    dn_node product = *node;
    if (node->kernel == SIDE_7) {
        product.inputs = node->inputs * TAPS_7;
        product.kernel = 1;
    }
    return product;
}

/* Rows of a panel: the gathered taps of one image channel, or all image channels. */
static int panel_rows(const dn_node *node)
{
    return node->kernel == SIDE_7 ? TAPS_7 : node->inputs;
}

/* A panel of images for one piece of the output, and how a product goes over it. */
typedef struct panel {
    float *rows;
    size_t ld, first, run;
    dn_padded padded; /* 3x3: of the panel */
    dn_taps taps;
} panel;

static panel panel_create(const dn_node *node, const dn_layout *layout, const dn_piece *piece,
                          ptrdiff_t *source, float *scratch)
{
    panel p = {.rows = scratch ? scratch + DN_PADDED_LEAD : NULL,
               .run = piece->pixels,
               .taps = {.count = 1}};
    *source = 0;
    p.padded = dn_padded_none(piece->pixels);
    if (node->kernel == 3) {
        p.padded = dn_piece_padded(layout, piece, source);
        p.first = dn_padded_first(&p.padded);
        p.run = dn_padded_run(&p.padded);
        p.taps = dn_taps_3x3(layout->width, 1);
    }
    p.ld = dn_padded_stride(&p.padded);
    return p;
}

/* The panel of a 7x7 stem for one image channel. */
static void im2col(const dn_net *net, const dn_piece *piece, int channel, panel *p)
{
    const int height = net->spec.height, width = net->spec.width;
    const size_t plane = (size_t)height * (size_t)width, channels = (size_t)net->spec.channels;
    const float *x = net->images + ((size_t)piece->image * channels + (size_t)channel) * plane;
    for (int i = 0; i < piece->images; i++, x += channels * plane)
        net->kernels->stride.im2col(height, width, x, piece->row, piece->rows,
                                    p->rows + (size_t)i * (piece->pixels / (size_t)piece->images),
                                    p->ld);
}

/* Fills the panel for image channel block `block`. */
static void panel_fill(dn_net *net, const dn_node *node, const dn_piece *piece, ptrdiff_t source,
                       int block, const dn_layout *layout, panel *p)
{
    if (node->kernel == SIDE_7) {
        im2col(net, piece, block, p);
        return;
    }
    static const float identity[3 * DN_MAX_IMAGE_CHANNELS] = {1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0};
    const size_t plane = dn_layout_pixels(layout);
    const float *x = net->images + (size_t)piece->image * (size_t)node->inputs * plane +
                     (ptrdiff_t)piece->offset + source;
    dn_padded padded = p->padded;
    padded.source_image = (size_t)node->inputs * plane;
    net->kernels->on_maps[DN_FP32].affine(node->inputs, &padded, x, plane, x, plane, identity,
                                          p->rows, p->ld);
}

static void forward_piece(dn_net *net, const dn_node *node, int index)
{
    const dn_feature_map *out = &net->maps[node->out];
    const dn_node product = as_product(node);
    const dn_piece piece = dn_layout_piece(&out->layout, index);
    const int rows = panel_rows(node), blocks = product.inputs / rows;
    ptrdiff_t source;
    panel p = panel_create(node, &out->layout, &piece, &source, dn_thread_scratch(net));
    float *y = p.rows + (size_t)rows * p.ld;
    const size_t packed = dn_packed_forward_block(net, &product, rows);
    for (int b = 0; b < blocks; b++) {
        panel_fill(net, node, &piece, source, b, &out->layout, &p);
        net->products->gemm(net->packed + (size_t)b * packed, node->outputs, rows, &p.taps, p.run,
                            p.rows + p.first, p.ld, y, p.ld, b > 0);
    }
    dn_padded padded = p.padded;
    if (dn_padded_bordered(&padded))
        padded.rows = piece.rows;
    net->on_maps->store(node->outputs, &padded, y, p.ld,
                        dn_map_at(out, dn_map_index(out, &piece, node->first, 0)),
                        out->layout.stride);
}

void dn_stem_forward(dn_net *net, const dn_node *node, const dn_pass *pass)
{
    dn_feature_map *out = &net->maps[node->out];
    const dn_node product = as_product(node);
#pragma omp parallel
    {
        dn_pack_forward(net, &product, panel_rows(node));
#pragma omp for schedule(dynamic)
        for (int p = 0; p < out->layout.pieces; p++) {
            forward_piece(net, node, p);
            if (pass)
                dn_map_piece_moments(net, out, p, node->first, node->outputs);
        }
        if (pass)
            dn_map_merge_moments(net, out, node->first, node->outputs);
    }
}

static void backward_piece(dn_net *net, const dn_node *node, int slice, int index)
{
    const dn_feature_map *out = &net->maps[node->out];
    const dn_node product = as_product(node);
    const dn_piece piece = dn_layout_piece(&out->layout, index);
    const int rows = panel_rows(node), blocks = product.inputs / rows;
    ptrdiff_t source;
    panel p = panel_create(node, &out->layout, &piece, &source, dn_thread_scratch(net));
    float *dy = p.rows + (size_t)rows * p.ld, *packed = dy + (size_t)node->outputs * p.ld;
    const size_t first = dn_map_index(out, &piece, node->first, source);
    net->on_maps->affine(node->outputs, &p.padded, out->gradient + first, out->layout.stride,
                         dn_map_at(out, first), out->layout.stride, net->coefficients, dy, p.ld);
    net->products->pack_dy(packed, node->outputs, p.run, dy + p.first, p.ld);
    for (int b = 0; b < blocks; b++) {
        panel_fill(net, node, &piece, source, b, &out->layout, &p);
        net->products->wgrad(node->outputs, rows, &p.taps, p.run, packed, p.rows + p.first, p.ld,
                             dn_wgrad_partial(net, &product, slice, b * rows));
    }
}

void dn_stem_backward(dn_net *net, const dn_node *node)
{
    const dn_feature_map *out = &net->maps[node->out];
    const dn_node product = as_product(node);
    const dn_slices slices = dn_slices_create(net, &out->layout, 1); /* one block: no columns */
#pragma omp parallel
    {
#pragma omp for schedule(dynamic)
        for (int i = 0; i < slices.slices; i++) {
            const dn_task item = dn_slices_task(&slices, i);
            memset(dn_wgrad_partial(net, &product, i, 0), 0,
                   dn_round_lanes((size_t)node->outputs) *
                       (size_t)(product.inputs * dn_node_taps(&product)) * sizeof(float));
            for (int p = item.piece; p < item.piece_end; p++)
                backward_piece(net, node, i, p);
        }
        dn_wgrad_merge(net, &product, slices.slices, panel_rows(node));
    }
}

dn_needs dn_stem_needs(const dn_net *net, const dn_node *node)
{
    const dn_feature_map *out = &net->maps[node->out];
    const dn_node product = as_product(node);
    const dn_slices slices = dn_slices_create(net, &out->layout, 1);
    const dn_piece piece = dn_layout_piece(&out->layout, 0);
    ptrdiff_t source;
    const panel p = panel_create(node, &out->layout, &piece, &source, NULL);
    return dn_needs_max(
        dn_weight_needs(net, &product, panel_rows(node), &slices),
        (dn_needs){.scratch = (size_t)(panel_rows(node) + node->outputs) * p.ld +
                              net->products->packed_dy_floats(node->outputs, p.run) +
                              2 * DN_PADDED_LEAD,
                   .partial = (size_t)out->layout.pieces * (size_t)node->outputs * 2});
}

/* ---- 3x3/2 max pool after norm and ReLU ---- */

/* What lies under `rows` output rows from `row` on, of one image, and its first pixel. */
static dn_padded pool_padded(const dn_layout *in, int row, int rows, size_t *first)
{
    const int above = row > 0, top = 2 * row - above, bottom = 2 * (row + rows);
    *first = (size_t)top * (size_t)in->width;
    return (dn_padded){.images = 1,
                       .rows = (bottom < in->height ? bottom : in->height) - top,
                       .width = in->width,
                       .skip = 1 - above,
                       .image_rows = 2 * rows,
                       .pitch = (size_t)in->width + 1};
}

/* x(padded) = what channel `c` of one image's padded layout is after norm and ReLU. */
static void load_padded(const dn_net *net, const dn_node *node, const dn_padded *padded,
                        size_t plane, int c, float *x)
{
    net->on_maps->norm_relu(1, padded, dn_map_at(&net->maps[node->in], plane), 0, node->scale + c,
                            node->shift + c, x, 0);
}

static void pool_piece(dn_net *net, const dn_node *node, int index)
{
    const dn_feature_map *in = &net->maps[node->in], *out = &net->maps[node->out];
    const dn_piece piece = dn_layout_piece(&out->layout, index);
    const dn_padded out_run = dn_padded_none(piece.pixels);
    size_t first;
    const dn_padded padded = pool_padded(&in->layout, piece.row, piece.rows, &first);
    float *x = dn_thread_scratch(net) + DN_PADDED_LEAD, *y = x + dn_padded_stride(&padded);
    for (int c = 0; c < node->inputs; c++) {
        for (int i = 0; i < piece.images; i++) {
            load_padded(net, node, &padded, dn_map_plane_index(in, piece.image + i, c, first), c,
                        x);
            net->kernels->stride.max_pool(&padded, x,
                                          y + (size_t)i * (piece.pixels / (size_t)piece.images));
        }
        net->on_maps->store(1, &out_run, y, 0, dn_map_at(out, dn_map_index(out, &piece, c, 0)), 0);
    }
}

void dn_stem_pool_forward(dn_net *net, const dn_node *node, const dn_pass *pass)
{
    dn_feature_map *out = &net->maps[node->out];
    dn_norm_prepare(net, node, pass);
#pragma omp parallel
    {
#pragma omp for schedule(dynamic)
        for (int p = 0; p < out->layout.pieces; p++) {
            pool_piece(net, node, p);
            if (pass)
                dn_map_piece_moments(net, out, p, 0, node->outputs);
        }
        if (pass)
            dn_map_merge_moments(net, out, 0, node->outputs);
    }
}

/* One channel of one image: hands each output's gradient to the input it was taken from. */
static void unpool_plane(dn_net *net, const dn_node *node, int image, int c, double *partial)
{
    const dn_feature_map *in = &net->maps[node->in], *out = &net->maps[node->out];
    const size_t pixels = dn_layout_pixels(&in->layout), outputs = dn_layout_pixels(&out->layout);
    const dn_padded out_run = dn_padded_none(outputs);
    size_t first;
    const dn_padded padded = pool_padded(&in->layout, 0, out->layout.height, &first);
    float *x = dn_thread_scratch(net) + DN_PADDED_LEAD, *dy = x + dn_padded_stride(&padded);
    float *dx = dy + dn_row_stride(outputs), sums[2];
    const size_t plane = dn_map_plane_index(in, image, c, 0);
    const size_t out_plane = dn_map_plane_index(out, image, c, 0);
    load_padded(net, node, &padded, plane, c, x);
    net->on_maps->affine(1, &out_run, out->gradient + out_plane, 0, dn_map_at(out, out_plane), 0,
                         net->coefficients + 3 * c, dy, 0);
    net->kernels->stride.max_pool_grad(&padded, x, dy, dx);
    dn_norm_backward(net, node, c, 1, plane, pixels, dx, 0, sums);
    partial[0] = sums[0];
    partial[1] = sums[1];
}

void dn_stem_pool_backward(dn_net *net, const dn_node *node)
{
    const int images = net->options.batch;
#pragma omp parallel
    {
#pragma omp for schedule(dynamic, 8) collapse(2)
        for (int i = 0; i < images; i++)
            for (int c = 0; c < node->inputs; c++)
                unpool_plane(net, node, i, c, dn_norm_partial(net, node, i, c));
        dn_norm_merge_sums(net, node, images);
    }
}

dn_needs dn_stem_pool_needs(const dn_net *net, const dn_node *node)
{
    const dn_feature_map *in = &net->maps[node->in], *out = &net->maps[node->out];
    const int parts =
        out->layout.pieces > in->layout.images ? out->layout.pieces : in->layout.images;
    size_t first;
    const dn_padded padded = pool_padded(&in->layout, 0, out->layout.height, &first);
    return (dn_needs){.scratch = DN_PADDED_LEAD + dn_padded_stride(&padded) +
                                 dn_row_stride(dn_layout_pixels(&in->layout)) + out->layout.stride +
                                 2 * DN_LANES,
                      .partial = (size_t)parts * (size_t)node->inputs * 2};
}
