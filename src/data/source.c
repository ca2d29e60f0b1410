/* A split's description; see dn/source.h. */
#include "dn/source.h"

#include <inttypes.h>
#include <stdio.h>

#include <xxhash.h>

void dn_source_describe(const dn_source *source, char *text, size_t size)
{
    const dn_data_info *info = &source->info;
    const uint64_t labels =
        XXH3_64bits(source->labels, (size_t)source->count * sizeof *source->labels);
    snprintf(text, size,
             "%s (%" PRId64 " images of %d x %d x %d, mean %.6f, labels %016" PRIx64 ")",
             info->dataset, source->count, info->channels, info->height, info->width,
             (float)info->mean[0], labels);
}
