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
    dn_frame frame; /* 3x3: of the panel */
    dn_taps taps;
} panel;

static panel panel_create(const dn_node *node, const dn_grid *grid, const dn_piece *piece,
                          ptrdiff_t *source, float *scratch)
{
    panel p = {.rows = scratch ? scratch + DN_FRAME_LEAD : NULL,
               .run = piece->pixels,
               .taps = {.count = 1}};
    *source = 0;
    p.frame = dn_run_frame(piece->pixels);
    if (node->kernel == 3) {
        p.frame = dn_piece_frame(grid, piece, source);
        p.first = dn_frame_first(&p.frame);
        p.run = dn_frame_run(&p.frame);
        p.taps = dn_taps_3x3(grid->width, 1);
    }
    p.ld = dn_frame_stride(&p.frame);
    return p;
}

/* The panel of a 7x7 stem for one image channel. */
static void gather(const dn_net *net, const dn_piece *piece, int channel, panel *p)
{
    const int height = net->spec.height, width = net->spec.width;
    const size_t plane = (size_t)height * (size_t)width, channels = (size_t)net->spec.channels;
    const float *x = net->images + ((size_t)piece->image * channels + (size_t)channel) * plane;
    for (int i = 0; i < piece->images; i++, x += channels * plane)
        net->kernels->stride.gather(height, width, x, piece->row, piece->rows,
                                    p->rows + (size_t)i * (piece->pixels / (size_t)piece->images),
                                    p->ld);
}

/* Fills the panel for image channel block `block`. */
static void panel_fill(dn_net *net, const dn_node *node, const dn_piece *piece, ptrdiff_t source,
                       int block, const dn_grid *grid, panel *p)
{
    if (node->kernel == SIDE_7) {
        gather(net, piece, block, p);
        return;
    }
    static const float identity[3 * DN_MAX_IMAGE_CHANNELS] = {1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0};
    const size_t plane = dn_grid_pixels(grid);
    const float *x = net->images + (size_t)piece->image * (size_t)node->inputs * plane +
                     (ptrdiff_t)piece->offset + source;
    dn_frame frame = p->frame;
    frame.source_image = (size_t)node->inputs * plane;
    net->kernels->on_maps[DN_FP32].affine(node->inputs, &frame, x, plane, x, plane, identity,
                                          p->rows, p->ld);
}

static void forward_piece(dn_net *net, const dn_node *node, int index)
{
    const dn_map *out = &net->maps[node->out];
    const dn_node product = as_product(node);
    const dn_piece piece = dn_grid_piece(&out->grid, index);
    const int rows = panel_rows(node), blocks = product.inputs / rows;
    ptrdiff_t source;
    panel p = panel_create(node, &out->grid, &piece, &source, dn_thread_scratch(net));
    float *y = p.rows + (size_t)rows * p.ld;
    const size_t packed = dn_packed_forward_block(net, &product, rows);
    for (int b = 0; b < blocks; b++) {
        panel_fill(net, node, &piece, source, b, &out->grid, &p);
        net->products->conv(net->packed + (size_t)b * packed, node->outputs, rows, &p.taps, p.run,
                            p.rows + p.first, p.ld, y, p.ld, b > 0);
    }
    dn_frame frame = p.frame;
    if (dn_frame_bordered(&frame))
        frame.rows = piece.rows;
    net->on_maps->store(node->outputs, &frame, y, p.ld,
                        dn_map_at(out, dn_map_index(out, &piece, node->first, 0)),
                        out->grid.stride);
}

void dn_stem_forward(dn_net *net, const dn_node *node, const dn_pass *pass)
{
    dn_map *out = &net->maps[node->out];
    const dn_node product = as_product(node);
#pragma omp parallel
    {
        dn_pack_forward(net, &product, panel_rows(node));
#pragma omp for schedule(dynamic)
        for (int p = 0; p < out->grid.pieces; p++) {
            forward_piece(net, node, p);
            if (pass)
                dn_map_piece_moments(net, out, p, node->first, node->outputs);
        }
        if (pass)
            dn_map_merge_moments(net, out, node->first, node->outputs);
    }
}

static void backward_piece(dn_net *net, const dn_node *node, int stripe, int index)
{
    const dn_map *out = &net->maps[node->out];
    const dn_node product = as_product(node);
    const dn_piece piece = dn_grid_piece(&out->grid, index);
    const int rows = panel_rows(node), blocks = product.inputs / rows;
    ptrdiff_t source;
    panel p = panel_create(node, &out->grid, &piece, &source, dn_thread_scratch(net));
    float *dy = p.rows + (size_t)rows * p.ld, *packed = dy + (size_t)node->outputs * p.ld;
    const size_t first = dn_map_index(out, &piece, node->first, source);
    net->on_maps->affine(node->outputs, &p.frame, out->gradient + first, out->grid.stride,
                         dn_map_at(out, first), out->grid.stride, net->coefficients, dy, p.ld);
    net->products->pack_grad(packed, node->outputs, p.run, dy + p.first, p.ld);
    for (int b = 0; b < blocks; b++) {
        panel_fill(net, node, &piece, source, b, &out->grid, &p);
        net->products->conv_weight_grad(node->outputs, rows, &p.taps, p.run, packed,
                                        p.rows + p.first, p.ld,
                                        dn_weight_partial(net, &product, stripe, b * rows));
    }
}

