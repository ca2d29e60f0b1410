/*
 * Compares every kernel of every table, for both types of maps, with plain loops in double, in the
 * manner of dav1d's checkasm.
 *
 *     check_kernels [--table NAME] [--seed N]      tests
 *     check_kernels --bench [--table NAME]         speeds
 *
 * Operands are guarded matrices (guarded.h) of exactly the size in the contracts of dn/kernels.h:
 * once with a guard page after them, once with one before. All tables in vector types, including
 * `wide` (kernel_tables.h), must agree to the bit, except for products that round their operands to
 * bf16. Tolerances are those of expect.c. This file chooses the cases.
 */
#include "bench_kernels.h"
#include "check_kernels.h"
#include "expect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_OUTPUTS = 50, /* every count of outputs up to here, so every edge of a register tile */
    MOST_WIDTH = 40,
    MOST_PIXELS = 2 * DN_LANES * 2 + 3 /* every n up to here: two tiles' widths and their edges */
};

/* Channels and pixels of real layers, and at the edges of blocks. */
static const struct {
    int outputs, inputs, taps, width, n;
} products[] = {
    {12, 48, 9, 32, 1055}, {48, 24, 1, 32, 1024}, {24, 48, 1, 32, 1024}, {32, 64, 9, 14, 209},
    {128, 33, 1, 28, 784}, {48, 96, 1, 7, 49},    {49, 5, 9, 7, 55},     {97, 3, 1, 1, 33},
    {145, 2, 1, 1, 1},     {24, 12, 9, 8, 575},   {3, 147, 1, 1, 31},    {1, 1, 9, 1, 1},
    {10, 342, 1, 1, 64},   {96, 7, 9, 5, 17},     {17, 99, 9, 56, 401},  {13, 3, 9, 400, 1700},
    {21, 37, 1, 1, 1300},
};

static void check_products(dn_dtype dtype)
{
    for (int outputs = 1; outputs <= MOST_OUTPUTS; outputs++)
        for (int taps = 1; taps <= 9; taps += 8) {
            const int inputs = dn_trial_draw(1, 19), width = dn_trial_draw(1, MOST_WIDTH);
            dn_check_gemm(dtype, outputs, inputs, taps, width, (size_t)dn_trial_draw(1, 100));
            dn_check_wgrad(dtype, outputs, inputs, taps, width, (size_t)dn_trial_draw(1, 100));
        }
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        const size_t n = (size_t)products[i].n;
        dn_check_gemm(dtype, products[i].outputs, products[i].inputs, products[i].taps,
                      products[i].width, n);
        dn_check_wgrad(dtype, products[i].outputs, products[i].inputs, products[i].taps,
                       products[i].width, n);
    }
    for (size_t n = 1; n <= MOST_PIXELS; n++) {
        dn_check_gemm(dtype, dn_trial_draw(1, 13), dn_trial_draw(1, 5), 1, 1, n);
        dn_check_wgrad(dtype, dn_trial_draw(1, 13), dn_trial_draw(1, 5), 1, 1, n);
    }
}

static void check_spans(dn_dtype dtype)
{
    const dn_padded planes = {
        .images = 3, .rows = 5, .width = 7, .image_rows = 5, .pitch = 7, .source_image = 35};
    for (int n = 1; n <= MOST_PIXELS; n++) {
        const dn_padded span = dn_padded_none((size_t)n);
        dn_check_moments(dtype, dn_trial_draw(1, 9), (size_t)n);
        dn_check_norm_relu_grad(dtype, dn_trial_draw(1, 4), (size_t)n);
        dn_check_dgrad_norm_relu(dtype, dn_trial_draw(1, DN_PACK_OUTPUTS), dn_trial_draw(1, 9),
                                 (size_t)n);
        dn_check_fill(dtype, &span);
        dn_check_store(dtype, &span);
    }
    dn_check_moments(dtype, 2, 3136);
    dn_check_norm_relu_grad(dtype, 24, 1023);
    dn_check_dgrad_norm_relu(dtype, 24, 128, 1023);
    dn_check_fill(dtype, &planes);
    dn_check_store(dtype, &planes);
}

