/* A split's description; see include/dn/source.h. */
#include "dn/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <xxhash.h>

/* From images(label_sets) of each set. */
static void count_sets(const dn_source *source, const int64_t *images, int64_t *present,
                       int64_t *known)
{
    const uint8_t *has = source->label_sets;
    for (int s = 0; s < source->info.label_sets; s++)
        for (int c = 0; c < source->info.classes; c++, has++) {
            present[c] += *has == DN_PRESENT ? images[s] : 0;
            known[c] += *has != DN_UNKNOWN ? images[s] : 0;
        }
}

dn_status dn_source_count(const dn_source *source, int64_t **count)
{
    const int classes = source->info.classes, labels = dn_label_count(&source->info);
    int64_t *const images = calloc((size_t)labels, sizeof *images);
    *count = images ? calloc(2 * (size_t)classes, sizeof **count) : NULL;
    for (int64_t i = 0; i < source->count && *count; i++)
        images[source->labels[i]]++;
    if (*count && source->label_sets)
        count_sets(source, images, *count, *count + classes);
    for (int c = 0; c < classes && *count && !source->label_sets; c++) {
        (*count)[c] = images[c];
        (*count)[classes + c] = source->count;
    }
    free(images);
    DN_CHECK(*count, DN_ENOMEM, "out of memory for the images of %d labels", labels);
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
