/*
 * Norm, ReLU, convolution (1x1 or 3x3): the two halves of a dense layer, as gemms (gemm.h).
 *
 * The norm and the ReLU are applied while a panel is filled; the gradient of a panel goes through
 * both into the map's, of a 1x1 under the product itself where there is such a kernel (and no dx).
 */
#include "layers/gemm.h"
#include "layers/norm.h"

static void fill_normalised(const dn_visit *v, const dn_gemm_block *b, float *panel)
{
    const dn_gemm_view *view = b->view;
    const size_t at = dn_map_index(v->in, &view->piece, b->first, view->source);
    v->on_maps->norm_relu(b->rows, &view->padded, dn_map_at(v->in, v->x, at), v->in->layout.stride,
                          v->layer->scale + b->first, v->layer->shift + b->first, panel, view->ld);
}

/* The pixels of dx without their border. */
static void drop_border(const dn_visit *v, const dn_gemm_block *b)
{
    dn_padded padded = b->view->padded;
    padded.skip = 0;
    padded.rows = b->view->piece.rows;
    v->kernels->on_maps[DN_FP32].store(b->rows, &padded, b->dx, b->view->ld, b->pixels,
                                       b->view->ld);
}

static void dgrad_into_map(const dn_visit *v, const dn_gemm_block *b, const float *dy,
                           const float *packed)
{
    enum { MOST_ROWS = 24 };
    const dn_gemm_view *view = b->view;
    const size_t at = dn_map_index(v->in, &view->piece, b->first, 0);
    float sums[2 * MOST_ROWS];
    dn_norm_grad args = dn_norm_grad_args(v, b->first, b->rows, at, view->piece.pixels, sums);
    if (b->dx == NULL) {
        v->products->dgrad_norm_relu(packed, v->layer->outputs, dy, view->ld, &args);
    } else {
        dn_gemm_dgrad(v, b, dy, packed);
        if (view->taps.count > 1)
            drop_border(v, b);
        args.gradient = view->taps.count > 1 ? b->pixels : b->dx;
        args.gradient_ld = view->ld;
        v->on_maps->norm_relu_grad(&args);
    }
    for (int i = 0; i < 2 * b->rows; i++)
        b->sums[i] += sums[i];
}

const dn_layer_kind dn_layer_conv1x1 = {
    .name = "conv",
    .phase = "conv1x1",
    .kernel = 1,
    .forward_piece = dn_gemm_forward_piece,
    .backward_piece = dn_gemm_backward_piece,
    .scratch = dn_gemm_scratch,
    .forward_block = 96,
    .backward_block = 24,
    .part = dn_gemm_part,
    .fuses_dgrad = 1,
    .fill = fill_normalised,
    .dgrad = dgrad_into_map,
};

const dn_layer_kind dn_layer_conv3x3 = {
    .name = "conv",
    .phase = "conv3x3",
    .kernel = 3,
    .forward_piece = dn_gemm_forward_piece,
    .backward_piece = dn_gemm_backward_piece,
    .scratch = dn_gemm_scratch,
    .forward_block = 48,
    .backward_block = 24,
    .fill = fill_normalised,
    .dgrad = dgrad_into_map,
};
