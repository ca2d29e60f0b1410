/* Mixup and CutMix; see include/dn/mixing.h. */
#include "dn/mixing.h"

#include <math.h>

#include "dn/math.h"
#include "dn/rng.h"
#include "dn/spec.h"

/* A sequence of draws for one batch. */
typedef struct draws {
    uint64_t seed, batch, next; /* next: the number of the next draw */
} draws;

static dn_random4 next_draw(draws *d)
{
    return dn_random(d->seed, DN_STREAM_MIXING, d->batch, d->next++);
}

/* In (0, 1). */
static double open_unit(uint32_t word)
{
    return (word + 0.5) * 0x1p-32;
}

/* The logarithm of a draw from Gamma(shape, 1) (Marsaglia and Tsang 2000): draws for small shapes
 * underflow a double. */
static double log_gamma_draw(draws *d, double shape)
{
    const double boost = shape < 1 ? dn_log(open_unit(next_draw(d).word[0])) / shape : 0;
    const double least = (shape < 1 ? shape + 1 : shape) - 1.0 / 3;
    for (;;) {
        const dn_random4 r = next_draw(d);
        const double radius = sqrt(-2 * dn_log(open_unit(r.word[0])));
        const double normal = radius * dn_cos(2 * DN_PI * r.word[1] * 0x1p-32);
        const double root = 1 + normal / sqrt(9 * least), cube = root * root * root;
        if (root > 0 &&
            dn_log(open_unit(r.word[2])) < normal * normal / 2 + least * (1 - cube + dn_log(cube)))
            return dn_log(least * cube) + boost;
    }
}

/* From Beta(alpha, alpha). */
static double beta_draw(draws *d, double alpha)
{
    const double own = log_gamma_draw(d, alpha), other = log_gamma_draw(d, alpha);
    return 1 / (1 + dn_exp(fmin(other - own, 700)));
}

static int clamp(int x, int most)
{
    return x < 0 ? 0 : x < most ? x : most;
}

/* A box with the ratio's area at a random centre, clipped to the image; the share follows from the
 * clipped box. */
static dn_mix draw_box(draws *d, double ratio, int height, int width)
{
    const dn_random4 r = next_draw(d);
    const int x = (int)dn_random_below(r.word[0], (uint32_t)width);
    const int y = (int)dn_random_below(r.word[1], (uint32_t)height);
    const double half = 0.5 * sqrt(1 - ratio);
    const int half_width = (int)(half * width), half_height = (int)(half * height);
    dn_mix mix = {.top = clamp(y - half_height, height),
                  .bottom = clamp(y + half_height, height),
                  .left = clamp(x - half_width, width),
                  .right = clamp(x + half_width, width)};
    const double pixels = (double)(mix.bottom - mix.top) * (mix.right - mix.left);
    mix.share = (float)(1 - pixels / ((double)height * width));
    return mix;
}

dn_mix dn_mix_draw(const dn_mixing *mixing, uint64_t seed, uint64_t step, uint64_t virtual_rank,
                   int height, int width)
{
    if (mixing->mixup <= 0 && mixing->cutmix <= 0)
        return (dn_mix){.share = 1};
    draws d = {.seed = seed, .batch = step * 65536 + virtual_rank};
    const int is_cut = mixing->mixup <= 0 ||
                       (mixing->cutmix > 0 && dn_random_below(next_draw(&d).word[0], 2) == 1);
    const double ratio = beta_draw(&d, is_cut ? mixing->cutmix : mixing->mixup);
    return is_cut ? draw_box(&d, ratio, height, width) : (dn_mix){.share = (float)ratio};
}

/* One channel: mixes each image with the original of the one before it, starting with the last
 * image. */
static void mix_plane(const dn_mix *mix, float *plane, int batch, size_t image, int height,
                      int width, float *last)
{
    const int is_cut = mix->bottom > mix->top && mix->right > mix->left;
    const int top = is_cut ? mix->top : 0, bottom = is_cut ? mix->bottom : height;
    const int left = is_cut ? mix->left : 0, right = is_cut ? mix->right : width;
    const float share = is_cut ? 0 : mix->share; /* of what is in the box */
    for (int y = top; y < bottom; y++) {
        float *row = plane + (size_t)y * (size_t)width;
        for (int x = left; x < right; x++)
            last[x] = row[(size_t)(batch - 1) * image + (size_t)x];
        for (int i = batch - 1; i >= 0; i--) {
            float *own = row + (size_t)i * image;
            const float *other = i > 0 ? own - image : last;
            for (int x = left; x < right; x++)
                own[x] = (1 - share) * other[x] + share * own[x];
        }
    }
}

void dn_mix_images(const dn_mix *mix, float *images, int batch, int channels, int height, int width)
{
    const size_t plane = (size_t)height * (size_t)width;
    if (mix->share >= 1) /* of an empty box, too */
        return;
#pragma omp parallel for schedule(static)
    for (int c = 0; c < channels; c++) {
        float last[DN_MAX_SIDE];
        mix_plane(mix, images + (size_t)c * plane, batch, (size_t)channels * plane, height, width,
                  last);
    }
}
