/*
 * Resizing with the antialiased bilinear filter of PIL and torchvision: each output pixel is the
 * mean under a triangle filter two input pixels wide, or two output pixels if those are larger.
 * Integer arithmetic: the same result on every machine. Not collective.
 */
#ifndef DN_RESIZE_H
#define DN_RESIZE_H

#include "dn/image.h"
#include "dn/kernels.h"

/* The pixel loops (src/transforms) compiled for the table's instructions: bit-identical in all
 * tables. */
struct dn_pixel_kernels;
const struct dn_pixel_kernels *dn_pixel_kernels_of(const dn_kernels *kernels);

/* An image(height, width, channels) of bytes; not owned. */
typedef struct dn_raster {
    const uint8_t *bytes;
    int height, width, channels;
} dn_raster;

/* to(channels, height, width) = the box of `from`, resized. Only pixels that `bounds` touches
 * contribute. Both boxes must lie within the image. `buffer` is working memory. Errors: DN_ENOMEM.
 */
dn_status dn_resize(const struct dn_pixel_kernels *kernels, dn_buffer *buffer,
                    const dn_raster *from, const dn_box *box, const dn_box *bounds, int height,
                    int width, uint8_t *to);

#endif
