/*
 * A tile block of a 3x3 convolution by Winograd's transforms, to be timed: the transforms alone,
 * over all channels that take them, and the whole from padded rows to rows of outputs and to the
 * gradients of the transformed weights; without filling the padded rows and storing the outputs.
 */
#ifndef DN_BENCH_WINOGRAD_H
#define DN_BENCH_WINOGRAD_H

#include "guarded.h"

typedef struct dn_winograd_bench {
    const dn_product_kernels *products;
    const dn_winograd_kernels *winograd;
    dn_padded padded; /* of the outputs */
    int outputs, inputs;
    size_t tiles, ld;                      /* ld: floats from channel to channel */
    dn_guarded x, u, m, y, packed, weight; /* padded rows; transformed; outputs; weights */
    dn_guarded packed_dy;
} dn_winograd_bench;

typedef enum dn_winograd_part {
    DN_WINOGRAD_INPUT,
    DN_WINOGRAD_OUTPUT,
    DN_WINOGRAD_OUTPUT_GRAD,
    DN_WINOGRAD_GEMM,
    DN_WINOGRAD_WGRAD,
    DN_WINOGRAD_PARTS
} dn_winograd_part;

/* The first tile block, as large as those of winograd.c, of a piece with that layout of outputs. */
dn_winograd_bench dn_winograd_bench_create(const dn_kernels *kernels, const dn_padded *piece,
                                           int outputs, int inputs);
void dn_winograd_bench_destroy(dn_winograd_bench *bench);

void dn_winograd_bench_call(const dn_winograd_bench *bench, dn_winograd_part part);

/* Operations and bytes of one call; those of the whole are the direct convolution's. */
void dn_winograd_bench_work(const dn_winograd_bench *bench, dn_winograd_part part, double *flops,
                            double *bytes);

#endif
