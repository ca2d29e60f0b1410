/*
 * The `generic` table: plain loops that define what every kernel computes, with OpenBLAS for the
 * matrix products. Sums over pixels run in double.
 */
#include "tables.h"

#include <cblas.h>
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

static void norm_relu(int rows, const dn_frame *frame, const float *x, size_t x_ld,
                      const float *scale, const float *shift, float *to, size_t to_ld)
{
    for (int c = 0; c < rows; c++, x += x_ld, to += to_ld) {
        clear_row(to, frame);
        for (int i = 0; i < frame->images; i++)
            for (int r = 0; r < frame->rows; r++)
                for (int p = 0; p < frame->width; p++) {
                    const size_t from = source_index(frame, i, r) + (size_t)p;
                    const float v = scale[c] * x[from] + shift[c];
                    to[frame_index(frame, i, r) + (size_t)p] = v <= 0 ? 0 : v; /* keeps NaN */
                }
    }
}

static void affine(int rows, const dn_frame *frame, const float *g, size_t g_ld, const float *x,
                   size_t x_ld, const float *c, float *to, size_t to_ld)
{
    for (int k = 0; k < rows; k++, x += x_ld, g += g_ld, to += to_ld, c += 3) {
        clear_row(to, frame);
        for (int i = 0; i < frame->images; i++)
            for (int r = 0; r < frame->rows; r++)
                for (int p = 0; p < frame->width; p++) {
                    const size_t from = source_index(frame, i, r) + (size_t)p;
                    to[frame_index(frame, i, r) + (size_t)p] =
                        c[0] * g[from] + (c[1] * x[from] + c[2]);
                }
    }
}

static void unframe(int rows, const dn_frame *frame, const float *y, size_t y_ld, float *to,
                    size_t to_ld)
{
    const size_t width = (size_t)frame->width;
    for (int c = 0; c < rows; c++, y += y_ld, to += to_ld)
        for (int i = 0; i < frame->images; i++)
            for (int r = 0; r < frame->rows; r++)
                memcpy(to + ((size_t)i * (size_t)frame->rows + (size_t)r) * width,
                       y + ((size_t)i * (size_t)frame->image_rows + (size_t)r) * (width + 1),
                       width * sizeof *to);
}

static void moments(int rows, size_t n, const float *x, size_t x_ld, float *result)
{
    for (int c = 0; c < rows; c++, x += x_ld) {
        double sum = 0, squares = 0;
        for (size_t p = 0; p < n; p++)
            sum += x[p];
        const double mean = sum / (double)n;
        for (size_t p = 0; p < n; p++)
            squares += (x[p] - mean) * (x[p] - mean);
        result[2 * c] = (float)mean;
        result[2 * c + 1] = (float)squares;
    }
}

static void norm_relu_grad(const dn_norm_grad *a)
{
    for (int c = 0; c < a->rows; c++) {
        const float *g = a->gradient + (size_t)c * a->gradient_ld, *x = a->x + (size_t)c * a->x_ld;
        float *to = a->sum + (size_t)c * a->sum_ld;
        double sum = 0, moment = 0;
        for (size_t p = 0; p < a->n; p++) {
            const float masked = a->scale[c] * x[p] + a->shift[c] <= 0 ? 0 : g[p];
            sum += masked;
            moment += masked * (double)(x[p] - a->mean[c]);
            to[p] = (a->accumulate ? to[p] : 0) + a->gamma[c] * masked;
        }
        a->sums[2 * c] = (float)sum;
        a->sums[2 * c + 1] = (float)moment;
    }
}

const dn_kernels dn_kernels_generic = {
    .name = "generic",
    .packed_floats = packed_floats,
    .pack = pack,
    .conv = conv,
    .conv_weight_grad = conv_weight_grad,
    .norm_relu = norm_relu,
    .affine = affine,
    .unframe = unframe,
    .moments = moments,
    .norm_relu_grad = norm_relu_grad,
};
