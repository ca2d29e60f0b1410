/* The pixel loops; see pixel_kernels.h. They use 16-byte vectors, and plain loops that compilers
 * vectorise. */
#include "transforms/pixel_kernels.h"

#include <string.h>

#include "tables.h"

typedef uint8_t bytes __attribute__((vector_size(16)));
typedef uint8_t bytes_in_memory __attribute__((vector_size(16), aligned(1), may_alias));

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16 };

/* ---- resizing ---- */

enum { FEW = 64 };   /* most taps whose products are rounded */
enum { DIRECT = 8 }; /* most taps that are summed in registers */
enum { GROUP = 4 };  /* taps at a time, if there are more */
enum { BLOCK = 64 }; /* pixels at a time */

/* The upper half of a 16-bit product: a pixel in the upper byte times a fraction of 2^16. */
static inline uint16_t part_of(uint8_t pixel, uint16_t weight)
{
    return (uint16_t)((uint32_t)(uint16_t)(pixel << 8) * weight >> 16);
}

/* Rows and their 16-bit weights. */
typedef struct weighted {
    const uint8_t *row[FEW];
    uint16_t weight[FEW];
} weighted;

/* Rows after the last, up to a multiple of GROUP, have weight 0. */
static inline void weigh(weighted *w, const uint8_t *from, size_t stride, const int32_t *weight,
                         int taps)
{
    enum { UNIT = 1 << (DN_PIXEL_WEIGHT_BITS - 16), LARGEST = (1 << 16) - 1 };
    for (int t = 0; t < taps; t++) {
        const int32_t rounded = (weight[t] + UNIT / 2) / UNIT;
        w->row[t] = from + (size_t)t * stride;
        w->weight[t] = (uint16_t)(rounded < LARGEST ? rounded : LARGEST);
    }
    for (int t = taps; t % GROUP != 0; t++) {
        w->row[t] = from;
        w->weight[t] = 0;
    }
}

/* The sum of `count` rows from the `first` on, at pixel i. */
INLINE uint16_t sum_of(const weighted *w, int first, const int count, size_t i)
{
    uint16_t sum = 0;
    for (int t = first; t < first + count; t++)
        sum = (uint16_t)(sum + part_of(w->row[t][i], w->weight[t]));
    return sum;
}

/* to(at + i) for i < count <= BLOCK. */
INLINE void sum_block(const weighted *w, const int taps, uint16_t half, size_t at,
                      const size_t count, uint8_t *to)
{
    uint16_t sum[BLOCK];
    if (taps <= DIRECT) {
#pragma omp simd
        for (size_t i = 0; i < count; i++)
            to[at + i] = (uint8_t)((uint16_t)(half + sum_of(w, 0, taps, at + i)) >> 8);
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        sum[i] = (uint16_t)(half + sum_of(w, 0, GROUP, at + i));
    int first = GROUP;
    for (; first < taps - GROUP; first += GROUP)
#pragma omp simd
        for (size_t i = 0; i < count; i++)
            sum[i] = (uint16_t)(sum[i] + sum_of(w, first, GROUP, at + i));
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        to[at + i] = (uint8_t)((uint16_t)(sum[i] + sum_of(w, first, GROUP, at + i)) >> 8);
}

/* The last block overlaps with the one before it. */
INLINE void sum_blocks(const weighted *w, const int taps, uint16_t half, size_t count, uint8_t *to)
{
    if (count < BLOCK)
        sum_block(w, taps, half, 0, count, to);
    else
        for (size_t i = 0; i < count; i += BLOCK)
            sum_block(w, taps, half, i < count - BLOCK ? i : count - BLOCK, BLOCK, to);
}

/* In 16 bits, units of 1/256: truncation loses half a unit per product on average, which is added
 * first. */
static void sum_few(const uint8_t *from, size_t stride, const int32_t *weight, int taps,
                    uint8_t *to, size_t count)
{
    const uint16_t half = (uint16_t)((256 + taps) / 2);
    weighted w;
    weigh(&w, from, stride, weight, taps);
#define SUM_OF(n)                                                                                  \
    case n:                                                                                        \
        sum_blocks(&w, n, half, count, to);                                                        \
        break
    switch (taps) { /* the compiler unrolls a constant number of taps */
        SUM_OF(1);
        SUM_OF(2);
        SUM_OF(3);
        SUM_OF(4);
        SUM_OF(5);
        SUM_OF(6);
        SUM_OF(7);
        SUM_OF(8);
    default:
        sum_blocks(&w, taps, half, count, to);
    }
#undef SUM_OF
}

static void sum_many(const uint8_t *from, size_t stride, const int32_t *weight, int taps,
                     uint8_t *to, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int32_t sum = 1 << (DN_PIXEL_WEIGHT_BITS - 1);
        for (int t = 0; t < taps; t++)
            sum += from[(size_t)t * stride + i] * weight[t];
        to[i] = (uint8_t)(sum >> DN_PIXEL_WEIGHT_BITS);
    }
}

