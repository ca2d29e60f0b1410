/*
 * Arguments of the loops of matrix products. The includer defines `factor`, the type that is
 * multiplied: a float or a pair of bf16. Strides are in factors.
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
