/* Draws from Philox4x32-10; see include/dn/rng.h. */
#include "dn/rng.h"

#include <math.h>

#include "dn/math.h"

void dn_random_normal(float *x, size_t count, double deviation, uint64_t seed, dn_stream stream,
                      uint64_t a)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i += 2) {
        const dn_random4 r = dn_random(seed, stream, a, i / 2);
        const uint64_t high = (uint64_t)r.word[0] << 21 | r.word[1] >> 11;
        const double u = ((double)high + 1) * 0x1p-53; /* in (0, 1]: the logarithm is finite */
        const double radius = deviation * sqrt(-2 * dn_log(u));
        const double angle = 2 * DN_PI * r.word[2] * 0x1p-32;
        x[i] = (float)(radius * dn_cos(angle));
        if (i + 1 < count)
            x[i + 1] = (float)(radius * dn_sin(angle));
    }
}

void dn_random_uniform(float *x, size_t count, double bound, uint64_t seed, dn_stream stream,
                       uint64_t a)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i++) {
        const uint32_t word = dn_random(seed, stream, a, i).word[0];
        x[i] = (float)((2 * (word * 0x1p-32) - 1) * bound);
    }
}

/* Fisher-Yates; the draws are numbered starting at `first`. */
static void permute(uint32_t *index, size_t count, uint64_t seed, uint64_t epoch, uint64_t first)
{
    for (size_t i = count; i > 1; i--) {
        const dn_random4 r = dn_random(seed, DN_STREAM_SHUFFLE, epoch, first + i);
        const size_t j = dn_random_below(r.word[0], (uint32_t)i);
        const uint32_t swap = index[i - 1];
        index[i - 1] = index[j];
        index[j] = swap;
    }
}

void dn_random_permutation(uint32_t *index, size_t count, uint64_t seed, uint64_t epoch)
{
    for (size_t i = 0; i < count; i++)
        index[i] = (uint32_t)i;
    permute(index, count, seed, epoch, 0);
}

/* Replaces the run numbers at the start of the array by the elements of these runs; from the last
 * run backwards, so that nothing is overwritten before it is read. */
static void expand_runs(uint32_t *index, size_t count)
{
    const size_t last = (count - 1) / DN_NEIGHBOURS;
    size_t end = count;
    for (size_t r = last + 1; r-- > 0;) {
        const size_t run = index[r];
        const size_t length = run < last ? DN_NEIGHBOURS : count - last * DN_NEIGHBOURS;
        end -= length;
        for (size_t i = 0; i < length; i++)
            index[end + i] = (uint32_t)(run * DN_NEIGHBOURS + i);
    }
}

void dn_random_order(uint32_t *index, size_t count, size_t window, uint64_t seed, uint64_t epoch)
{
    if (window == 0 || count == 0) {
        dn_random_permutation(index, count, seed, epoch);
        return;
    }
    dn_random_permutation(index, (count + DN_NEIGHBOURS - 1) / DN_NEIGHBOURS, seed, epoch);
    expand_runs(index, count);
    for (size_t at = 0; at < count; at += window)
        permute(index + at, window < count - at ? window : count - at, seed, epoch,
                (UINT64_C(1) << 32) + at);
}
