/* Exact mean and standard deviation per channel: integer sums over bytes, rounded once. */
#ifndef DN_CHANNEL_SUMS_H
#define DN_CHANNEL_SUMS_H

#include "dn/manifest.h"

/* Sums over the pixels seen so far. Good for 10^14 pixels. */
typedef struct dn_channel_sums {
    int64_t pixels, sum[DN_MAX_CHANNELS], squares[DN_MAX_CHANNELS];
} dn_channel_sums;

/* Adds one image (channels, pixels). */
void dn_channel_sums_add(dn_channel_sums *sums, const uint8_t *image, int channels, int pixels);

/* sums += other */
void dn_channel_sums_merge(dn_channel_sums *sums, const dn_channel_sums *other);

/* mean and deviation (channels) of the pixels on [0, 1]; the deviation divides by their number. */
void dn_channel_sums_result(const dn_channel_sums *sums, int channels, double *mean,
                            double *deviation);

#endif
