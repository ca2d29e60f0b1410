/* The transform of stored pixels, and a split's description; see dn/source.h. */
#include "dn/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "dn/rng.h"

enum { PAD = 4 };

typedef struct window {
    int top, left, flip; /* pixel (r, c) comes from (r + top, c + left), or mirrored */
} window;

static window draw_crop(const dn_transform *t, const dn_request *request)
{
    if (!t->augment)
        return (window){0};
    const dn_random4 r = dn_random(t->seed, DN_STREAM_AUGMENT, (uint64_t)request->epoch,
                                   (uint64_t)request->position);
    return (window){.top = (int)dn_random_below(r.word[0], 2 * PAD + 1) - PAD,
                    .left = (int)dn_random_below(r.word[1], 2 * PAD + 1) - PAD,
                    .flip = (int)(r.word[2] >> 31)};
}

static int clamp(int x, int most)
{
    const int low = x < most ? x : most;
    return low < 0 ? 0 : low;
}

/* One row of a channel. Column c comes from c + left, mirrored where flip: the columns [first,
 * last) from inside the stored row. */
static void crop_row(const uint8_t *from, int width, const window *crop, const float value[256],
                     float *to)
{
    const int shift = crop->flip ? -crop->left : crop->left, step = crop->flip ? -1 : 1;
    const int first = clamp(-shift, width), last = clamp(width - shift, width);
    int x = (crop->flip ? width - 1 - first : first) + crop->left;
    memset(to, 0, (size_t)first * sizeof *to);
    for (int c = first; c < last; c++, x += step)
        to[c] = value[from[x]];
    memset(to + last, 0, (size_t)(width - last) * sizeof *to);
}

dn_transform dn_transform_of(const dn_shard_info *info, int augment, uint64_t seed)
{
    dn_transform t = {.channels = info->channels,
                      .height = info->height,
                      .width = info->width,
                      .augment = augment,
                      .seed = seed};
    for (int c = 0; c < info->channels; c++)
        for (int v = 0; v < 256; v++)
            t.value[c][v] = ((float)v / 255 - (float)info->mean[c]) / (float)info->std[c];
    return t;
}

void dn_transform_apply(const dn_transform *t, const dn_request *request, const uint8_t *pixels,
                        float *to)
{
    const window crop = draw_crop(t, request);
    const size_t width = (size_t)t->width;
    for (int c = 0; c < t->channels; c++, pixels += (size_t)t->height * width)
        for (int r = 0; r < t->height; r++, to += width) {
            const int y = r + crop.top;
            if (y >= 0 && y < t->height)
                crop_row(pixels + (size_t)y * width, t->width, &crop, t->value[c], to);
            else
                memset(to, 0, width * sizeof *to);
        }
}

void dn_source_describe(const dn_source *source, char *text, size_t size)
{
    const dn_shard_info *info = &source->info;
    const uint64_t labels =
        XXH3_64bits(source->labels, (size_t)source->count * sizeof *source->labels);
    snprintf(text, size,
             "%s (%" PRId64 " images of %d x %d x %d, mean %.6f, labels %016" PRIx64 ")",
             info->dataset, source->count, info->channels, info->height, info->width,
             (float)info->mean[0], labels);
}
