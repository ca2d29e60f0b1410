/*
 * Sums over pixels by channel, and the mean and std from them. The sums are integers, so their bits
 * do not depend on the order; they hold 10^14 pixels.
 */
#ifndef DN_PIXEL_SUMS_H
#define DN_PIXEL_SUMS_H

#include "dn/image.h"
#include "dn/transform.h"

/* Zeroed at first. */
typedef struct dn_pixel_sums {
    int64_t pixels;
    int64_t sum[DN_MAX_IMAGE_CHANNELS], squares[DN_MAX_IMAGE_CHANNELS];
} dn_pixel_sums;

/* Adds pixels(count, channels, height, width), using all threads. Thread-safe. */
void dn_pixel_sums_add(dn_pixel_sums *sums, const dn_data_info *info, const uint8_t *pixels,
                       int64_t count);

/* Adds the pixels of an image. */
void dn_pixel_sums_add_image(dn_pixel_sums *sums, const dn_pixels *image);

/* Adds the sums of another thread. Thread-safe. */
void dn_pixel_sums_merge(dn_pixel_sums *sums, const dn_pixel_sums *more);

/* Sets mean and std of `info`, for pixels in [0, 1]; each is rounded once, and std divides by the
 * number of pixels (not n - 1). */
void dn_pixel_statistics(const dn_pixel_sums *sums, dn_data_info *info);

#endif
