/*
 * Resizing in two passes of one kernel, which computes a row as a weighted sum of rows; see
 * include/dn/resize.h. Rows suit vector units, so the image is transposed between the passes.
 */
#include "dn/resize.h"

#include <math.h>

#include "transforms/pixel_kernels.h"

/* One dimension: output i is the sum over t < taps of weight(i, t) x input first(i) + t. */
typedef struct axis {
    int taps;        /* most taps of an output */
    int32_t *first;  /* (outputs, 2) first input, and how many */
    int32_t *weight; /* (outputs, taps) */
} axis;

static int taps_of(double size, int outputs)
{
    return (int)ceil(fmax(size / outputs, 1)) * 2 + 1;
}

/* One side of a box: [begin, begin + size) is resized, and the inputs in [low, high) contribute. */
typedef struct span {
    double begin, size;
    int low, high;
} span;

static span span_of(double begin, double size, double bound, double bound_size, int inputs)
{
    return (span){begin, size, (int)bound, (int)fmin(ceil(bound + bound_size), inputs)};
}

static void weigh(axis *a, const span *s, int outputs)
{
    const double scale = s->size / outputs, width = fmax(scale, 1);
    for (int i = 0; i < outputs; i++) {
        const double center = s->begin + (i + 0.5) * scale;
        int32_t *const weight = a->weight + (ptrdiff_t)i * a->taps;
        const int low = (int)fmax(center - width + 0.5, s->low);
        const int high = (int)fmin(center + width + 0.5, s->high);
        double sum = 0;
        for (int x = low; x < high; x++)
            sum += fmax(1 - fabs((x - center + 0.5) / width), 0);
        for (int x = low; x < high; x++) {
            const double part = fmax(1 - fabs((x - center + 0.5) / width), 0) / sum;
            weight[x - low] = (int32_t)(part * (1 << DN_PIXEL_WEIGHT_BITS) + 0.5);
        }
        a->first[2 * i] = low;
        a->first[2 * i + 1] = high - low;
    }
}

static size_t axis_words(int taps, int outputs)
{
    return (size_t)outputs * (size_t)(taps + 2);
}

static axis make_axis(int32_t *words, int taps, int outputs)
{
    return (axis){.taps = taps, .first = words, .weight = words + 2 * (ptrdiff_t)outputs};
}

dn_status dn_resize(const dn_pixel_kernels *kernels, dn_buffer *buffer, const dn_raster *from,
                    const dn_box *box, const dn_box *bounds, int height, int width, uint8_t *to)
{
    const span rows = span_of(box->top, box->height, bounds->top, bounds->height, from->height);
    const span columns = span_of(box->left, box->width, bounds->left, bounds->width, from->width);
    const size_t channels = (size_t)from->channels, stride = (size_t)from->width * channels;
    const size_t low_row = (size_t)(columns.high - columns.low) * channels, high = (size_t)height;
    const size_t small_row = channels * high; /* row of an output column: (channels, height) */
    const int down_taps = taps_of(rows.size, height), across_taps = taps_of(columns.size, width);
    const size_t down_words = axis_words(down_taps, height);
    const size_t words = down_words + axis_words(across_taps, width);
    DN_TRY(dn_buffer_grow(buffer, words * sizeof(int32_t) + 2 * low_row * high +
                                      (size_t)width * small_row));
    axis down = make_axis((int32_t *)buffer->bytes, down_taps, height);
    axis across = make_axis((int32_t *)buffer->bytes + down_words, across_taps, width);
    uint8_t *const low = buffer->bytes + words * sizeof(int32_t); /* (height, low_row) */
    uint8_t *const turned = low + low_row * high;                 /* (low_row, height) */
    uint8_t *const small = turned + low_row * high;               /* (width, channels, height) */

    weigh(&down, &rows, height);
    weigh(&across, &columns, width);
    for (int y = 0; y < height; y++)
        kernels->sum_rows(from->bytes + (size_t)down.first[2 * y] * stride +
                              (size_t)columns.low * channels,
                          stride, down.weight + (ptrdiff_t)y * down.taps, down.first[2 * y + 1],
                          low + (size_t)y * low_row, low_row);
    kernels->turn(low, low_row, high, low_row, turned, high);
    for (int x = 0; x < width; x++)
        kernels->sum_rows(turned + (size_t)(across.first[2 * x] - columns.low) * small_row,
                          small_row, across.weight + (ptrdiff_t)x * across.taps,
                          across.first[2 * x + 1], small + (size_t)x * small_row, small_row);
    for (size_t c = 0; c < channels; c++)
        kernels->turn(small + c * high, small_row, (size_t)width, high,
                      to + c * high * (size_t)width, (size_t)width);
    return DN_OK;
}
