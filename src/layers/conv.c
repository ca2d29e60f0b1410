/*
 * Batch norm, ReLU, convolution (1x1 or 3x3): the two halves of a dense layer, as gemms (gemm.h).
 *
 * Batch norm and ReLU are applied while a panel is filled. The gradient of a panel is propagated
 * through both into the map's: for a 1x1 in the same kernel as the product, if there is one (then
 * there is no dx).
 */
#include "layers/gemm.h"
#include "layers/norm.h"

#include <assert.h>

static void fill_normalised(const dn_visit *v, const dn_gemm_block *b)
{
    const dn_gemm_view *view = b->view;
    const size_t at = dn_map_index(v->in, &view->piece, b->first, view->source);
    const void *x = dn_map_at(v->in, v->x, at);
    const float *scale = v->layer->scale + b->first, *shift = v->layer->shift + b->first;
    if (v->products->operands == NULL)
        v->on_maps->norm_relu(b->rows, &view->padded, x, v->in->layout.stride, scale, shift,
                              b->operand, view->ld);
    else
        v->products->operands->norm_relu(dn_gemm_form(v), b->rows, &view->padded, x,
                                         v->in->layout.stride, scale, shift, b->operand,
                                         b->operand_ld);
}

/* ---- the input's gradient ---- */

enum { MOST_ROWS = 32 }; /* rows of a block */

/* Arguments for n of the piece's pixels, starting at pixel `at`; the sums that the kernel leaves in
 * `sums` go to add_sums. */
static dn_norm_grad grad_args(const dn_visit *v, const dn_gemm_block *b, size_t at, size_t n,
                              float sums[2 * MOST_ROWS])
{
    const size_t index = dn_map_index(v->in, &b->view->piece, b->first, (ptrdiff_t)at);
    assert(b->rows <= MOST_ROWS);
    dn_norm_grad args = dn_norm_grad_args(v, b->first, b->rows, index, n, sums);
    args.gradient = b->dx;
    args.gradient_ld = b->dx_ld;
    return args;
}

static void add_sums(const dn_gemm_block *b, const float sums[2 * MOST_ROWS])
{
    for (int i = 0; i < 2 * b->rows; i++)
        b->sums[i] += sums[i];
}

/* Prefetches the map's gradient; the products hide the latency. */
static void prefetch_map_gradient(const dn_visit *v, const dn_norm_grad *a)
{
    const size_t element = v->in->element, bytes = a->n * element;
    const size_t row = a->map_gradient_ld * element;
    for (int r = 0; r < a->rows; r++)
        for (size_t b = 0; b < bytes; b += DN_LINE_BYTES)
            __builtin_prefetch((const char *)a->map_gradient + (size_t)r * row + b, 1);
}

/* A 1x1: by the fused kernel, without dx (is_fused in gemm.c); otherwise so few pixels at a time
 * that dx stays in the L1 cache. */
static void dgrad_1x1(const dn_visit *v, const dn_gemm_block *b, const float *dy,
                      const float *packed)
{
    const size_t pixels = b->view->piece.pixels, most = b->dx == NULL ? pixels : DN_DX_PIXELS;
    float sums[2 * MOST_ROWS];
    for (size_t p = 0; p < pixels; p += most) {
        const size_t n = pixels - p < most ? pixels - p : most;
        const dn_norm_grad args = grad_args(v, b, p, n, sums);
        if (b->dx == NULL) {
            v->products->dgrad_norm_relu(packed, v->layer->outputs, dy, b->view->ld, &args);
        } else {
            prefetch_map_gradient(v, &args);
            dn_gemm_dgrad(v, b, dy, packed, p, n);
            v->on_maps->norm_relu_grad(&args);
        }
        add_sums(b, sums);
    }
}

/* A 3x3 over the padded layout, whose border is then removed. */
static void dgrad_3x3(const dn_visit *v, const dn_gemm_block *b, const float *dy,
                      const float *packed)
{
    const dn_padded padded = dn_gemm_output_padded(b->view);
    float sums[2 * MOST_ROWS];
    dn_norm_grad args = grad_args(v, b, 0, b->view->piece.pixels, sums);
    dn_gemm_dgrad(v, b, dy, packed, 0, b->view->positions);
    v->net->kernels->on_maps[DN_FP32].store(b->rows, &padded, b->dx, b->dx_ld, b->pixels, b->dx_ld);
    args.gradient = b->pixels;
    v->on_maps->norm_relu_grad(&args);
    add_sums(b, sums);
}

const dn_layer_kind dn_layer_conv1x1 = {
    .name = "conv",
    .phase = "conv1x1",
    .kernel = 1,
    DN_GEMM_KIND,
    .forward_block = 192,
    .backward_block = 24,
    .part = dn_gemm_part,
    .cuts_pixels = 1,
    .fills_forms = 1,
    .fill = fill_normalised,
    .dgrad = dgrad_1x1,
};

const dn_layer_kind dn_layer_conv3x3 = {
    .name = "conv",
    .phase = "conv3x3",
    .kernel = 3,
    DN_GEMM_KIND,
    .forward_block = 48,
    .backward_block = 24,
    .fills_forms = 1,
    .fill = fill_normalised,
    .dgrad = dgrad_3x3,
};
