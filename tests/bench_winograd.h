/*
 * A chunk of a 3x3 convolution by way of Winograd's transforms, to be timed: the transforms alone,
 * over all channels that take them, and the whole from padded rows to rows of outputs and to the
 * gradients of the transformed weights. Not the padded layouts and stores around it.
 */
#ifndef DN_BENCH_WINOGRAD_H
#define DN_BENCH_WINOGRAD_H

#include "guarded.h"

typedef struct dn_winograd_bench {
    const dn_product_kernels *products;
    dn_padded padded; /* of the outputs */
    int outputs, inputs;
    size_t tiles, ld;                      /* ld: floats from channel to channel */
    dn_guarded x, u, m, y, packed, weight; /* padded rows; transformed; outputs; weights */
    dn_guarded packed_grad;
} dn_winograd_bench;

typedef enum dn_winograd_part {
    DN_WINOGRAD_INPUT,
    DN_WINOGRAD_OUTPUT,
    DN_WINOGRAD_OUTPUT_GRAD,
    DN_WINOGRAD_CONV,
    DN_WINOGRAD_WEIGHT_GRAD,
    DN_WINOGRAD_PARTS
} dn_winograd_part;

/* The first chunk, as large as those of winograd.c, of a piece whose outputs are so padded. */
dn_winograd_bench dn_winograd_bench_create(const dn_product_kernels *products,
                                           const dn_padded *piece, int outputs, int inputs);
void dn_winograd_bench_destroy(dn_winograd_bench *bench);

void dn_winograd_bench_run(const dn_winograd_bench *bench, dn_winograd_part part);

/* Operations and bytes of one run: of the whole those of the direct convolution. */
void dn_winograd_bench_work(const dn_winograd_bench *bench, dn_winograd_part part, double *flops,
                            double *bytes);

#endif
