/* Batches of normalised, augmented images; see dn/images.h. */
#include "dn/images.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "dn/rng.h"

enum { PAD = 4 };

typedef struct window {
    int top, left, flip; /* pixel (r, c) comes from (r + top, c + left), or mirrored */
} window;

static window draw_crop(const dn_batch *batch, int64_t position)
{
    if (!batch->augment)
        return (window){0};
    const dn_random4 r =
        dn_random(batch->seed, DN_STREAM_AUGMENT, batch->epoch, (uint64_t)position);
    return (window){.top = (int)dn_random_below(r.word[0], 2 * PAD + 1) - PAD,
                    .left = (int)dn_random_below(r.word[1], 2 * PAD + 1) - PAD,
                    .flip = (int)(r.word[2] >> 31)};
}

/* One channel: normalise by `table`, crop, flip. */
static void copy_plane(const uint8_t *from, int height, int width, const window *crop,
                       const float table[256], float *to)
{
    for (int r = 0; r < height; r++, to += width) {
        const int y = r + crop->top;
        if (y < 0 || y >= height) {
            memset(to, 0, (size_t)width * sizeof *to);
            continue;
        }
        for (int c = 0; c < width; c++) {
            const int x = (crop->flip ? width - 1 - c : c) + crop->left;
            to[c] = x < 0 || x >= width ? 0 : table[from[(size_t)y * (size_t)width + (size_t)x]];
        }
    }
}

void dn_images_describe(const dn_images *images, char *text, size_t size)
{
    const dn_shard_info *info = &images->info;
    const uint64_t labels =
        XXH3_64bits(images->labels, (size_t)images->count * sizeof *images->labels);
    snprintf(text, size,
             "%s (%" PRId64 " images of %d x %d x %d, mean %.6f, labels %016" PRIx64 ")",
             info->dataset, images->count, info->channels, info->height, info->width,
             (float)info->mean[0], labels);
}

void dn_images_batch(const dn_images *images, const dn_batch *batch, float *to, int32_t *labels)
{
    const dn_shard_info *info = &images->info;
    const size_t plane = (size_t)info->height * (size_t)info->width, image = dn_image_values(info);
    float table[DN_MAX_IMAGE_CHANNELS][256];
    for (int c = 0; c < info->channels; c++)
        for (int v = 0; v < 256; v++)
            table[c][v] = ((float)v / 255 - (float)info->mean[c]) / (float)info->std[c];
#pragma omp parallel for schedule(static)
    for (int i = 0; i < batch->count; i++) {
        const int64_t position = batch->position + i;
        const size_t index = batch->order ? batch->order[position] : (size_t)position;
        const window crop = draw_crop(batch, position);
        for (int c = 0; c < info->channels; c++)
            copy_plane(images->pixels + index * image + (size_t)c * plane, info->height,
                       info->width, &crop, table[c], to + (size_t)i * image + (size_t)c * plane);
        labels[i] = images->labels[index];
    }
}
