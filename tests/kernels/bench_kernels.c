/*
 * Speeds of the kernels on one thread, for the pieces and channel blocks in the layers of two real
 * nets; the best of several trials. Bytes are those of the operands, each counted once. At these
 * sizes they come from the caches, so they are compared with the bandwidth of passes over an array
 * of the same size.
 */
#include "bench_kernels.h"
#include "bench_winograd.h"
#include "dn/peaks.h"
#include "expect.h"
#include "layers/layout.h"
#include "kernel_tables.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum { TRIALS = 5 };
#define TRIAL_SECONDS 0.01 /* a trial repeats its kernel for at least this time */

typedef struct bench_shape {
    const char *net;
    int batch, side, outputs, inputs, taps;
} bench_shape;

static const bench_shape shapes[] = {
    {"densenet-bc-100-12", 64, 32, 48, 96, 1}, {"densenet-bc-100-12", 64, 32, 12, 48, 9},
    {"densenet-bc-100-12", 64, 16, 12, 48, 9}, {"densenet-bc-100-12", 64, 8, 12, 48, 9},
    {"densenet121", 16, 56, 128, 96, 1},       {"densenet121", 16, 56, 32, 48, 9},
    {"densenet121", 16, 28, 32, 48, 9},        {"densenet121", 16, 14, 32, 48, 9},
    {"densenet121", 16, 7, 128, 96, 1},        {"densenet121", 16, 7, 32, 48, 9},
    {"densenet-bc-100-12", 64, 32, 24, 48, 1}, {"densenet-bc-100-12", 64, 32, 24, 12, 9},
    {"densenet-bc-100-12", 64, 32, 48, 24, 1}, {"densenet-bc-100-12", 64, 32, 12, 24, 9},
    {"densenet121", 16, 14, 24, 128, 1},       {"densenet121", 16, 14, 24, 32, 9},
    {"densenet121", 16, 14, 128, 24, 1},       {"densenet121", 16, 14, 32, 24, 9},
};

/* The operands of one piece of a layer. */
typedef struct bench {
    const bench_shape *shape;
    dn_piece piece;
    dn_padded padded, out;
    dn_taps taps;
    size_t first, n; /* the pixels of products: n from `first` on */
    dn_guarded x[DN_DTYPES], gradient[DN_DTYPES], padded_x, y, packed, packed_dy, weights, dw, rows;
    dn_trial_operand operand[DN_FORMS];
    dn_winograd_bench winograd;
} bench;

typedef enum bench_kernel {
    GEMM,
    DGRAD_NORM_RELU,
    PACK_DY,
    WGRAD,
    PAIRED, /* operands, in each form */
    PLANAR,
    NORM_RELU,
    AFFINE,
    STORE,
    MOMENTS,
    NORM_RELU_GRAD,
    WINOGRAD, /* the first of its parts */
    KERNELS = WINOGRAD + DN_WINOGRAD_PARTS
} bench_kernel;

static const char *const kernel_names[KERNELS] = {
    "gemm",           "dgrad_norm_relu", "pack_dy",        "wgrad",
    "paired operand", "planar operand",  "norm_relu",      "affine",
    "store",          "moments",         "norm_relu_grad", "B' x B",
    "A' m A",         "A dy A'",         "Winograd gemm",  "Winograd wgrad"};

/* A kernel and its operands. */
typedef struct work {
    const dn_kernels *k;
    bench_kernel kernel;
    dn_dtype dtype;
    const bench *b;
} work;

