/*
 * 2x2 average pool of a map that nothing else reads: the second half of a transition with dropout
 * between convolution and pool. Works on planes: one channel of one image. A last odd row or column
 * does not contribute, as in PyTorch.
 */
#include "layers/norm.h"

typedef struct plane_scratch {
    float *x, *y; /* rows of an input plane, and the output rows over them */
} plane_scratch;

/* For the plane's first `rows` input rows, and what kernels touch after them. */
static plane_scratch carve_planes(const dn_visit *v, int rows, dn_carver *c)
{
    plane_scratch s;
    s.x = dn_carve_floats(c, (size_t)(rows * v->in->layout.width) + 2 * DN_LANES);
    s.y = dn_carve_floats(c, (size_t)(rows / 2 * v->out->layout.width) + DN_LANES - 1);
    return s;
}

static void plane_scratch_carve(const dn_visit *v, dn_carver *c)
{
    const dn_piece piece = dn_layout_piece(&v->out->layout, 0); /* none is larger */
    carve_planes(v, v->backward ? v->in->layout.height : 2 * piece.rows, c);
}

/* A part of the output, and the input rows under it. */
static void pool_part(const dn_visit *v, const dn_pass *pass, const dn_piece *piece)
{
    const dn_layout *in = &v->in->layout, *out = &v->out->layout;
    const size_t pixels = (size_t)piece->rows * (size_t)out->width;
    const dn_padded compact = dn_padded_none(pixels);
    const size_t above = (size_t)(2 * piece->row) * (size_t)in->width;
    dn_carver carver = dn_thread_scratch(v);
    const plane_scratch s = carve_planes(v, 2 * piece->rows, &carver);
    (void)pass;
    for (int c = 0; c < v->layer->inputs; c++)
        for (int i = piece->image; i < piece->image + piece->images; i++) {
            const size_t to =
                dn_map_plane_index(v->out, i, c, (size_t)piece->row * (size_t)out->width);
            dn_map_load(v->in, v->x, dn_map_plane_index(v->in, i, c, above),
                        (size_t)(2 * piece->rows) * (size_t)in->width, s.x);
            v->net->kernels->stride.average_pool(2 * piece->rows, in->width, s.x, s.y);
            v->on_maps->store(1, &compact, s.y, 0, dn_map_at(v->out, v->y, to), 0);
        }
}

static void spread_plane(const dn_visit *v, int image, int c)
{
    const dn_layout *in = &v->in->layout, *out = &v->out->layout;
    const dn_padded compact = dn_padded_none(dn_layout_pixels(out));
    const size_t y = dn_map_plane_index(v->out, image, c, 0);
    dn_carver carver = dn_thread_scratch(v);
    const plane_scratch s = carve_planes(v, in->height, &carver);
    v->on_maps->affine(1, &compact, dn_map_at(v->out, v->dy, y), 0, dn_map_at(v->out, v->y, y), 0,
                       v->correction + 3 * c, s.y, 0);
    v->net->kernels->stride.average_pool_grad(in->height, in->width, s.y, s.x);
    dn_plain_grad(v, c, dn_map_plane_index(v->in, image, c, 0), dn_layout_pixels(in), s.x);
}

static void pool_backward(const dn_visit *v, const dn_pass *pass)
{
    (void)pass;
#pragma omp parallel
    {
#pragma omp for schedule(static) collapse(2)
        for (int i = 0; i < v->net->batch; i++)
            for (int c = 0; c < v->layer->inputs; c++)
                spread_plane(v, i, c);
        dn_plain_sums(v);
    }
}

const dn_layer_kind dn_layer_pool = {
    .name = "pool",
    .phase = "transition",
    .kernel = 2,
    .forward = dn_drive_pieces,
    .forward_part = pool_part,
    .backward = pool_backward,
    .scratch = plane_scratch_carve,
};
