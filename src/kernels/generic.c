/*
 * The `generic` table: plain loops that define what every kernel computes, with OpenBLAS for the
 * matrix products. Sums over pixels run in double.
 */
#include "tables.h"

#include <cblas.h>
#include <stdint.h>
#include <string.h>

static size_t packed_floats(int outputs, int inputs, int taps)
{
    return (size_t)outputs * (size_t)inputs * (size_t)taps;
}

/* Packed form: (outputs, taps, inputs). */
static void pack(float *packed, const dn_weights *weights)
{
    for (int o = 0; o < weights->outputs; o++)
        for (int t = 0; t < weights->taps; t++)
            for (int c = 0; c < weights->inputs; c++)
                *packed++ = weights->w[o * weights->out_step + c * weights->in_step + t];
}

static void conv(const float *packed, int outputs, int inputs, const dn_taps *taps, size_t n,
                 const float *x, size_t x_ld, float *y, size_t y_ld, int accumulate)
{
    for (int t = 0; t < taps->count; t++)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, outputs, (int)dn_round_lanes(n),
                    inputs, 1, packed + t * inputs, taps->count * inputs, x + taps->shift[t],
                    (int)x_ld, accumulate || t > 0 ? 1 : 0, y, (int)y_ld);
}

static void conv_weight_grad(int outputs, int inputs, const dn_taps *taps, size_t n,
                             const float *dy, size_t dy_ld, const float *x, size_t x_ld, float *dw)
{
    const size_t matrix = (size_t)outputs * (size_t)inputs;
    for (int t = 0; t < taps->count; t++)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, outputs, inputs, (int)n, 1, dy,
                    (int)dy_ld, x + taps->shift[t], (int)x_ld, 1, dw + (size_t)t * matrix, inputs);
}

/* Index in a framed row of pixel 0 of source row r of image i. */
static size_t frame_index(const dn_frame *frame, int i, int r)
{
    if (!frame->border)
        return ((size_t)i * (size_t)frame->rows + (size_t)r) * (size_t)frame->width;
    return ((size_t)i * (size_t)frame->image_rows + (size_t)(frame->skip + r)) *
           (size_t)(frame->width + 1);
}

/* Index in the source of pixel 0 of row r of image i. */
static size_t source_index(const dn_frame *frame, int i, int r)
{
    const size_t width = (size_t)frame->width;
    const size_t image = frame->border ? frame->source_image : (size_t)frame->rows * width;
    return (size_t)i * image + (size_t)r * width;
}

static void clear_row(float *to, const dn_frame *frame)
{
    const size_t before = frame->border ? 1 : 0;
    memset(to - before, 0, (before + dn_round_lanes(dn_frame_floats(frame))) * sizeof *to);
}

static float bf16_to_float(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Rounds to nearest, ties to even. */
static uint16_t bf16_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

#define ELEMENT           float
#define NAMED(name)       name##_fp32
#define TO_FLOAT(element) (element)
#define TO_ELEMENT(value) (value)
#include "generic_maps.h"

#define ELEMENT           uint16_t
#define NAMED(name)       name##_bf16
#define TO_FLOAT(element) bf16_to_float(element)
#define TO_ELEMENT(value) bf16_from_float(value)
#include "generic_maps.h"

/* The peak of plain C; the products are OpenBLAS's, which may do better. */
static double peak(size_t rounds)
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

static void stream_read(const float *x, size_t n)
{
    enum { CHAINS = 16 };
    float acc[CHAINS] = {0};
    for (size_t i = 0; i + CHAINS <= n; i += CHAINS)
        for (int j = 0; j < CHAINS; j++)
            acc[j] += x[i + (size_t)j];
    volatile float sink = acc[0];
    (void)sink;
}

static void stream_scale(float *x, size_t n, float factor)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}

const dn_kernels dn_kernels_generic = {
    .name = "generic",
    .products = {[DN_FP32] = {packed_floats, pack, conv, conv_weight_grad, peak},
                 [DN_BF16] = {packed_floats, pack, conv, conv_weight_grad, peak}},
    .maps = {[DN_FP32] = {norm_relu_fp32, affine_fp32, store_fp32, moments_fp32,
                          norm_relu_grad_fp32},
             [DN_BF16] = {norm_relu_bf16, affine_bf16, store_bf16, moments_bf16,
                          norm_relu_grad_bf16}},
    .stream = {stream_read, stream_scale},
};
