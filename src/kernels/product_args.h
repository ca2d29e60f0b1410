/*
 * What the loops of matrix products work on. Includers define `factor` before: what is multiplied,
 * a float or a pair of bf16. Strides are counted in factors.
 */
#ifndef DN_KERNELS_PRODUCT_ARGS_H
#define DN_KERNELS_PRODUCT_ARGS_H

#include <stddef.h>

/* y(outputs, pixels) of a convolution, a multiple of DN_LANES of them: = or += the sums over taps
 * and rows of x, which hold an input or a pair of inputs each. */
typedef struct conv_args {
    int outputs, rows, taps;
    const factor *packed;
    size_t tile;            /* from a full tile of packed outputs to the next */
    const factor *x;        /* (rows, pixels), rows x_ld apart */
    const ptrdiff_t *shift; /* (taps) where pixel 0 is, from x on */
    size_t x_ld, pixels;
    float *y;
    size_t y_ld;
    int accumulate;
} conv_args;

/* dw(inputs, outputs and pad) += sum over pixels, or pairs of them, of dy(o, p) * x(c, p), of one
 * tap. */
typedef struct grad_args {
    int inputs;
    const factor *dy; /* panels of registers of outputs: (pixels, outputs), zeros past the last */
    size_t panel, pixels; /* panel: from one to the next */
    const factor *x;      /* (inputs, pixels), rows x_ld apart */
    size_t x_ld;
    float *dw;
    size_t dw_ld;
} grad_args;

#endif
