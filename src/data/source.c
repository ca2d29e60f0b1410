/* A split's description; see include/dn/source.h. */
#include "dn/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

dn_status dn_source_count(const dn_source *source, int64_t *count)
{
    const size_t classes = (size_t)source->info.classes;
    const int labels = dn_label_count(&source->info);
    int64_t *const images = calloc((size_t)labels, sizeof *images);
    DN_CHECK(images, DN_ENOMEM, "out of memory for the images of %d labels", labels);
    for (int64_t i = 0; i < source->count; i++)
        images[source->labels[i]]++;
    memset(count, 0, classes * sizeof *count);
    for (size_t s = 0; s < (size_t)source->info.label_sets; s++)
        for (size_t c = 0; c < classes; c++)
            count[c] += source->label_sets[s * classes + c] ? images[s] : 0;
    if (source->info.label_sets == 0)
        memcpy(count, images, classes * sizeof *count);
    free(images);
    return DN_OK;
}

void dn_source_describe(const dn_source *source, char *text, size_t size)
{
    const dn_data_info *info = &source->info;
    const uint64_t sets = (uint64_t)info->label_sets * (uint64_t)info->classes;
    const uint64_t labels =
        XXH3_64bits_withSeed(source->labels, (size_t)source->count * sizeof *source->labels,
                             sets > 0 ? XXH3_64bits(source->label_sets, sets) : 0);
    snprintf(text, size,
             "%s (%" PRId64 " images of %d x %d x %d, mean %.6f, labels %016" PRIx64 ")",
             info->dataset, source->count, info->channels, info->height, info->width,
             (float)info->mean[0], labels);
}
