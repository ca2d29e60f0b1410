/*
 * Resizing with the bilinear filter and antialiasing, as PIL and torchvision do it: each pixel is
 * the mean under a triangle as wide as two input pixels, or two output pixels where those are
 * larger. Whole-number arithmetic: the same bits on every machine.
 */
#ifndef DN_RESIZE_H
#define DN_RESIZE_H

#include "dn/image.h"
#include "dn/kernels.h"

/* The loops over pixels (src/transforms), compiled for the table's instructions: the same bits with
 * all. */
struct dn_pixel_kernels;
const struct dn_pixel_kernels *dn_pixel_kernels_of(const dn_kernels *kernels);

/* An image(height, width, channels) of bytes. */
typedef struct dn_raster {
    const uint8_t *bytes;
    int height, width, channels;
} dn_raster;

/* to(channels, height, width) = the box of `from`, resized; only what `bounds` touches of the image
 * counts. Both lie within it. Works in the buffer. DN_ENOMEM. */
dn_status dn_resize(const struct dn_pixel_kernels *kernels, dn_buffer *buffer,
                    const dn_raster *from, const dn_box *box, const dn_box *bounds, int height,
                    int width, uint8_t *to);

#endif
