/*
 * A readable split: what it holds, and how one of its images becomes the net's input
 * (dn/transform.h).
 *
 * Reading is pure: the result is a function of the request and the transform alone. So batches are
 * the same on any rank or thread, and after a resumption. Not collective.
 */
#ifndef DN_SOURCE_H
#define DN_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "dn/status.h"
#include "dn/transform.h"

/* A split, independent of how it is stored: the first member of a structure that knows its storage,
 * such as dn_split (mpi/training/split.h). Owned by whoever fills it. */
typedef struct dn_source dn_source;

/* image(channels, height, width) = the transformed image, in fp32. Called concurrently by several
 * threads, each with a memory of its own. */
typedef dn_status dn_read_fn(const dn_source *source, const dn_request *request,
                             const dn_transform *transform, dn_transform_memory *memory,
                             float *image);

struct dn_source {
    dn_data_info info;
    int64_t count;
    const uint16_t *labels;    /* (count) */
    const uint8_t *label_sets; /* as of dn_manifest */
    dn_read_fn *read;
};

/* Whether the image has the class. */
static inline dn_presence dn_image_presence(const dn_source *source, int64_t image, int class)
{
    const int label = source->labels[image];
    return source->label_sets
               ? source->label_sets[(size_t)label * (size_t)source->info.classes + (size_t) class]
               : label == class;
}

/* *count(2, classes) = the images that have each class, then those that are known to have it or
 * not; the caller frees it; NULL on failure. Errors: DN_ENOMEM. */
dn_status dn_source_count(const dn_source *source, int64_t **count);

/* text = an identification of the split that does not depend on its shards or compression: the data
 * set's name, size, mean of the first channel, and a checksum of the labels in order and of the
 * label sets. */
void dn_source_describe(const dn_source *source, char *text, size_t size);

#endif
