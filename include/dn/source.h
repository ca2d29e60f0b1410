/*
 * A split whose images can be read: what it holds, and how an image of it becomes the net's input
 * (dn/transform.h).
 *
 * Reading is pure: what an image becomes follows from the request and the transform, not from who
 * asks, when, or how often. So batches are the same on any rank, thread or resumption.
 */
#ifndef DN_SOURCE_H
#define DN_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "dn/status.h"
#include "dn/transform.h"

/* A split whose images can be read, wherever they are kept: the first member of a structure that
 * knows where, such as dn_split (mpi/training/split.h). Owned by whoever filled it. */
typedef struct dn_source dn_source;

/* image(channels, height, width) = the transformed image. Several threads call it at once, each
 * with a workspace of its own. */
typedef dn_status dn_read_fn(const dn_source *source, const dn_request *request,
                             const dn_transform *transform, dn_workspace *workspace, float *image);

struct dn_source {
    dn_data_info info;
    int64_t count;
    const uint16_t *labels; /* (count) */
    dn_read_fn *read;
};

/* text = what tells this split from others, however it is cut and compressed: the set's name, size,
 * mean, and a checksum of the labels in their order. */
void dn_source_describe(const dn_source *source, char *text, size_t size);

#endif
