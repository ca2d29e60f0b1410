/*
 * The loops over pixels, compiled once a dn_level from one source without contraction: all have the
 * same bits.
 */
#ifndef DN_TRANSFORMS_PIXEL_KERNELS_H
#define DN_TRANSFORMS_PIXEL_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { DN_PIXEL_WEIGHT_BITS = 22 }; /* of a weight's fraction: 255 times it fits an int */

/*
 * Where the pixels of an image(height, width) come from, in float and as torchvision rounds it, so
 * that what lies in the middle between two pixels falls to the same. Pixel (x, y) is at
 * b = (left + x, top + y), and comes from
 *
 *     (m[0] b + m[1] b + m[2], m[3] b + m[4] b + m[5]) / (m[6] b + m[7] b + 1) - origin
 *
 * where the image reaches from -1 to 1.
 */
typedef struct dn_grid {
    int height, width;
    float left, top, m[8], origin;
} dn_grid;

typedef struct dn_pixel_kernels {
    /* to(count) = the weighted sum of `taps` rows, `stride` bytes apart, rounded; the weights are
     * in units of 2^-DN_PIXEL_WEIGHT_BITS, and sum to 1. */
    void (*sum_rows)(const uint8_t *from, size_t stride, const int32_t *weight, int taps,
                     uint8_t *to, size_t count);

    /* to(columns, rows) = from(rows, columns), turned; strides from row to row. */
    void (*turn)(const uint8_t *from, size_t from_stride, size_t rows, size_t columns, uint8_t *to,
                 size_t to_stride);

    /* sum(count) += weight x row. */
    void (*add_bytes)(const uint8_t *row, float weight, float *sum, size_t count);
    void (*add_floats)(const float *row, float weight, float *sum, size_t count);

    /* to(count) = x, from 0 to 255, rounded to nearest, ties to even. */
    void (*round)(const float *x, uint8_t *to, size_t count);

    /* grey(count) = the luma of red, green and blue, cut to a whole number. */
    void (*grey)(const uint8_t *planes, size_t plane, uint8_t *grey);

    /* x(count) = ratio x + rest, and ratio x + (1 - ratio) other, clamped and cut. */
    void (*scale)(uint8_t *x, float ratio, float rest, size_t count);
    void (*blend)(uint8_t *x, const uint8_t *other, float ratio, size_t count);

    /* planes(3, plane): the hue turned by a part of the circle. */
    void (*hue)(uint8_t *planes, size_t plane, float part);

    /* x, y(count) = where the pixels from (column, row) on come from, at most two pixels outside.
     */
    void (*places)(const dn_grid *grid, int column, int row, float *x, float *y, size_t count);

    /* to(count) = the pixels nearest to, or interpolated at these places of an image(height, width)
     * that has a border of two pixels all around. */
    void (*nearest)(const uint8_t *bordered, int width, const float *x, const float *y, uint8_t *to,
                    size_t count);
    void (*bilinear)(const uint8_t *bordered, int height, int width, int fill, const float *x,
                     const float *y, uint8_t *to, size_t count);
} dn_pixel_kernels;

#endif
