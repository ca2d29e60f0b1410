/* Dropout (Srivastava et al. 2014) of a layer's outputs; see gemm.h. */
#include "dn/rng.h"
#include "layers/gemm.h"

/* The draw belongs to (step, virtual rank, layer and channel, image and pixel). */
void dn_dropout(const dn_visit *v, const dn_pass *pass, const dn_padded *padded, int image,
                size_t pixel, int channel, float *row)
{
    const float keep = 1 / (1 - v->options->dropout);
    const uint64_t a = pass->step * 65536 + pass->virtual_rank;
    const uint64_t plane = (uint64_t)v->layer->index << 16 | (uint64_t)channel;
    const uint64_t pixels = dn_layout_pixels(&v->out->layout);
    for (int i = 0; i < padded->images; i++)
        for (int r = 0; r < padded->rows; r++) {
            float *p = row + (size_t)(i * padded->image_rows + padded->skip + r) * padded->pitch;
            for (int c = 0; c < padded->width; c++) {
                const uint64_t at = (uint64_t)(image + i) * pixels + pixel +
                                    (uint64_t)r * (uint64_t)padded->width + (uint64_t)c;
                const uint32_t word =
                    dn_random(pass->seed, DN_STREAM_DROPOUT, a, plane << 32 | at).word[0];
                p[c] *= dn_random_unit(word) < v->options->dropout ? 0 : keep;
            }
        }
}
