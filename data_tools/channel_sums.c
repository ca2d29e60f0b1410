/* Exact channel statistics; see channel_sums.h. */
#include "channel_sums.h"

#include <math.h>

void dn_channel_sums_add(dn_channel_sums *sums, const uint8_t *image, int channels, int pixels)
{
    sums->pixels += pixels;
    for (int c = 0; c < channels; c++, image += pixels) {
        int64_t sum = 0, squares = 0;
        for (int i = 0; i < pixels; i++) {
            sum += image[i];
            squares += image[i] * image[i];
        }
        sums->sum[c] += sum;
        sums->squares[c] += squares;
    }
}

void dn_channel_sums_merge(dn_channel_sums *sums, const dn_channel_sums *other)
{
    sums->pixels += other->pixels;
    for (int c = 0; c < DN_MAX_CHANNELS; c++) {
        sums->sum[c] += other->sum[c];
        sums->squares[c] += other->squares[c];
    }
}

void dn_channel_sums_result(const dn_channel_sums *sums, int channels, double *mean,
                            double *deviation)
{
    const double n = (double)sums->pixels;
    for (int c = 0; c < channels; c++) {
        /* n^2 times the variance, which an int64_t cannot hold and a double difference would
         * cancel in */
        const __int128 spread =
            (__int128)sums->pixels * sums->squares[c] - (__int128)sums->sum[c] * sums->sum[c];
        mean[c] = (double)sums->sum[c] / (255.0 * n);
        deviation[c] = sqrt((double)spread) / (255.0 * n);
    }
}
