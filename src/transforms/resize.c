/*
 * Resizing across and then down, as PIL and torchvision do; see include/dn/resize.h. Both passes
 * use one kernel, which computes a row as a weighted sum of rows and so suits vector units. For the
 * pass across, strips of rows are transposed, and its result is transposed back.
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

static void weigh(const axis *a, const span *s, int outputs)
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

static axis make_axis(int32_t *words, int taps, const span *s, int outputs)
{
    const axis a = {.taps = taps, .first = words, .weight = words + 2 * (ptrdiff_t)outputs};
    weigh(&a, s, outputs);
    return a;
}

/* The inputs of a pass: from the first input of its first output to the last of its last. */
typedef struct range {
    int first, count;
} range;

static range inputs_of(const axis *a, int outputs)
{
    const int32_t *const last = a->first + 2 * (ptrdiff_t)(outputs - 1);
    return (range){a->first[0], last[0] + last[1] - a->first[0]};
}

enum { STRIP = 64 }; /* most rows: a strip and its transpose stay in the L2 cache */

/* Working memory of the pass across a strip. */
typedef struct strip {
    uint8_t *turned; /* (columns, channels, rows) */
    uint8_t *small;  /* (width, channels, rows) */
} strip;

/* to(channels, to_rows, width): rows [0, count) = the rows from `row` on of some columns of `from`,
 * resized across. */
static void resize_strip(const dn_pixel_kernels *kernels, const strip *s, const dn_raster *from,
                         int row, int count, const axis *across, int width, uint8_t *to,
                         size_t to_rows)
{
    const range columns = inputs_of(across, width);
    const size_t channels = (size_t)from->channels, stride = (size_t)from->width * channels;
    const size_t rows = (size_t)count, column = channels * rows, outputs = (size_t)width;
    kernels->turn(from->bytes + (size_t)row * stride + (size_t)columns.first * channels, stride,
                  rows, (size_t)columns.count * channels, s->turned, rows);
    for (int x = 0; x < width; x++)
        kernels->sum_rows(s->turned + (size_t)(across->first[2 * x] - columns.first) * column,
                          column, across->weight + (ptrdiff_t)x * across->taps,
                          across->first[2 * x + 1], s->small + (size_t)x * column, column);
    for (size_t c = 0; c < channels; c++)
        kernels->turn(s->small + c * rows, column, outputs, rows, to + c * to_rows * outputs,
                      outputs);
}

/* to(height, width) = the plane from(rows, width), whose first row is row `first`, resized down. */
static void resize_down(const dn_pixel_kernels *kernels, const uint8_t *from, int first,
                        const axis *down, int height, size_t width, uint8_t *to)
{
    for (int y = 0; y < height; y++)
        kernels->sum_rows(from + (size_t)(down->first[2 * y] - first) * width, width,
                          down->weight + (ptrdiff_t)y * down->taps, down->first[2 * y + 1],
                          to + (size_t)y * width, width);
}

dn_status dn_resize(const dn_pixel_kernels *kernels, dn_buffer *buffer, const dn_raster *from,
                    const dn_box *box, const dn_box *bounds, int height, int width, uint8_t *to)
{
    const span vertical = span_of(box->top, box->height, bounds->top, bounds->height, from->height);
    const span horizontal =
        span_of(box->left, box->width, bounds->left, bounds->width, from->width);
    const size_t channels = (size_t)from->channels, row = (size_t)width;
    const int down_taps = taps_of(vertical.size, height);
    const int across_taps = taps_of(horizontal.size, width);
    const size_t down_words = axis_words(down_taps, height);
    const size_t words = down_words + axis_words(across_taps, width);
    const size_t most_rows = (size_t)(vertical.high - vertical.low);
    const size_t strip_rows = most_rows < STRIP ? most_rows : STRIP;
    const size_t turned = (size_t)(horizontal.high - horizontal.low) * channels * strip_rows;
    const size_t small = row * channels * strip_rows;
    DN_TRY(dn_buffer_grow(buffer,
                          words * sizeof(int32_t) + turned + small + channels * most_rows * row));
    int32_t *const numbers = (int32_t *)buffer->bytes;
    uint8_t *const bytes = buffer->bytes + words * sizeof(int32_t);
    const axis down = make_axis(numbers, down_taps, &vertical, height);
    const axis across = make_axis(numbers + down_words, across_taps, &horizontal, width);
    const range rows = inputs_of(&down, height);
    const strip s = {.turned = bytes, .small = bytes + turned};
    uint8_t *const half = bytes + turned + small; /* (channels, rows, width) */

    for (int y = 0; y < rows.count; y += STRIP)
        resize_strip(kernels, &s, from, rows.first + y,
                     rows.count - y < STRIP ? rows.count - y : STRIP, &across, width,
                     half + (size_t)y * row, (size_t)rows.count);
    for (size_t c = 0; c < channels; c++)
        resize_down(kernels, half + c * (size_t)rows.count * row, rows.first, &down, height, row,
                    to + c * (size_t)height * row);
    return DN_OK;
}
