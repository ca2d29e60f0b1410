/*
 * The `generic` table: plain loops that define what the fp32 kernels compute, with OpenBLAS for the
 * matrix products. Sums over pixels are taken in double. Its products for bf16 maps are the fp32
 * ones; products in bf16 and Winograd's transforms are defined by tests/kernels/check_products.c
 * and check_winograd.c.
 */
#define DN_ISA generic

#include "tables.h"

#include <cblas.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "dn/bf16.h"

static size_t ISA(packed_floats)(int outputs, int inputs, int taps)
{
    return (size_t)outputs * (size_t)inputs * (size_t)taps;
}

/* Packed format: (outputs, taps, inputs). */
static void ISA(pack)(float *packed, const dn_weight_view *weights)
{
    for (int o = 0; o < weights->outputs; o++)
        for (int t = 0; t < weights->taps; t++)
            for (int c = 0; c < weights->inputs; c++)
                *packed++ = weights->w[o * weights->out_step + c * weights->in_step + t];
}

static void ISA(gemm)(const float *packed, int outputs, int inputs, const dn_taps *taps, size_t n,
                      const float *x, size_t x_ld, float *y, size_t y_ld, int accumulate)
{
    for (int t = 0; t < taps->count; t++)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, outputs, (int)dn_round_lanes(n),
                    inputs, 1, packed + t * inputs, taps->count * inputs, x + taps->shift[t],
                    (int)x_ld, accumulate || t > 0 ? 1 : 0, y, (int)y_ld);
}

static size_t ISA(packed_dy_floats)(int outputs, size_t n)
{
    return dn_round_lanes((size_t)outputs) * n;
}

/* Packed format: (n, outputs, padded with zeros to a multiple of DN_LANES). */
static void ISA(pack_dy)(float *packed, int outputs, size_t n, const float *dy, size_t dy_ld)
{
    const int ld = (int)dn_round_lanes((size_t)outputs);
    for (size_t p = 0; p < n; p++)
        for (int o = 0; o < ld; o++)
            *packed++ = o < outputs ? dy[(size_t)o * dy_ld + p] : 0;
}

static void ISA(wgrad)(int outputs, int inputs, const dn_taps *taps, size_t n, const float *packed,
                       const float *x, size_t x_ld, float *dw)
{
    const int ld = (int)dn_round_lanes((size_t)outputs);
    for (int t = 0; t < taps->count; t++, dw += inputs * ld)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, inputs, ld, (int)n, 1,
                    x + taps->shift[t], (int)x_ld, packed, ld, 1, dw, ld);
}

/* Index in the padded layout of pixel 0 of source row r of image i. */
static size_t padded_index(const dn_padded *padded, int i, int r)
{
    return (size_t)(i * padded->image_rows + padded->skip + r) * padded->pitch;
}

/* Index in the source of pixel 0 of row r of image i. */
static size_t source_index(const dn_padded *padded, int i, int r)
{
    return (size_t)i * padded->source_image + (size_t)r * (size_t)padded->width;
}

static void clear_padded(float *to, const dn_padded *padded)
{
    const size_t before = (size_t)dn_padded_bordered(padded);
    memset(to - before, 0, (before + dn_round_lanes(dn_padded_floats(padded))) * sizeof *to);
}

#define ELEMENT           float
#define NAMED(name)       ISA(name##_fp32)
#define TO_FLOAT(element) (element)
#define TO_ELEMENT(value) (value)
#include "generic_maps.h"

#define ELEMENT           uint16_t
#define NAMED(name)       ISA(name##_bf16)
#define TO_FLOAT(element) dn_bf16_to_float(element)
#define TO_ELEMENT(value) dn_float_to_bf16(value)
#include "generic_maps.h"

