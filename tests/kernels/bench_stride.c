/* Speeds of the kernels with a stride of 2, on planes of densenet121 at 224x224, and of optimizers
 * on a block of parameters. */
#include "bench_kernels.h"
#include "dn/optimizer.h"
#include "expect.h"

#include <stdlib.h>

typedef enum stride_kernel {
    IM2COL,
    MAX,
    MAX_GRAD,
    AVERAGE,
    AVERAGE_GRAD,
    SGD, /* and the next: rows of the table of optimizers, in their order */
    ADAM,
    STRIDE_KERNELS
} stride_kernel;

enum { PIECE_ROWS = 10 }; /* output rows of an im2col call */

/* Side of the larger map, and how many of its pixels a call goes over; operations on each, and
 * floats read and written. */
static const struct {
    const char *name;
    int side, taps;
    double pixels, flops, floats;
} cases[STRIDE_KERNELS] = {
    [IM2COL] = {"im2col", 224, 49, 2 * PIECE_ROWS * 224, 0, 1 + 49 / 4.0},
    [MAX] = {"max", 112, 9, 112 * 112, 9 / 4.0, 1.25},
    [MAX_GRAD] = {"max_grad", 112, 9, 112 * 112, 10 / 4.0, 2.25},
    [AVERAGE] = {"average", 56, 4, 56 * 56, 1, 1.25},
    [AVERAGE_GRAD] = {"average_grad", 56, 4, 56 * 56, 0.25, 1.25},
    [SGD] = {"sgd", 64, 1, 64 * 64, 8, 5},
    [ADAM] = {"adam", 64, 1, 64 * 64, 14, 7},
};

typedef struct work {
    const dn_kernels *k;
    stride_kernel kernel;
    dn_padded padded;
    dn_guarded x, y, z;
} work;

static void update(const work *w, size_t count)
{
    const dn_tensor tensor = {.kind = DN_CONV_WEIGHT, .count = count};
    dn_optimizer_update(
        dn_optimizer_get(w->k, w->kernel - SGD),
        &(dn_update){
            .settings = {.rate = 1e-3, .momentum = 0.9, .nesterov = 1, .beta1 = 0.9, .beta2 = 0.99},
            .step = 1000,
            .count = count,
            .parameters = w->x.data,
            .states = w->y.data,
            .gradients = w->z.data,
            .gradient_scale = 1,
            .tensors = &tensor,
            .tensor_count = 1});
}

static void call_stride(const void *of)
{
    const work *w = of;
    const int side = w->padded.width;
    const dn_stride_kernels *s = &w->k->stride;
    float *x = w->x.data, *y = w->y.data, *z = w->z.data;
    switch (w->kernel) {
    case IM2COL:
        s->im2col(side, side, x, PIECE_ROWS, PIECE_ROWS, y, w->y.ld);
        break;
    case MAX:
        s->max_pool(&w->padded, x, y);
        break;
    case MAX_GRAD:
        s->max_pool_grad(&w->padded, x, y, z);
        break;
    case AVERAGE:
        s->average_pool(side, side, x, y);
        break;
    case AVERAGE_GRAD:
        s->average_pool_grad(side, side, y, x);
        break;
    default:
        update(w, (size_t)(side * side));
    }
}

static void bench_one(const dn_kernels *k, stride_kernel kernel)
{
    const int side = cases[kernel].side;
    const size_t extent = (size_t)(side * side + 4 * side);
    const size_t states = kernel == ADAM ? 2 * extent : extent;
    work w = {.k = k, .kernel = kernel};
    w.padded = (dn_padded){.images = 1,
                           .rows = side,
                           .width = side,
                           .skip = 1,
                           .image_rows = side,
                           .pitch = (size_t)side + 1};
    w.x = dn_trial_filled(1, 1, extent, extent);
    w.y = dn_trial_filled(kernel == IM2COL ? 49 : 1, 1, states, states);
    w.z = dn_trial_filled(1, 1, extent, extent);
    for (ptrdiff_t p = -1; p < (ptrdiff_t)extent && kernel <= MAX_GRAD; p++)
        if (w.x.data[p] < 0)
            w.x.data[p] = 0; /* as a ReLU does */
    const double n = cases[kernel].pixels;
    dn_bench_line line = {.net = "densenet121",
                          .side = side,
                          .taps = cases[kernel].taps,
                          .inputs = 1,
                          .outputs = kernel == IM2COL ? 49 : 1,
                          .kernel = cases[kernel].name,
                          .dtype = DN_FP32,
                          .flops = cases[kernel].flops * n,
                          .bytes = 4 * cases[kernel].floats * n};
    dn_peaks peaks;
    dn_bench_peaks(&peaks, k, DN_FP32, (size_t)line.bytes);
    line.seconds = dn_bench_seconds(call_stride, &w);
    dn_bench_print(&line, k, &peaks);
    DN_GUARDED_DESTROY(&w.x, &w.y, &w.z);
}

void dn_bench_stride(void)
{
    const dn_kernels *k;
    for (int kernel = 0; kernel < STRIDE_KERNELS; kernel++)
        for (int i = 0; (k = dn_trial_table(i)) != NULL; i++)
            bench_one(k, (stride_kernel)kernel);
}