/* The first, second and last piece of a map: bands in all positions, images side by side. */
static void check_layout(dn_dtype dtype, int images, int height, int width)
{
    const dn_layout layout = dn_layout_create(images, height, width);
    for (int piece = 0; piece < layout.pieces; piece++) {
        if (piece > 1 && piece + 1 < layout.pieces)
            continue;
        const dn_piece p = dn_layout_piece(&layout, piece);
        ptrdiff_t source;
        dn_padded padded = dn_piece_padded(&layout, &p, &source);
        const dn_padded tiled = dn_padded_tiled(padded);
        dn_check_fill(dtype, &padded);
        dn_check_fill(dtype, &tiled);
        padded.rows = p.rows; /* as layers pass it to store */
        dn_check_store(dtype, &padded);
        if (dtype == DN_FP32)
            dn_check_winograd(&layout, piece);
    }
}

static void check_layouts(dn_dtype dtype)
{
    static const int maps[][3] = {{1, 1, 1},   {19, 1, 1},  {33, 7, 7},  {37, 8, 8}, {3, 14, 14},
                                  {1, 32, 32}, {1, 56, 56}, {2, 48, 24}, {1, 45, 40}};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        check_layout(dtype, maps[i][0], maps[i][1], maps[i][2]);
    for (int width = 1; width <= MOST_WIDTH; width++)
        check_layout(dtype, dn_trial_draw(1, 12), dn_trial_draw(1, 12), width);
}

/* A whole plane, and a band of it: the middle, or the lower end. */
static void check_plane(int height, int width)
{
    const int rows = (height + 1) / 2, row = dn_trial_draw(0, rows - 1);
    const int count = dn_trial_draw(1, rows - row), left = height - 2 * row + 1;
    const dn_padded whole = {.images = 1,
                             .rows = height,
                             .width = width,
                             .skip = 1,
                             .image_rows = 2 * rows,
                             .pitch = (size_t)width + 1};
    dn_padded band = whole;
    band.skip = 0;
    band.rows = left < 2 * count + 1 ? left : 2 * count + 1;
    band.image_rows = 2 * count;
    dn_check_im2col(height, width, 0, rows);
    dn_check_im2col(height, width, row, count);
    dn_check_max_pool(&whole);
    dn_check_max_pool(&band);
    dn_check_average_pool(height, width);
}

static void check_strides(void)
{
    for (int width = 1; width <= 2 * MOST_WIDTH; width++)
        check_plane(dn_trial_draw(1, 12), width);
    check_plane(112, 112);
    for (size_t n = 1; n <= MOST_PIXELS; n++)
        dn_check_pixels(n);
    dn_check_pixels(300);
}

int main(int argc, char **argv)
{
    const char *only = NULL;
    uint64_t seed = 1;
    int bench = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bench") == 0) {
            bench = 1;
        } else if (strcmp(argv[i], "--table") == 0 && i + 1 < argc) {
            only = argv[++i];
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
        } else {
            fprintf(stderr, "%s: expected --table NAME, --seed N or --bench\n", argv[i]);
            return EXIT_FAILURE;
        }
    }
    if (dn_trial_start(seed, only) == 0) {
        fprintf(stderr, "--table: found %s, which cannot run here\n", only);
        return EXIT_FAILURE;
    }
    if (bench) {
        dn_bench_kernels();
        return EXIT_SUCCESS;
    }
    for (int side = DN_GUARD_AFTER; side <= DN_GUARD_BEFORE; side++) {
        dn_trial_guard((dn_guard_side)side);
        check_strides();
        for (int dtype = DN_FP32; dtype < DN_DTYPES; dtype++) {
            if (dtype == DN_FP32 || dn_trial_rounds())
                check_products((dn_dtype)dtype);
            check_spans((dn_dtype)dtype);
            check_layouts((dn_dtype)dtype);
        }
    }
    return dn_trial_end() ? EXIT_SUCCESS : EXIT_FAILURE;
}
