/*
 * Batch norm, ReLU, 2x2 average pool, 1x1 convolution, as a gemm (gemm.h) over the pooled pixels.
 *
 * Average pooling and a 1x1 convolution commute, so the pool comes first and the convolution works
 * on a quarter of the pixels: the same function for a quarter of the work. A last odd row or column
 * of the input does not contribute, as in PyTorch.
 */
#include "layers/gemm.h"
#include "layers/norm.h"

/* The input rows of one image under an output piece: whole rows, contiguous. The last piece
 * includes an odd row that is in no output. */
typedef struct pooled_rows {
    size_t offset, pixels; /* from the image's first pixel */
    int rows, width;
} pooled_rows;

static pooled_rows rows_under(const dn_visit *v, const dn_piece *piece)
{
    const int last = piece->row + piece->rows == v->out->layout.height;
    const int height = v->in->layout.height;
    pooled_rows s = {.rows = last ? height - 2 * piece->row : 2 * piece->rows,
                     .width = v->in->layout.width};
    s.offset = (size_t)(2 * piece->row) * (size_t)s.width;
    s.pixels = (size_t)s.rows * (size_t)s.width;
    return s;
}

/* Rows of one image before pooling, and what the pooling kernels touch after them. */
static size_t plane_floats(const dn_visit *v, const dn_piece *piece)
{
    const int rows = 2 * piece->rows + v->in->layout.height % 2;
    return (size_t)(rows * v->in->layout.width) + 2 * DN_LANES;
}

/* The pooled activations of the block's channels. */
static void fill_pooled(const dn_visit *v, const dn_gemm_block *b)
{
    float *panel = b->panel;
    const dn_piece *piece = &b->view->piece;
    const pooled_rows from = rows_under(v, piece);
    const dn_padded padded = dn_padded_none(from.pixels);
    const size_t pixels = piece->pixels / (size_t)piece->images;
    for (int c = b->first; c < b->first + b->rows; c++, panel += b->view->ld)
        for (int i = 0; i < piece->images; i++) {
            const size_t at = dn_map_plane_index(v->in, piece->image + i, c, from.offset);
            v->on_maps->norm_relu(1, &padded, dn_map_at(v->in, v->x, at), 0, v->layer->scale + c,
                                  v->layer->shift + c, b->plane, 0);
            v->net->kernels->stride.average_pool(from.rows, from.width, b->plane,
                                                 panel + (size_t)i * pixels);
        }
    dn_gemm_round(v, b);
}

/* Propagates the pooled gradient through the ReLU into the input's. */
static void dgrad_unpooled(const dn_visit *v, const dn_gemm_block *b, const float *dy,
                           const float *packed)
{
    const dn_piece *piece = &b->view->piece;
    const pooled_rows from = rows_under(v, piece);
    const size_t pixels = piece->pixels / (size_t)piece->images;
    dn_gemm_dgrad(v, b, dy, packed, 0, piece->pixels);
    for (int r = 0; r < b->rows; r++)
        for (int i = 0; i < piece->images; i++) {
            const float *dx = b->dx + (size_t)r * b->dx_ld + (size_t)i * pixels;
            const int c = b->first + r;
            v->net->kernels->stride.average_pool_grad(from.rows, from.width, dx, b->plane);
            dn_norm_relu_grad(v, c, dn_map_plane_index(v->in, piece->image + i, c, from.offset),
                              from.pixels, b->plane, b->sums + 2 * r);
        }
}

const dn_layer_kind dn_layer_transition = {
    .name = "pool conv",
    .phase = "transition",
    .kernel = 1,
    DN_GEMM_KIND,
    .forward_block = 48,
    .backward_block = 24,
    .fill = fill_pooled,
    .dgrad = dgrad_unpooled,
    .plane = plane_floats,
};
