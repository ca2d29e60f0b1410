/*
 * Arguments of the loops of matrix products, and gemm itself, which only fills them in. The
 * includer defines `factor`, the type that is multiplied, and PER_FACTOR: a float is 1, a pair of
 * bf16 is 2 inputs (in wgrad pixels). Strides are in factors.
 */
#include <stddef.h>

/* y(outputs, pixels) = or += the sums over taps and rows of x; a row is one input or a pair of
 * inputs. `pixels` is a multiple of DN_LANES. */
typedef struct gemm_args {
    int outputs, rows, taps;
    const factor *packed;
    const factor *x;        /* (rows, pixels), rows x_ld apart */
    const ptrdiff_t *shift; /* (taps) offset of pixel 0 from x */
    size_t x_ld, pixels;
    float *y;
    size_t y_ld;
    int accumulate;
} gemm_args;

static void ISA(gemm_loops)(const gemm_args *a);

/* See dn_product_kernels. */
static void ISA(gemm)(const float *packed, int outputs, int inputs, const dn_taps *taps, size_t n,
                      const float *x, size_t x_ld, float *y, size_t y_ld, int accumulate)
{
    const gemm_args args = {.outputs = outputs,
                            .rows = (inputs + PER_FACTOR - 1) / PER_FACTOR,
                            .taps = taps->count,
                            .packed = (const factor *)packed,
                            .x = (const factor *)x,
                            .shift = taps->shift,
                            .x_ld = x_ld,
                            .pixels = dn_round_lanes(n),
                            .y = y,
                            .y_ld = y_ld,
                            .accumulate = accumulate};
    ISA(gemm_loops)(&args);
}

/* dw(inputs, outputs and pad) of one tap += sum over pixels, or pairs of pixels, of dy(o, p) * x(c,
 * p). */
typedef struct wgrad_args {
    int inputs;
    const factor *dy; /* columns (pixels, one register of outputs), zeros after the last output */
    size_t column_stride, pixels;
    const factor *x; /* (inputs, pixels), rows x_ld apart */
    size_t x_ld;
    float *dw;
    size_t dw_ld;
} wgrad_args;