static void ISA(sum_rows)(const uint8_t *from, size_t stride, const int32_t *weight, int taps,
                          uint8_t *to, size_t count)
{
    (taps <= FEW ? sum_few : sum_many)(from, stride, weight, taps, to, count);
}

/* Transposes a tile of 16 x 16 bytes: four times, interleaves the bytes of rows i and i + 8 into
 * rows 2i and 2i + 1. */
static inline void turn_tile(const uint8_t *from, size_t from_stride, uint8_t *to, size_t to_stride)
{
    bytes a[LANES], b[LANES];
    for (int i = 0; i < LANES; i++)
        a[i] = *(const bytes_in_memory *)(from + (size_t)i * from_stride);
    for (int stage = 0; stage < 4; stage++) {
        for (int i = 0; i < LANES / 2; i++) {
            const bytes low = a[i], high = a[i + LANES / 2];
            b[2 * i] = __builtin_shufflevector(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21,
                                               6, 22, 7, 23);
            b[2 * i + 1] = __builtin_shufflevector(low, high, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,
                                                   13, 29, 14, 30, 15, 31);
        }
        memcpy(a, b, sizeof a);
    }
    for (int i = 0; i < LANES; i++)
        *(bytes_in_memory *)(to + (size_t)i * to_stride) = a[i];
}

/* The last tile of a row or column overlaps with the one before it. */
static void ISA(turn)(const uint8_t *from, size_t from_stride, size_t rows, size_t columns,
                      uint8_t *to, size_t to_stride)
{
    if (rows < LANES || columns < LANES) {
        for (size_t x = 0; x < columns; x++)
            for (size_t y = 0; y < rows; y++)
                to[x * to_stride + y] = from[y * from_stride + x];
        return;
    }
    for (size_t i = 0; i < rows; i += LANES)
        for (size_t j = 0; j < columns; j += LANES) {
            const size_t y = i < rows - LANES ? i : rows - LANES;
            const size_t x = j < columns - LANES ? j : columns - LANES;
            turn_tile(from + y * from_stride + x, from_stride, to + x * to_stride + y, to_stride);
        }
}

/* ---- blurring ---- */

static void ISA(add_bytes)(const uint8_t *row, float weight, float *sum, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        sum[i] += weight * row[i];
}

static void ISA(add_floats)(const float *row, float weight, float *sum, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        sum[i] += weight * row[i];
}

/* Adding 1.5 x 2^23 rounds to an integer, ties to even. */
static inline float round_even(float x)
{
    return (x + 0x1.8p23f) - 0x1.8p23f;
}

static void ISA(round)(const float *x, uint8_t *to, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        to[i] = (uint8_t)(int32_t)round_even(x[i]);
}

/* ---- colours, as torchvision's functions of the same name ---- */

static void ISA(grey)(const uint8_t *planes, size_t plane, uint8_t *grey)
{
    const uint8_t *const green = planes + plane, *const blue = green + plane;
#pragma omp simd
    for (size_t i = 0; i < plane; i++)
        grey[i] = (uint8_t)(int32_t)(0.2989F * planes[i] + 0.587F * green[i] + 0.114F * blue[i]);
}

/* Into [0, most]. */
static inline float clip(float x, float most)
{
    x = x < 0 ? 0 : x;
    return x > most ? most : x;
}

static void ISA(scale)(uint8_t *x, float ratio, float rest, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        x[i] = (uint8_t)(int32_t)clip(x[i] * ratio + rest, 255);
}

static void ISA(blend)(uint8_t *x, const uint8_t *other, float ratio, size_t count)
{
    const float rest = 1 - ratio;
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        x[i] = (uint8_t)(int32_t)clip(x[i] * ratio + other[i] * rest, 255);
}

/* A channel of an HSV colour: value - depth max(0, min(k, 4 - k, 1)), where k = `sixths` mod 6 and
 * depth = value x saturation. */
static inline uint8_t shade(float value, float depth, float sixths)
{
    const float at = sixths >= 6 ? sixths - 6 : sixths, rest = 4 - at;
    const float slope = at < rest ? at : rest;
    return (uint8_t)(int32_t)(clip(value - depth * clip(slope, 1), 1) * 255.999F);
}