static void call_kernel(const void *of)
{
    const work *w = of;
    const dn_kernels *k = w->k;
    const bench *b = w->b;
    const dn_dtype dtype = w->dtype;
    const dn_map_kernels *on_maps = &k->on_maps[dtype];
    const dn_guarded *gradient = &b->gradient[dtype], *map = &b->x[dtype];
    const int outputs = b->shape->outputs, inputs = b->shape->inputs;
    const float *row[4];
    for (int i = 0; i < 4; i++)
        row[i] = dn_guarded_row(&b->rows, i);
    float *x = b->padded_x.data + b->first;
    switch (w->kernel) {
    case GEMM:
        k->products[dtype].gemm(b->packed.data, outputs, inputs, &b->operand[DN_PAIRED].taps, b->n,
                                b->operand[DN_PAIRED].x, b->operand[DN_PAIRED].ld, b->y.data,
                                b->y.ld, 0);
        break;
    case DGRAD_NORM_RELU:
        k->products[dtype].dgrad_norm_relu(
            b->packed.data, inputs, x, b->padded_x.ld,
            &(dn_norm_grad){outputs, b->n, NULL, map->data, gradient->data, 0, map->ld,
                            gradient->ld, row[0], row[1], row[2], row[3], 1, b->dw.data});
        break;
    case PACK_DY:
        k->products[dtype].pack_dy(b->packed_dy.data, outputs, b->n, b->y.data, b->y.ld);
        break;
    case WGRAD:
        k->products[dtype].wgrad(outputs, inputs, &b->operand[DN_PLANAR].taps, b->n,
                                 b->packed_dy.data, b->operand[DN_PLANAR].x,
                                 b->operand[DN_PLANAR].ld, b->dw.data);
        break;
    case PAIRED:
    case PLANAR:
        k->products[dtype].operands->norm_relu(
            (dn_form)(w->kernel - PAIRED), inputs, &b->padded, map->data, map->ld, row[0], row[1],
            b->operand[w->kernel - PAIRED].made.data, b->operand[w->kernel - PAIRED].ld);
        break;
    case NORM_RELU:
        on_maps->norm_relu(inputs, &b->padded, map->data, map->ld, row[0], row[1], b->padded_x.data,
                           b->padded_x.ld);
        break;
    case AFFINE:
        on_maps->affine(inputs, &b->padded, gradient->data, gradient->ld, map->data, map->ld,
                        row[0], b->padded_x.data, b->padded_x.ld);
        break;
    case STORE:
        on_maps->store(outputs, &b->out, b->y.data, b->y.ld, map->data, map->ld);
        break;
    case MOMENTS:
        on_maps->moments(inputs, b->piece.pixels, map->data, map->ld, b->dw.data);
        break;
    case NORM_RELU_GRAD:
        on_maps->norm_relu_grad(&(dn_norm_grad){
            inputs, b->piece.pixels, b->padded_x.data, map->data, gradient->data, b->padded_x.ld,
            map->ld, gradient->ld, row[0], row[1], row[2], row[3], 1, b->dw.data});
        break;
    default:
        dn_winograd_bench_call(&b->winograd, (dn_winograd_part)(w->kernel - WINOGRAD));
    }
}

/* Floating-point operations and bytes of one call. */
static void work_of(bench_kernel kernel, dn_dtype dtype, const bench *b, double *flops,
                    double *bytes)
{
    if (kernel >= WINOGRAD) {
        dn_winograd_bench_work(&b->winograd, (dn_winograd_part)(kernel - WINOGRAD), flops, bytes);
        return;
    }
    const double element = (double)dn_dtype_size(dtype);
    const double outputs = b->shape->outputs, inputs = b->shape->inputs;
    const double n = (double)b->piece.pixels, weights = outputs * inputs * b->shape->taps;
    const double products[] = {2 * weights * n, 4 * ((inputs + outputs) * n + weights)};
    const double flops_of[WINOGRAD] = {
        products[0],    products[0],    0, products[0],    2 * inputs * n, 2 * inputs * n,
        2 * inputs * n, 4 * inputs * n, 0, 4 * inputs * n, 7 * inputs * n};
    const double bytes_of[WINOGRAD] = {products[1],
                                       products[1] + (3 * element - 4) * outputs * n,
                                       8 * outputs * n,
                                       products[1],
                                       (2 + element) * inputs * n,
                                       (2 + element) * inputs * n,
                                       (4 + element) * inputs * n,
                                       (4 + 2 * element) * inputs * n,
                                       (4 + element) * outputs * n,
                                       element * inputs * n,
                                       (4 + 3 * element) * inputs * n};
    *flops = flops_of[kernel];
    *bytes = bytes_of[kernel];
}

