/*
 * Arguments of the loops of matrix products. The includer has defined `factor`, what is multiplied:
 * a float or a pair of bf16. Strides are counted in factors.
 */
#include <stddef.h>

/* y(outputs, pixels) = or += the sums over taps and rows of x, each of which holds an input or a
 * pair of inputs; `pixels` is a multiple of DN_LANES. */
typedef struct gemm_args {
    int outputs, rows, taps;
    const factor *packed;
    const factor *x;        /* (rows, pixels), rows x_ld apart */
    const ptrdiff_t *shift; /* (taps) where pixel 0 is, relative to x */
    size_t x_ld, pixels;
    float *y;
    size_t y_ld;
    int accumulate;
} gemm_args;

/* dw(inputs, outputs and pad) of a tap += sum over pixels, or pairs of them, of
 * dy(o, p) * x(c, p). */
typedef struct wgrad_args {
    int inputs;
    const factor *dy; /* panels (pixels, a register of outputs), zeros past the last output */
    size_t panel_stride, pixels;
    const factor *x; /* (inputs, pixels), rows x_ld apart */
    size_t x_ld;
    float *dw;
    size_t dw_ld;
} wgrad_args;
