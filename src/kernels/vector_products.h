/*
 * The matrix products of fp32 operands, included by vector.c. Their loops over tiles are in
 * vector_tile.h, which bf16_dot.h shares: its ISA(gemm_loops) calls gemm_tap here for each tile.
 */

typedef float factor;
typedef vec factors;

enum { PER_FACTOR = 1 };

INLINE vec load_factors(const float *p)
{
    return load(p);
}

INLINE vec multiply_add(vec sums, float a, vec b)
{
    return sums + a * b;
}

#include "product_args.h"
#include "vector_tile.h"

/* ---- gemm ---- */

static size_t ISA(packed_floats)(int outputs, int inputs, int taps)
{
    int rows = 0;
    while (rows < outputs)
        rows += tile_rows(outputs, rows);
    return (size_t)rows * (size_t)inputs * (size_t)taps;
}

/* MR outputs of all inputs, for one tap. If the outputs are contiguous, as in the backward pass,
 * a row of them is short and the next one far away: prefetches the weights one DN_PACK_OUTPUTS
 * ahead. */
INLINE float *pack_tile(float *to, const float *w, int inputs, const ptrdiff_t out_step,
                        const ptrdiff_t in_step)
{
    for (int c = 0; c < inputs; c++, w += in_step) {
        if (out_step == 1)
            __builtin_prefetch(w + DN_PACK_OUTPUTS);
        UNROLL
        for (int o = 0; o < MR; o++)
            *to++ = w[o * out_step];
    }
    return to;
}

INLINE float *pack_some(float *to, int rows, const float *w, int outputs,
                        const dn_weight_view *weights)
{
    for (int c = 0; c < weights->inputs; c++)
        for (int o = 0; o < rows; o++)
            *to++ = o < outputs ? w[o * weights->out_step + c * weights->in_step] : 0;
    return to;
}

/* Packed format: (taps, inputs, tile rows) for each tile of outputs; rows after the last output are
 * 0. */
static void ISA(pack)(float *packed, const dn_weight_view *weights)
{
    const ptrdiff_t out_step = weights->out_step, in_step = weights->in_step;
    for (int first = 0, mr; first < weights->outputs; first += mr) {
        mr = tile_rows(weights->outputs, first);
        const int left = weights->outputs - first, inputs = weights->inputs;
        for (int t = 0; t < weights->taps; t++) {
            const float *w = weights->w + first * out_step + t;
            if (mr < MR || left < mr)
                packed = pack_some(packed, mr, w, left, weights);
            else if (out_step == 1)
                packed = pack_tile(packed, w, inputs, 1, in_step);
            else
                packed = pack_tile(packed, w, inputs, out_step, in_step);
        }
    }
}

/* The products of one tile for one tap of x(inputs, pixels). */
INLINE void gemm_products(tile sums, const int mr, const int nv, const float *w, int inputs,
                          const float *x, size_t x_ld)
{
    const float *a[TILE_ROWS];
    UNROLL
    for (int i = 0; i < mr; i++)
        a[i] = w + i;
    add_products(sums, mr, nv, (size_t)inputs, a, (size_t)mr, x, DN_VL, x_ld);
}

INLINE const float *gemm_tap(tile sums, const int mr, const int nv, const gemm_args *a,
                             const float *w, const float *x)
{
    gemm_products(sums, mr, nv, w, a->rows, x, a->x_ld);
    return w + a->rows * mr;
}

/* ---- wgrad ---- */

enum { WGRAD_PIXELS = 128 }; /* whose operands fit in the L1 cache */

static size_t ISA(packed_dy_floats)(int outputs, size_t n)
{
    return dn_round_lanes((size_t)outputs) * dn_round_lanes(n);
}

/* Packed format: columns (pixels and pad, DN_VL outputs), zeros after the last output. */
static void ISA(pack_dy)(float *packed, int outputs, size_t n, const float *dy, size_t dy_ld)
{
    const size_t pixels = dn_round_lanes(n), columns = dn_round_lanes((size_t)outputs);
    for (size_t o = 0; o < columns; o += DN_VL) {
        for (size_t p = 0; p < pixels; p += DN_VL, packed += DN_VL * DN_VL) {
            vec m[DN_VL];
            UNROLL
            for (int i = 0; i < DN_VL; i++) {
                const size_t row = o + (size_t)i;
                m[i] = row < (size_t)outputs ? load(dy + row * dy_ld + p) : (vec){0};
            }
            transpose_words(m);
            UNROLL
            for (int i = 0; i < DN_VL; i++)
                store(packed + i * DN_VL, m[i]);
        }
    }
}

static void ISA(wgrad)(int outputs, int inputs, const dn_taps *taps, size_t n, const float *packed,
                       const float *x, size_t x_ld, float *dw)
{
    const size_t dw_ld = dn_round_lanes((size_t)outputs);
    for (int t = 0; t < taps->count; t++, dw += (size_t)inputs * dw_ld)
        for (size_t p = 0; p < n; p += WGRAD_PIXELS) {
            const wgrad_args args = {.inputs = inputs,
                                     .dy = packed + p * DN_VL,
                                     .column_stride = dn_round_lanes(n) * DN_VL,
                                     .pixels = n - p < WGRAD_PIXELS ? n - p : WGRAD_PIXELS,
                                     .x = x + taps->shift[t] + p,
                                     .x_ld = x_ld,
                                     .dw = dw,
                                     .dw_ld = dw_ld};
            ISA(wgrad_loops)(args);
        }
}
