/*
 * The pixel loops, compiled once per dn_level from one source without contraction: bit-identical.
 */
#ifndef DN_TRANSFORMS_PIXEL_KERNELS_H
#define DN_TRANSFORMS_PIXEL_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { DN_PIXEL_WEIGHT_BITS = 22 }; /* fractional bits of a weight: 255 times it fits an int */

/*
 * The source coordinates of the pixels of an image(height, width), in float with torchvision's
 * rounding, so that ties between two pixels are resolved alike. Pixel (x, y) is at b = (left + x,
 * top + y) and is taken from
 *
 *     (m[0] b + m[1] b + m[2], m[3] b + m[4] b + m[5]) / (m[6] b + m[7] b + 1) - origin
 *
 * where the image extends from -1 to 1.
 */
typedef struct dn_grid {
    int height, width;
    float left, top, m[8], origin;
} dn_grid;

typedef struct dn_pixel_kernels {
    /* to(count) = the weighted sum of `taps` rows, `stride` bytes apart, rounded; weights are in
     * units of 2^-DN_PIXEL_WEIGHT_BITS and sum to 1. */
    void (*sum_rows)(const uint8_t *from, size_t stride, const int32_t *weight, int taps,
                     uint8_t *to, size_t count);

    /* to(columns, rows) = the transpose of from(rows, columns); strides are between rows. */
    void (*turn)(const uint8_t *from, size_t from_stride, size_t rows, size_t columns, uint8_t *to,
                 size_t to_stride);

    /* sum(count) += weight x row. */
    void (*add_bytes)(const uint8_t *row, float weight, float *sum, size_t count);
    void (*add_floats)(const float *row, float weight, float *sum, size_t count);

    /* to(count) = x, from 0 to 255, rounded to nearest, ties to even. */
    void (*round)(const float *x, uint8_t *to, size_t count);

    /* grey(count) = the luma of red, green and blue, truncated. */
    void (*grey)(const uint8_t *planes, size_t plane, uint8_t *grey);

    /* x(count) = ratio x + rest, and ratio x + (1 - ratio) other, clamped and truncated. */
    void (*scale)(uint8_t *x, float ratio, float rest, size_t count);
    void (*blend)(uint8_t *x, const uint8_t *other, float ratio, size_t count);

    /* planes(3, plane): rotates the hue by a fraction of the circle. */
    void (*hue)(uint8_t *planes, size_t plane, float part);

    /* x, y(count) = the source coordinates of the pixels starting at (column, row), at most two
     * pixels outside. */
    void (*places)(const dn_grid *grid, int column, int row, float *x, float *y, size_t count);

    /* to(count) = the pixels nearest to, or interpolated at, these coordinates in an image(height,
     * width) with a border of two pixels on all sides. */
    void (*nearest)(const uint8_t *bordered, int width, const float *x, const float *y, uint8_t *to,
                    size_t count);
    void (*bilinear)(const uint8_t *bordered, int height, int width, int fill, const float *x,
                     const float *y, uint8_t *to, size_t count);
} dn_pixel_kernels;

#endif