/* Converts colours in [0, 1] to hue, saturation and value, and back. */
static void ISA(hue)(uint8_t *planes, size_t plane, float part)
{
    uint8_t *const red = planes, *const green = planes + plane, *const blue = green + plane;
#pragma omp simd
    for (size_t i = 0; i < plane; i++) {
        const float r = red[i] / 255.0F, g = green[i] / 255.0F, b = blue[i] / 255.0F;
        const float high = g > b ? g : b, low = g < b ? g : b;
        const float most = r > high ? r : high, least = r < low ? r : low;
        const float range = most - least, divisor = range > 0 ? range : 1;
        const float rc = (most - r) / divisor, gc = (most - g) / divisor, bc = (most - b) / divisor;
        const float of_green = rc + 2 - bc, of_blue = gc + 4 - rc, of_red = bc - gc;
        const float of_others = most > g ? of_blue : of_green;
        const float sector = most > r ? of_others : of_red;
        const float turned = sector * (1.0F / 6) + 1 + part; /* in [0, 3) */
        const float sixths = (turned - (float)(int32_t)turned) * 6;
        red[i] = shade(most, range, sixths + 5);
        green[i] = shade(most, range, sixths + 3);
        blue[i] = shade(most, range, sixths + 1);
    }
}

/* ---- warping ---- */

/* Converts a coordinate in [-1, 1] to a pixel of `size`; NaN is outside. */
static inline float pixel_at(float part, int size)
{
    const float x = ((part + 1) * (float)size - 1) / 2, low = x > -2 ? x : -2;
    return low < (float)size ? low : (float)size;
}

static void ISA(places)(const dn_grid *grid, int column, int row, float *x, float *y, size_t count)
{
    const float *const m = grid->m, down = grid->top + (float)row, left = grid->left;
    const float x_row = m[1] * down, y_row = m[4] * down, z_row = m[7] * down;
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        const float across = left + (float)(column + (int32_t)i), z = m[6] * across + z_row + 1;
        x[i] = pixel_at((m[0] * across + x_row + m[2]) / z - grid->origin, grid->width);
        y[i] = pixel_at((m[3] * across + y_row + m[5]) / z - grid->origin, grid->height);
    }
}

static void ISA(nearest)(const uint8_t *bordered, int width, const float *x, const float *y,
                         uint8_t *to, size_t count)
{
    const ptrdiff_t stride = width + 4;
    for (size_t i = 0; i < count; i++)
        to[i] = bordered[((int32_t)round_even(y[i]) + 2) * stride + (int32_t)round_even(x[i]) + 2];
}

/* The weight of the two pixels starting at `first` that are within [0, size). */
static inline float coverage(int32_t first, float part, int size)
{
    return (first >= 0 && first < size ? 1 - part : 0) +
           (first >= -1 && first < size - 1 ? part : 0);
}

static inline int32_t floor_of(float x)
{
    const int32_t cut = (int32_t)x;
    return cut - (x < (float)cut);
}

static void ISA(bilinear)(const uint8_t *bordered, int height, int width, int fill, const float *x,
                          const float *y, uint8_t *to, size_t count)
{
    const ptrdiff_t stride = width + 4;
    for (size_t i = 0; i < count; i++) {
        const int32_t column = floor_of(x[i]), row = floor_of(y[i]);
        const float right = x[i] - (float)column, down = y[i] - (float)row;
        const uint8_t *const p = bordered + (row + 2) * stride + column + 2;
        const float upper = p[0] * (1 - right) + p[1] * right;
        const float lower = p[stride] * (1 - right) + p[stride + 1] * right;
        const float found = upper * (1 - down) + lower * down;
        const float cover = coverage(column, right, width) * coverage(row, down, height);
        const float blended = fill < 0 ? found : (found - (float)fill) * cover + (float)fill;
        to[i] = (uint8_t)(int32_t)round_even(clip(blended, 255));
    }
}

const dn_pixel_kernels ISA(dn_pixels) = {
    .sum_rows = ISA(sum_rows),
    .turn = ISA(turn),
    .add_bytes = ISA(add_bytes),
    .add_floats = ISA(add_floats),
    .round = ISA(round),
    .grey = ISA(grey),
    .scale = ISA(scale),
    .blend = ISA(blend),
    .hue = ISA(hue),
    .places = ISA(places),
    .nearest = ISA(nearest),
    .bilinear = ISA(bilinear),
};
