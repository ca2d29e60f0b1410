/* A split's description; see include/dn/source.h. */
#include "dn/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <xxhash.h>

/* classes(classes) += the images of the classes, from those of each set. */
static void add_sets(const dn_source *source, const int64_t *images, int64_t *classes)
{
    const uint8_t *has = source->label_sets;
    for (int s = 0; s < source->info.label_sets; s++)
        for (int c = 0; c < source->info.classes; c++)
            classes[c] += *has++ ? images[s] : 0;
}

dn_status dn_source_count(const dn_source *source, int64_t **count)
{
    const int labels = dn_label_count(&source->info), has_sets = source->label_sets != NULL;
    int64_t *const images = calloc((size_t)labels, sizeof *images);
    *count = has_sets ? calloc((size_t)source->info.classes, sizeof **count) : images;
    if (!images || !*count) {
        free(images);
        if (has_sets)
            free(*count);
        *count = NULL;
        return dn_fail(DN_ENOMEM, "out of memory for the images of %d labels", labels);
    }
    for (int64_t i = 0; i < source->count; i++)
        images[source->labels[i]]++;
    if (has_sets) {
        add_sets(source, images, *count);
        free(images);
    }
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