double dn_bench_seconds(void (*call)(const void *work), const void *of)
{
    double best = 1e9;
    for (int i = 0; i < TRIALS; i++) {
        int calls = 0;
        const double start = omp_get_wtime();
        double elapsed;
        do {
            call(of);
            calls++;
            elapsed = omp_get_wtime() - start;
        } while (elapsed < TRIAL_SECONDS);
        if (elapsed / calls < best)
            best = elapsed / calls;
    }
    return best;
}

void dn_bench_peaks(dn_peaks *peaks, const dn_kernels *k, dn_dtype dtype, size_t bytes)
{
    if (dn_peaks_measure(peaks, k, dtype, bytes) == DN_OK)
        return;
    fprintf(stderr, "%s\n", dn_message());
    exit(EXIT_FAILURE);
}

void dn_bench_print(const dn_bench_line *l, const dn_kernels *k, const dn_peaks *peaks)
{
    printf("%-19s %3d %5d %4d %4d  %-17s %-5s %-11s %8.1f %7.1f %8.2f\n", l->net, l->side, l->taps,
           l->inputs, l->outputs, l->kernel, dn_dtype_name(l->dtype), k->name,
           l->flops / l->seconds * 1e-9, l->bytes / l->seconds * 1e-9,
           dn_peaks_bound(peaks, l->flops, l->bytes) / l->seconds);
}

static bench bench_create(const bench_shape *s)
{
    const dn_layout layout = dn_layout_create(s->batch, s->side, s->side);
    bench b = {.shape = s, .piece = dn_layout_piece(&layout, 0), .taps = {.count = 1}};
    b.padded = dn_padded_none(b.piece.pixels);
    b.n = b.piece.pixels;
    if (s->taps == 9) {
        ptrdiff_t source;
        b.padded = dn_piece_padded(&layout, &b.piece, &source);
        b.taps = dn_taps_3x3(s->side);
        b.first = dn_padded_first(&b.padded);
        b.n = dn_padded_positions(&b.padded);
    }
    b.out = b.padded;
    if (s->taps == 9)
        b.out.rows = b.piece.rows;
    const size_t extent = dn_padded_floats(&b.padded) + 2 * DN_LANES;
    const size_t cells = (size_t)(s->outputs * s->inputs * s->taps);
    const int most = s->outputs > s->inputs ? s->outputs : s->inputs;
    for (int dtype = DN_FP32; dtype < DN_DTYPES; dtype++) {
        b.x[dtype] = dn_trial_filled_map((dn_dtype)dtype, most, extent, extent);
        b.gradient[dtype] = dn_trial_filled_map((dn_dtype)dtype, most, extent, extent);
    }
    b.padded_x = dn_trial_filled(s->inputs, 1, extent, extent);
    b.y = dn_trial_filled(s->outputs, 0, extent, extent);
    b.weights = dn_trial_filled(1, 0, cells, cells);
    const size_t padded = (size_t)(s->inputs * s->taps) * dn_round_lanes((size_t)s->outputs);
    b.dw = dn_trial_filled(1, 0, padded, padded);
    b.rows = dn_trial_filled(4, 0, 3 * (size_t)most, 3 * (size_t)most);
    return b;
}

static void bench_destroy(bench *b)
{
    DN_GUARDED_DESTROY(&b->x[DN_FP32], &b->x[DN_BF16], &b->gradient[DN_FP32], &b->gradient[DN_BF16],
                       &b->padded_x, &b->y, &b->weights, &b->dw, &b->rows);
}

