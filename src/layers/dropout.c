/* See dropout.h. */
#include "layers/dropout.h"

#include "dn/rng.h"

/* The key of a draw: step and virtual rank; with it the layer and channel, and an image or four of
 * its values. */
static uint64_t pass_number(const dn_pass *pass)
{
    return pass->step * 65536 + pass->virtual_rank;
}

static uint64_t channel_number(const dn_visit *v, int channel)
{
    return ((uint64_t)v->layer->index << 16 | (uint64_t)channel) << 32;
}

float dn_dropout_channel(const dn_visit *v, const dn_pass *pass, int64_t image, int channel)
{
    const float rate = v->layer->channel_dropout;
    const uint64_t b = channel_number(v, channel) | (uint64_t)image;
    const uint32_t word = dn_random(pass->seed, DN_STREAM_CHANNELS, pass_number(pass), b).word[0];
    return dn_random_unit(word) < rate ? 0 : 1 / (1 - rate);
}

static void drop_channel(const dn_visit *v, const dn_pass *pass, const dn_padded *padded, int image,
                         int channel, float *row)
{
    for (int i = 0; i < padded->images; i++) {
        const float factor = dn_dropout_channel(v, pass, image + i, channel);
        for (int r = 0; r < padded->rows; r++) {
            float *p = row + (size_t)(i * padded->image_rows + padded->skip + r) * padded->pitch;
            for (int c = 0; c < padded->width; c++)
                p[c] *= factor;
        }
    }
}

enum { WORDS = 4 /* per draw, one for each value */, FACTORS = 512 /* per multiplication */ };

/* factor(count) = the factors of the channel's values `first`, first + 1, ... Returns their
 * address, since a draw covers values 4 i to 4 i + 3. */
static const float *draw_factors(const dn_visit *v, const dn_pass *pass, int channel,
                                 uint64_t first, size_t count, float factor[FACTORS + WORDS])
{
    const float rate = v->layer->dropout, keep = 1 / (1 - rate);
    const uint64_t seed = pass->seed, a = pass_number(pass), b = channel_number(v, channel);
    const uint32_t draw = (uint32_t)(first / WORDS), begin = (uint32_t)(first % WORDS);
    const uint32_t draws = (begin + (uint32_t)count + WORDS - 1) / WORDS;
#pragma omp simd
    for (uint32_t i = 0; i < draws; i++) {
        const dn_random4 r = dn_random(seed, DN_STREAM_DROPOUT, a, b | (draw + i));
        for (int w = 0; w < WORDS; w++)
            factor[WORDS * i + (uint32_t)w] = dn_random_unit(r.word[w]) < rate ? 0 : keep;
    }
    return factor + begin;
}

/* row[at ... end) *= factor, of the values of image `image` in the padded layout. */
static void multiply(const dn_padded *padded, int image, size_t at, size_t end, const float *factor,
                     float *row)
{
    const size_t width = (size_t)padded->width;
    while (at < end) {
        const size_t r = at / width, c = at % width, left = width - c;
        const size_t count = left < end - at ? left : end - at;
        float *p = row + (size_t)(image * padded->image_rows + padded->skip) * padded->pitch +
                   r * padded->pitch + c;
        for (size_t k = 0; k < count; k++)
            p[k] *= factor[k];
        factor += count;
        at += count;
    }
}

/* `first`: the row's first pixel, counted over all images; then each image's. */
static void drop_values(const dn_visit *v, const dn_pass *pass, const dn_padded *padded,
                        uint64_t first, int channel, float *row)
{
    float factor[FACTORS + WORDS];
    const size_t n = (size_t)padded->rows * (size_t)padded->width;
    for (int i = 0; i < padded->images; i++, first += dn_layout_pixels(&v->out->layout))
        for (size_t at = 0; at < n; at += FACTORS) {
            const size_t end = at + FACTORS < n ? at + FACTORS : n;
            multiply(padded, i, at, end,
                     draw_factors(v, pass, channel, first + at, end - at, factor), row);
        }
}

void dn_dropout(const dn_visit *v, const dn_pass *pass, const dn_padded *padded,
                const dn_piece *piece, ptrdiff_t source, int channel, float *row)
{
    const dn_layout *layout = &v->out->layout;
    const uint64_t before = (uint64_t)piece->strip * (uint64_t)layout->strip_images; /* images */
    const uint64_t first =
        before * dn_layout_pixels(layout) + piece->offset + (uint64_t)(int64_t)source;
    if (v->layer->dropout > 0)
        drop_values(v, pass, padded, first, channel, row);
    if (v->layer->channel_dropout > 0)
        drop_channel(v, pass, padded, piece->image, channel, row);
}