/* The peak of plain C; OpenBLAS, which computes the products, may exceed it. */
static double ISA(peak)(size_t rounds)
{
    enum { CHAINS = 64 };
    float acc[CHAINS], sum = 0;
    for (int i = 0; i < CHAINS; i++)
        acc[i] = (float)i;
    for (size_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++)
            acc[i] = acc[i] * 0.5f + 0.25f;
    for (int i = 0; i < CHAINS; i++)
        sum += acc[i];
    volatile float sink = sum;
    (void)sink;
    return 2.0 * CHAINS * (double)rounds;
}

static void ISA(im2col)(int height, int width, const float *x, int row, int rows, float *to,
                        size_t to_ld)
{
    const int columns = (width + 1) / 2;
    for (int t = 0; t < 49; t++)
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < columns; c++) {
                const int i = 2 * (row + r) - 3 + t / 7, j = 2 * c - 3 + t % 7;
                const int inside = i >= 0 && i < height && j >= 0 && j < width;
                to[(size_t)t * to_ld + (size_t)(r * columns + c)] = inside ? x[i * width + j] : 0;
            }
}

/* Index in x of the first maximum of window (r, c); -1: all are zeros. */
static ptrdiff_t window_maximum(const dn_padded *padded, const float *x, int r, int c)
{
    const int pitch = padded->width + 1;
    ptrdiff_t best = -1;
    for (int i = 2 * r; i < 2 * r + 3; i++)
        for (int j = 2 * c - 1; j < 2 * c + 2; j++) {
            const float v = x[i * pitch + j];
            if (v > (best < 0 ? 0 : x[best]) || isnan(v))
                best = i * pitch + j;
        }
    return best;
}

static void ISA(max_pool)(const dn_padded *padded, const float *x, float *y)
{
    for (int r = 0; r < padded->image_rows / 2; r++)
        for (int c = 0; c < (padded->width + 1) / 2; c++) {
            const ptrdiff_t best = window_maximum(padded, x, r, c);
            *y++ = best < 0 ? 0 : x[best];
        }
}

static void ISA(max_pool_grad)(const dn_padded *padded, const float *x, const float *dy, float *dx)
{
    const int width = padded->width, pitch = width + 1;
    memset(dx, 0, (size_t)padded->rows * (size_t)width * sizeof *dx);
    for (int r = 0; r < padded->image_rows / 2; r++)
        for (int c = 0; c < pitch / 2; c++, dy++) {
            const ptrdiff_t best = window_maximum(padded, x, r, c);
            if (best >= 0)
                dx[(best / pitch - 1) * width + best % pitch] += *dy;
        }
}

static void ISA(average_pool)(int rows, int width, const float *x, float *y)
{
    for (int r = 0; r + 1 < rows; r += 2)
        for (int c = 0; c + 1 < width; c += 2) {
            const float *above = x + r * width + c, *below = above + width;
            *y++ = 0.25f * ((above[0] + above[1]) + (below[0] + below[1]));
        }
}

static void ISA(average_pool_grad)(int rows, int width, const float *dy, float *dx)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < width; c++)
            *dx++ =
                r / 2 < rows / 2 && c / 2 < width / 2 ? 0.25f * dy[r / 2 * (width / 2) + c / 2] : 0;
}

static void ISA(bandwidth_read)(const float *x, size_t n)
{
    enum { CHAINS = 16 };
    float acc[CHAINS] = {0};
    for (size_t i = 0; i + CHAINS <= n; i += CHAINS)
        for (int j = 0; j < CHAINS; j++)
            acc[j] += x[i + (size_t)j];
    volatile float sink = acc[0];
    (void)sink;
}

static void ISA(bandwidth_scale)(float *x, size_t n, float factor)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}

const dn_kernels ISA(dn_kernels) = {
    .name = ISA_NAME,
    .level = DN_LEVEL_GENERIC,
    .products = {[DN_FP32] = PRODUCTS(.by_blas = 1), [DN_BF16] = PRODUCTS(.by_blas = 1)},
    .on_maps = {[DN_FP32] = ON_MAPS(fp32), [DN_BF16] = ON_MAPS(bf16)},
    .stride = STRIDE,
    .bandwidth = {.read = ISA(bandwidth_read), .scale = ISA(bandwidth_scale)},
};