static void bench_one(const dn_kernels *k, bench_kernel kernel, dn_dtype dtype, bench *b,
                      const dn_peaks *peaks)
{
    const bench_shape *s = b->shape;
    const work w = {k, kernel, dtype, b};
    dn_bench_line line = {.net = s->net,
                          .side = s->side,
                          .taps = s->taps,
                          .inputs = s->inputs,
                          .outputs = s->outputs,
                          .kernel = kernel_names[kernel],
                          .dtype = dtype};
    work_of(kernel, dtype, b, &line.flops, &line.bytes);
    line.seconds = dn_bench_seconds(call_kernel, &w);
    dn_bench_print(&line, k, peaks);
}

/* 1 if the table has the kernel; products for DN_BF16 only if they differ from those for DN_FP32.
 */
static int has_kernel(const dn_kernels *k, int kernel, int dtype, const bench *b)
{
    if (kernel == DGRAD_NORM_RELU)
        return b->shape->taps == 1 && b->shape->outputs <= DN_PACK_OUTPUTS &&
               k->products[dtype].dgrad_norm_relu != NULL;
    if (kernel >= WINOGRAD)
        return dtype == DN_FP32 && b->shape->taps == 9 && k->winograd != NULL;
    if (kernel == PAIRED || kernel == PLANAR)
        return k->products[dtype].operands != NULL;
    return dtype == DN_FP32 || kernel >= NORM_RELU || dn_test_rounds(k);
}

static dn_trial_operand operand_of(const dn_product_kernels *products, dn_form form, const bench *b)
{
    dn_taps taps = b->taps;
    for (int t = 0; t < taps.count; t++)
        taps.shift[t] += (ptrdiff_t)b->first;
    return dn_trial_operand_of(products, form, &b->padded_x, 1, dn_padded_floats(&b->padded),
                               &taps);
}

static void bench_table(const dn_kernels *k, bench *b)
{
    const bench_shape *s = b->shape;
    const dn_weight_view weights = {
        b->weights.data, s->outputs, s->inputs, s->taps, (ptrdiff_t)s->inputs * s->taps, s->taps};
    for (int dtype = DN_FP32; dtype < DN_DTYPES; dtype++) {
        dn_peaks peaks;
        dn_bench_peaks(&peaks, k, (dn_dtype)dtype, 8 * (size_t)s->inputs * b->piece.pixels);
        const dn_product_kernels *products = &k->products[dtype];
        b->packed = dn_trial_matrix(1, 0, products->packed_floats(s->outputs, s->inputs, s->taps));
        products->pack(b->packed.data, &weights);
        b->packed_dy = dn_trial_pack_dy(products, s->outputs, b->n, b->y.data, b->y.ld);
        for (int form = 0; form < DN_FORMS; form++)
            b->operand[form] = operand_of(products, (dn_form)form, b);
        if (has_kernel(k, WINOGRAD, dtype, b))
            b->winograd = dn_winograd_bench_create(k, &b->out, s->outputs, s->inputs);
        for (int kernel = 0; kernel < KERNELS; kernel++)
            if (has_kernel(k, kernel, dtype, b))
                bench_one(k, (bench_kernel)kernel, (dn_dtype)dtype, b, &peaks);
        DN_GUARDED_DESTROY(&b->packed, &b->packed_dy, &b->operand[DN_PAIRED].made,
                           &b->operand[DN_PLANAR].made);
        dn_winograd_bench_destroy(&b->winograd);
    }
}

void dn_bench_kernels(void)
{
    omp_set_num_threads(1);
    printf("%-19s %3s %5s %4s %4s  %-17s %-5s %-11s %8s %7s %8s\n", "net", "map", "taps", "from",
           "to", "kernel", "type", "table", "GFLOP/s", "GB/s", "of bound");
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        bench b = bench_create(&shapes[s]);
        const dn_kernels *k;
        for (int i = 0; (k = dn_trial_table(i)) != NULL; i++)
            bench_table(k, &b);
        bench_destroy(&b);
    }
    dn_bench_stride();
}
