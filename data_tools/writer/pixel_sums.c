/* Sums over pixels; see pixel_sums.h. */
#include "writer/pixel_sums.h"

#include <math.h>

void dn_pixel_sums_merge(dn_pixel_sums *sums, const dn_pixel_sums *more)
{
#pragma omp critical(dn_pixel_sums)
    {
        sums->pixels += more->pixels;
        for (int c = 0; c < DN_MAX_IMAGE_CHANNELS; c++) {
            sums->sum[c] += more->sum[c];
            sums->squares[c] += more->squares[c];
        }
    }
}

void dn_pixel_sums_add(dn_pixel_sums *sums, const dn_data_info *info, const uint8_t *pixels,
                       int64_t count)
{
    const size_t image = dn_image_values(info), plane = image / (size_t)info->channels;
    dn_pixel_sums all = {.pixels = count * (int64_t)plane};
    for (int c = 0; c < info->channels; c++, pixels += plane) {
        int64_t sum = 0, squares = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum, squares)
        for (int64_t i = 0; i < count; i++)
            for (size_t p = 0; p < plane; p++) {
                const int64_t x = pixels[(size_t)i * image + p];
                sum += x;
                squares += x * x;
            }
        all.sum[c] = sum;
        all.squares[c] = squares;
    }
    dn_pixel_sums_merge(sums, &all);
}

/* A lane always has the same channel; 65536 squares of a byte fit in 32 bits. */
enum { LANES = 96, MOST_ROUNDS = 65536 };

/* Adds rgb(rounds, LANES). */
static void add_rounds(dn_pixel_sums *sums, const uint8_t *rgb, size_t rounds)
{
    uint32_t sum[LANES] = {0}, squares[LANES] = {0};
    for (size_t round = 0; round < rounds; round++, rgb += LANES)
        for (int i = 0; i < LANES; i++) {
            sum[i] += rgb[i];
            squares[i] += (uint32_t)rgb[i] * rgb[i];
        }
    for (int i = 0; i < LANES; i++) {
        sums->sum[i % 3] += sum[i];
        sums->squares[i % 3] += squares[i];
    }
}

void dn_pixel_sums_add_image(dn_pixel_sums *sums, const dn_pixels *image)
{
    const uint8_t *const rgb = image->rgb.bytes;
    const size_t pixels = (size_t)image->width * (size_t)image->height;
    size_t at = 0, rounds;
    for (; (rounds = (3 * pixels - at) / LANES) > 0; at += rounds * LANES) {
        rounds = rounds < MOST_ROUNDS ? rounds : MOST_ROUNDS;
        add_rounds(sums, rgb + at, rounds);
    }
    for (; at < 3 * pixels; at++) {
        sums->sum[at % 3] += rgb[at];
        sums->squares[at % 3] += rgb[at] * rgb[at];
    }
    sums->pixels += (int64_t)pixels;
}

void dn_pixel_statistics(const dn_pixel_sums *sums, dn_data_info *info)
{
    const int64_t n = sums->pixels;
    for (int c = 0; c < info->channels; c++) {
        const int64_t sum = sums->sum[c];
        /* n^2 times the variance: too large for an int64_t, and a difference of doubles would
         * cancel */
        const __int128 spread = (__int128)n * sums->squares[c] - (__int128)sum * sum;
        info->mean[c] = (double)sum / (255.0 * (double)n);
        info->std[c] = sqrt((double)spread) / (255.0 * (double)n);
    }
}