void dn_stem_backward(dn_net *net, const dn_node *node)
{
    const dn_map *out = &net->maps[node->out];
    const dn_node product = as_product(node);
    const dn_stripes stripes = dn_stripes_create(net, &out->grid, 1); /* one block: no columns */
#pragma omp parallel
    {
#pragma omp for schedule(dynamic)
        for (int i = 0; i < stripes.stripes; i++) {
            const dn_item item = dn_stripes_item(&stripes, i);
            memset(dn_weight_partial(net, &product, i, 0), 0,
                   dn_round_lanes((size_t)node->outputs) *
                       (size_t)(product.inputs * dn_node_taps(&product)) * sizeof(float));
            for (int p = item.piece; p < item.piece_end; p++)
                backward_piece(net, node, i, p);
        }
        dn_weight_merge(net, &product, stripes.stripes, panel_rows(node));
    }
}

dn_needs dn_stem_needs(const dn_net *net, const dn_node *node)
{
    const dn_map *out = &net->maps[node->out];
    const dn_node product = as_product(node);
    const dn_stripes stripes = dn_stripes_create(net, &out->grid, 1);
    const dn_piece piece = dn_grid_piece(&out->grid, 0);
    ptrdiff_t source;
    const panel p = panel_create(node, &out->grid, &piece, &source, NULL);
    return dn_needs_max(
        dn_weight_needs(net, &product, panel_rows(node), &stripes),
        (dn_needs){.scratch = (size_t)(panel_rows(node) + node->outputs) * p.ld +
                              net->products->packed_grad_floats(node->outputs, p.run) +
                              2 * DN_FRAME_LEAD,
                   .partial = (size_t)out->grid.pieces * (size_t)node->outputs * 2});
}

/* ---- 3x3/2 max pool after norm and ReLU ---- */

/* What lies under `rows` output rows from `row` on, of one image, and its first pixel. */
static dn_frame pool_frame(const dn_grid *in, int row, int rows, size_t *first)
{
    const int above = row > 0, top = 2 * row - above, bottom = 2 * (row + rows);
    *first = (size_t)top * (size_t)in->width;
    return (dn_frame){.images = 1,
                      .rows = (bottom < in->height ? bottom : in->height) - top,
                      .width = in->width,
                      .skip = 1 - above,
                      .image_rows = 2 * rows,
                      .pitch = (size_t)in->width + 1};
}

/* x(frame) = what channel `c` of one image's frame is after norm and ReLU. */
static void load_frame(const dn_net *net, const dn_node *node, const dn_frame *frame, size_t plane,
                       int c, float *x)
{
    net->on_maps->norm_relu(1, frame, dn_map_at(&net->maps[node->in], plane), 0, node->scale + c,
                            node->shift + c, x, 0);
}

static void pool_piece(dn_net *net, const dn_node *node, int index)
{
    const dn_map *in = &net->maps[node->in], *out = &net->maps[node->out];
    const dn_piece piece = dn_grid_piece(&out->grid, index);
    const dn_frame out_run = dn_run_frame(piece.pixels);
    size_t first;
    const dn_frame frame = pool_frame(&in->grid, piece.row, piece.rows, &first);
    float *x = dn_thread_scratch(net) + DN_FRAME_LEAD, *y = x + dn_frame_stride(&frame);
    for (int c = 0; c < node->inputs; c++) {
        for (int i = 0; i < piece.images; i++) {
            load_frame(net, node, &frame, dn_map_plane_index(in, piece.image + i, c, first), c, x);
            net->kernels->stride.max_pool(&frame, x,
                                          y + (size_t)i * (piece.pixels / (size_t)piece.images));
        }
        net->on_maps->store(1, &out_run, y, 0, dn_map_at(out, dn_map_index(out, &piece, c, 0)), 0);
    }
}

void dn_stem_pool_forward(dn_net *net, const dn_node *node, const dn_pass *pass)
{
    dn_map *out = &net->maps[node->out];
    dn_norm_prepare(net, node, pass);
#pragma omp parallel
    {
#pragma omp for schedule(dynamic)
        for (int p = 0; p < out->grid.pieces; p++) {
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
    const dn_map *in = &net->maps[node->in], *out = &net->maps[node->out];
    const size_t pixels = dn_grid_pixels(&in->grid), outputs = dn_grid_pixels(&out->grid);
    const dn_frame out_run = dn_run_frame(outputs);
    size_t first;
    const dn_frame frame = pool_frame(&in->grid, 0, out->grid.height, &first);
    float *x = dn_thread_scratch(net) + DN_FRAME_LEAD, *dy = x + dn_frame_stride(&frame);
    float *dx = dy + dn_row_stride(outputs), sums[2];
    const size_t plane = dn_map_plane_index(in, image, c, 0);
    const size_t out_plane = dn_map_plane_index(out, image, c, 0);
    load_frame(net, node, &frame, plane, c, x);
    net->on_maps->affine(1, &out_run, out->gradient + out_plane, 0, dn_map_at(out, out_plane), 0,
                         net->coefficients + 3 * c, dy, 0);
    net->kernels->stride.max_pool_grad(&frame, x, dy, dx);
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
    const dn_map *in = &net->maps[node->in], *out = &net->maps[node->out];
    const int parts = out->grid.pieces > in->grid.images ? out->grid.pieces : in->grid.images;
    size_t first;
    const dn_frame frame = pool_frame(&in->grid, 0, out->grid.height, &first);
    return (dn_needs){.scratch = DN_FRAME_LEAD + dn_frame_stride(&frame) +
                                 dn_row_stride(dn_grid_pixels(&in->grid)) + out->grid.stride +
                                 2 * DN_LANES,
                      .partial = (size_t)parts * (size_t)node->inputs * 2};
}
