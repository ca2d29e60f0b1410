/*
 * Batch norm, ReLU, 3x3/2 max pool (padding 1), before the first dense block of an ImageNet model.
 * The forward pass goes over pieces of the output; the backward pass over planes of the input, one
 * channel of one image each, where each output's gradient goes to the pixel that was the maximum.
 */
#include "layers/norm.h"

/* The input window of `rows` output rows of one image, starting at `row`, and its first pixel. */
static dn_padded pool_window(const dn_layout *in, int row, int rows, size_t *first)
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

/* A thread's scratch: a padded plane of the input; of the output, one plane in the backward pass,
 * all images of a piece in the forward pass. */
typedef struct pool_scratch {
    float *x, *y, *dx;
} pool_scratch;

static pool_scratch carve_pool(const dn_visit *v, const dn_padded *window, size_t pixels,
                               dn_carver *c)
{
    pool_scratch s = {0};
    s.x = dn_carve_padded(c, 1, 0, dn_padded_floats(window) + 2 * DN_LANES);
    s.y = dn_carve_floats(c, pixels + (v->backward ? DN_LANES : DN_LANES - 1));
    if (!v->backward)
        return s;
    /* The float before dx is written, too. */
    s.dx = dn_carve_padded(c, 1, 0, dn_layout_pixels(&v->in->layout) + 2 * DN_LANES);
    return s;
}

static void max_pool_scratch(const dn_visit *v, dn_carver *c)
{
    const dn_layout *in = &v->in->layout, *out = &v->out->layout;
    const dn_piece piece = dn_layout_piece(out, 0);
    const int is_cut = piece.rows < out->height && !v->backward; /* pieces read a row above */
    size_t first;
    const dn_padded widest =
        pool_window(in, is_cut ? piece.rows : 0, v->backward ? out->height : piece.rows, &first);
    carve_pool(v, &widest, v->backward ? dn_layout_pixels(out) : piece.pixels, c);
}

/* x(window) = channel `c` of one image after batch norm and ReLU. */
static void load_window(const dn_visit *v, const dn_padded *window, size_t plane, int c, float *x)
{
    v->on_maps->norm_relu(1, window, dn_map_at(v->in, v->x, plane), 0, v->layer->scale + c,
                          v->layer->shift + c, x, 0);
}

static void pool_part(const dn_visit *v, const dn_pass *pass, const dn_piece *piece)
{
    (void)pass;
    const dn_padded compact = dn_padded_none(piece->pixels);
    const size_t pixels = piece->pixels / (size_t)piece->images;
    size_t first;
    const dn_padded window = pool_window(&v->in->layout, piece->row, piece->rows, &first);
    dn_carver carver = dn_thread_scratch(v);
    const pool_scratch s = carve_pool(v, &window, piece->pixels, &carver);
    for (int c = 0; c < v->layer->inputs; c++) {
        for (int i = 0; i < piece->images; i++) {
            load_window(v, &window, dn_map_plane_index(v->in, piece->image + i, c, first), c, s.x);
            v->net->kernels->stride.max_pool(&window, s.x, s.y + (size_t)i * pixels);
        }
        v->on_maps->store(1, &compact, s.y, 0,
                          dn_map_at(v->out, v->y, dn_map_index(v->out, piece, c, 0)), 0);
    }
}

static void unpool_plane(const dn_visit *v, int image, int c)
{
    const dn_layout *in = &v->in->layout, *out = &v->out->layout;
    const dn_padded compact = dn_padded_none(dn_layout_pixels(out));
    size_t first;
    const dn_padded window = pool_window(in, 0, out->height, &first);
    const size_t x = dn_map_plane_index(v->in, image, c, 0);
    const size_t y = dn_map_plane_index(v->out, image, c, 0);
    dn_carver carver = dn_thread_scratch(v);
    const pool_scratch s = carve_pool(v, &window, dn_layout_pixels(out), &carver);
    double *sums = dn_partial(v, image, c);
    load_window(v, &window, x, c, s.x);
    v->on_maps->affine(1, &compact, dn_map_at(v->out, v->dy, y), 0, dn_map_at(v->out, v->y, y), 0,
                       v->correction + 3 * c, s.y, 0);
    v->net->kernels->stride.max_pool_grad(&window, s.x, s.y, s.dx);
    sums[0] = sums[1] = 0;
    dn_norm_relu_grad(v, c, x, dn_layout_pixels(in), s.dx, sums);
}

static void max_pool_backward(const dn_visit *v, const dn_pass *pass)
{
    (void)pass;
#pragma omp parallel
    {
#pragma omp for schedule(dynamic, 8) collapse(2)
        for (int i = 0; i < v->net->batch; i++)
            for (int c = 0; c < v->layer->inputs; c++)
                unpool_plane(v, i, c);
        dn_norm_sums_merge(v);
    }
}

const dn_layer_kind dn_layer_max_pool = {
    .name = "max pool",
    .phase = "stem",
    .kernel = 3,
    .forward = dn_drive_pieces,
    .forward_part = pool_part,
    .backward = max_pool_backward,
    .scratch = max_pool_scratch,
    .sums_of_images = 1,
};
