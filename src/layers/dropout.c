/* Dropout (Srivastava et al. 2014) of a layer's outputs; see gemm.h. */
#include "dn/rng.h"
#include "layers/gemm.h"

/* The draw belongs to (step, virtual rank, layer and channel, image and pixel). */
static uint64_t pass_number(const dn_pass *pass)
{
    return pass->step * 65536 + pass->virtual_rank;
}

static uint64_t channel_number(const dn_visit *v, int channel)
{
    return ((uint64_t)v->layer->index << 16 | (uint64_t)channel) << 32;
}

float dn_dropout_channel(const dn_visit *v, const dn_pass *pass, int64_t image, int channel,
                         float rate)
{
    const uint64_t b = channel_number(v, channel) | (uint64_t)image;
    const uint32_t word = dn_random(pass->seed, DN_STREAM_CHANNELS, pass_number(pass), b).word[0];
    return dn_random_unit(word) < rate ? 0 : 1 / (1 - rate);
}

static void drop_channel(const dn_visit *v, const dn_pass *pass, const dn_padded *padded, int image,
                         int channel, float *row)
{
    for (int i = 0; i < padded->images; i++) {
        const float factor =
            dn_dropout_channel(v, pass, image + i, channel, v->layer->channel_dropout);
        for (int r = 0; r < padded->rows; r++) {
            float *p = row + (size_t)(i * padded->image_rows + padded->skip + r) * padded->pitch;
            for (int c = 0; c < padded->width; c++)
                p[c] *= factor;
        }
    }
}

/* `first` is the row's first pixel, counted over all images. */
static void drop_values(const dn_visit *v, const dn_pass *pass, const dn_padded *padded,
                        uint64_t first, int channel, float *row)
{
    const float rate = v->layer->dropout, keep = 1 / (1 - rate);
    const uint64_t pixels = dn_layout_pixels(&v->out->layout);
    for (int i = 0; i < padded->images; i++)
        for (int r = 0; r < padded->rows; r++) {
            float *p = row + (size_t)(i * padded->image_rows + padded->skip + r) * padded->pitch;
            for (int c = 0; c < padded->width; c++) {
                const uint64_t at = first + (uint64_t)i * pixels +
                                    (uint64_t)r * (uint64_t)padded->width + (uint64_t)c;
                const uint32_t word = dn_random(pass->seed, DN_STREAM_DROPOUT, pass_number(pass),
                                                channel_number(v, channel) | at)
                                          .word[0];
                p[c] *= dn_random_unit(word) < rate ? 0 : keep;
            }
        }
}

void dn_dropout(const dn_visit *v, const dn_pass *pass, const dn_padded *padded,
                const dn_piece *piece, ptrdiff_t source, int channel, float *row)
{
    const dn_layout *layout = &v->out->layout;
    const uint64_t before = (uint64_t)piece->block * (uint64_t)layout->block_images; /* images */
    const uint64_t first =
        before * dn_layout_pixels(layout) + piece->offset + (uint64_t)(int64_t)source;
    if (v->layer->dropout > 0)
        drop_values(v, pass, padded, first, channel, row);
    if (v->layer->channel_dropout > 0)
        drop_channel(v, pass, padded, piece->image, channel, row);
}
