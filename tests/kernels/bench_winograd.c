/* Winograd's transforms and convolutions to be timed; see bench_winograd.h. Matrices are laid out
 * as in winograd.c: (36, channels, tiles), channels an odd number of cache lines apart. */
#include "bench_winograd.h"
#include "expect.h"
#include "layers/gemm.h"

enum { TILES_AT_ONCE = 128 }; /* as in src/layers/winograd.c */

static int at_most(int value, int limit)
{
    return value < limit ? value : limit;
}

static dn_guarded matrices(int channels, size_t ld)
{
    const size_t floats = DN_WINOGRAD * dn_row_stride((size_t)channels * ld);
    return dn_trial_filled(1, 0, floats, floats);
}

dn_winograd_bench dn_winograd_bench_create(const dn_kernels *kernels, const dn_padded *piece,
                                           int outputs, int inputs)
{
    const dn_product_kernels *products = &kernels->products[DN_FP32];
    const int columns = dn_tile_columns(piece->width), tile_rows = dn_tiles(piece->rows);
    const int most = outputs > inputs ? outputs : inputs;
    dn_winograd_bench b = {.products = products,
                           .winograd = kernels->winograd,
                           .padded = *piece,
                           .outputs = outputs,
                           .inputs = inputs};
    if (piece->images == 1) {
        b.padded.rows = at_most(piece->rows, TILES_AT_ONCE / columns * DN_TILE);
    } else {
        b.padded.images = at_most(piece->images, TILES_AT_ONCE / (columns * tile_rows));
    }
    b.padded.image_rows = b.padded.rows + 1;
    b.padded = dn_padded_tiled(b.padded);
    const int rows = b.padded.images * dn_tiles(b.padded.rows);
    b.tiles = (size_t)(rows * columns);
    b.ld = dn_row_stride(b.tiles);
    const size_t floats = dn_padded_floats(&b.padded) + DN_LANES;
    const size_t packed = DN_WINOGRAD * products->packed_floats(outputs, inputs, 1);
    const size_t pairs = (size_t)(DN_WINOGRAD * inputs) * dn_round_lanes((size_t)outputs);
    const size_t packed_dy = DN_WINOGRAD * products->packed_dy_floats(outputs, b.tiles);
    b.x = dn_trial_filled(most, 1, floats, floats);
    b.u = matrices(inputs, b.ld);
    b.m = matrices(outputs, b.ld);
    b.y = dn_trial_matrix(DN_TILE * rows, 0, dn_round_lanes((size_t)(DN_TILE * columns)));
    b.packed = dn_trial_filled(1, 0, packed, packed);
    b.weight = dn_trial_filled(1, 0, pairs, pairs);
    b.packed_dy = dn_trial_filled(1, 0, packed_dy, packed_dy);
    return b;
}

void dn_winograd_bench_destroy(dn_winograd_bench *b)
{
    DN_GUARDED_DESTROY(&b->x, &b->u, &b->m, &b->y, &b->packed, &b->weight, &b->packed_dy);
}

typedef void transform(const dn_padded *padded, const float *x, float *u, size_t matrix);

static void call_transform(const dn_winograd_bench *b, transform *kernel, int channels, float *u)
{
    for (int c = 0; c < channels; c++)
        kernel(&b->padded, dn_guarded_row(&b->x, c), u + (size_t)c * b->ld,
               dn_row_stride((size_t)channels * b->ld));
}

static void call_output(const dn_winograd_bench *b)
{
    for (int o = 0; o < b->outputs; o++)
        b->winograd->output(&b->padded, b->m.data + (size_t)o * b->ld,
                            dn_row_stride((size_t)b->outputs * b->ld), b->y.data, b->y.ld);
}

static void call_products(const dn_winograd_bench *b, int gradient)
{
    const dn_taps one = {.count = 1};
    const size_t packed = b->products->packed_floats(b->outputs, b->inputs, 1);
    const size_t packed_dy = b->products->packed_dy_floats(b->outputs, b->tiles);
    const size_t matrix = (size_t)b->inputs * dn_round_lanes((size_t)b->outputs);
    float *u = b->u.data, *m = b->m.data;
    for (size_t e = 0; e < DN_WINOGRAD; e++) {
        if (gradient)
            b->products->pack_dy(b->packed_dy.data + e * packed_dy, b->outputs, b->tiles, m, b->ld);
        if (gradient)
            b->products->wgrad(b->outputs, b->inputs, &one, b->tiles,
                               b->packed_dy.data + e * packed_dy, u, b->ld,
                               b->weight.data + e * matrix);
        else
            b->products->gemm(b->packed.data + e * packed, b->outputs, b->inputs, &one, b->tiles, u,
                              b->ld, m, b->ld, 0);
        u += dn_row_stride((size_t)b->inputs * b->ld);
        m += dn_row_stride((size_t)b->outputs * b->ld);
    }
}

void dn_winograd_bench_call(const dn_winograd_bench *b, dn_winograd_part part)
{
    const dn_winograd_kernels *winograd = b->winograd;
    if (part != DN_WINOGRAD_OUTPUT && part != DN_WINOGRAD_OUTPUT_GRAD)
        call_transform(b, winograd->input, b->inputs, b->u.data);
    if (part == DN_WINOGRAD_OUTPUT_GRAD || part == DN_WINOGRAD_WGRAD)
        call_transform(b, winograd->output_grad, b->outputs, b->m.data);
    if (part == DN_WINOGRAD_GEMM || part == DN_WINOGRAD_WGRAD)
        call_products(b, part == DN_WINOGRAD_WGRAD);
    if (part == DN_WINOGRAD_OUTPUT || part == DN_WINOGRAD_GEMM)
        call_output(b);
}

void dn_winograd_bench_work(const dn_winograd_bench *b, dn_winograd_part part, double *flops,
                            double *bytes)
{
    /* Of a tile: of a row or column, in all rows and columns both ways. */
    static const double operations[] = {12 * 24, 10 * 19, 10 * 16};
    const double inputs = b->inputs, outputs = b->outputs, tiles = (double)b->tiles;
    const double pixels = (double)b->padded.images * b->padded.rows * b->padded.width;
    const double channels = part == DN_WINOGRAD_INPUT ? inputs : outputs;
    if (part < DN_WINOGRAD_GEMM) {
        *flops = operations[part] * channels * tiles;
        *bytes = 4 * channels * (pixels + DN_WINOGRAD * tiles);
    } else {
        *flops = 2 * 9 * inputs * outputs * pixels;
        *bytes = 4 * ((inputs + outputs) * pixels + DN_WINOGRAD * inputs * outputs);
    }
}
