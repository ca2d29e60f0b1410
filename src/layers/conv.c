/*
 * Norm, ReLU, convolution (1x1 or 3x3): the two halves of a dense layer, as gemms (gemm.h).
 *
 * The norm and the ReLU are applied while a panel is filled; the gradient of a panel goes through
 * both into the map's, of a 1x1 under the product itself where there is such a kernel (and no dx).
 */
#include "layers/gemm.h"
#include "layers/norm.h"

#include <assert.h>

static void fill_normalised(const dn_visit *v, const dn_gemm_block *b, dn_form form, float *operand)
{
    const dn_gemm_view *view = b->view;
    const size_t at = dn_map_index(v->in, &view->piece, b->first, view->source);
    const void *x = dn_map_at(v->in, v->x, at);
    const float *scale = v->layer->scale + b->first, *shift = v->layer->shift + b->first;
    if (v->products->operands == NULL)
        v->on_maps->norm_relu(b->rows, &view->padded, x, v->in->layout.stride, scale, shift,
                              operand, view->ld);
    else
        v->products->operands->norm_relu(form, b->rows, &view->padded, x, v->in->layout.stride,
                                         scale, shift, operand, b->operand_ld);
}

/* The pixels of dx without their border. */
static void drop_border(const dn_visit *v, const dn_gemm_block *b)
{
    dn_padded padded = b->view->padded;
    padded.skip = 0;
    padded.rows = b->view->piece.rows;
    v->kernels->on_maps[DN_FP32].store(b->rows, &padded, b->dx, b->dx_ld, b->pixels, b->dx_ld);
}

/* Asks for the map's gradient, which the products' time covers. */
static void prefetch_sums(const dn_visit *v, const dn_norm_grad *a)
{
    const size_t element = v->in->element, row = a->sum_ld * element, bytes = a->n * element;
    for (int r = 0; r < a->rows; r++)
        for (size_t b = 0; b < bytes; b += DN_LINE_BYTES)
            __builtin_prefetch((const char *)a->sum + (size_t)r * row + b, 1);
}

/* The gradient of n of the piece's pixels from pixel `at` on. */
static void dgrad_pixels(const dn_visit *v, const dn_gemm_block *b, const float *dy,
                         const float *packed, size_t at, size_t n)
{
    enum { MOST_ROWS = 32 };
    const dn_gemm_view *view = b->view;
    const size_t index = dn_map_index(v->in, &view->piece, b->first, (ptrdiff_t)at);
    float sums[2 * MOST_ROWS];
    assert(b->rows <= MOST_ROWS);
    dn_norm_grad args = dn_norm_grad_args(v, b->first, b->rows, index, n, sums);
    if (b->dx == NULL) {
        v->products->dgrad_norm_relu(packed, v->layer->outputs, dy, view->ld, &args);
    } else {
        if (view->taps.count == 1)
            prefetch_sums(v, &args);
        dn_gemm_dgrad(v, b, dy, packed, at, view->taps.count > 1 ? view->positions : n);
        if (view->taps.count > 1)
            drop_border(v, b);
        args.gradient = view->taps.count > 1 ? b->pixels : b->dx;
        args.gradient_ld = b->dx_ld;
        v->on_maps->norm_relu_grad(&args);
    }
    for (int i = 0; i < 2 * b->rows; i++)
        b->sums[i] += sums[i];
}

static void dgrad_into_map(const dn_visit *v, const dn_gemm_block *b, const float *dy,
                           const float *packed)
{
    const size_t pixels = b->view->piece.pixels;
    const size_t most = b->view->taps.count == 1 && b->dx != NULL ? DN_DX_PIXELS : pixels;
    for (size_t p = 0; p < pixels; p += most)
        dgrad_pixels(v, b, dy, packed, p, pixels - p < most ? pixels - p : most);
}

const dn_layer_kind dn_layer_conv1x1 = {
    .name = "conv",
    .phase = "conv1x1",
    .kernel = 1,
    .forward_piece = dn_gemm_forward_piece,
    .backward_piece = dn_gemm_backward_piece,
    .carve_dy = dn_gemm_carve_dy,
    .prepare_dy = dn_gemm_prepare_dy,
    .scratch = dn_gemm_scratch,
    .forward_block = 192,
    .backward_block = 24,
    .part = dn_gemm_part,
    .cuts_pixels = 1,
    .fuses_dgrad = 1,
    .fills_forms = 1,
    .fill = fill_normalised,
    .dgrad = dgrad_into_map,
};

const dn_layer_kind dn_layer_conv3x3 = {
    .name = "conv",
    .phase = "conv3x3",
    .kernel = 3,
    .forward_piece = dn_gemm_forward_piece,
    .backward_piece = dn_gemm_backward_piece,
    .carve_dy = dn_gemm_carve_dy,
    .prepare_dy = dn_gemm_prepare_dy,
    .scratch = dn_gemm_scratch,
    .forward_block = 48,
    .backward_block = 24,
    .fills_forms = 1,
    .fill = fill_normalised,
    .dgrad = dgrad_into_map,
};
