/* Shared by the shard reader (shard_reader.c), its index (shard_index.c), staging (stage.c) and the
 * reader of file names (file_names.c). */
#ifndef DN_SHARD_READER_H
#define DN_SHARD_READER_H

#include <limits.h>
#include <stdatomic.h>

#include "dn/shard.h"

/* A chunk of images, or an encoded image. */
struct chunk {
    int64_t address, bytes; /* in the file */
    int64_t compressed;     /* of a chunk */
    uint64_t hash;          /* of an encoded image */
    int32_t width, height;  /* of an encoded image */
};

struct dn_shards {
    dn_manifest *manifest;
    const dn_manifest_split *split; /* the manifest's */
    char folder[PATH_MAX];
    int64_t *first_chunk;  /* (split->shards + 1) first element of each shard in `chunk`, then their
                              number */
    int64_t *chunk_images; /* (split->shards) images per chunk of each; zeros fill the last chunk */
    struct chunk *chunk;   /* (first_chunk[split->shards]) */
    uint16_t *labels;      /* (split->count); the last three are the index, in this order */
    void *own_index;       /* NULL if the index is owned by the caller */
    dn_failure *failure;   /* (split->shards) set by dn_shards_try_index; or NULL */
    char stage[PATH_MAX];  /* folder of the copies, ... */
    atomic_uchar *copied;  /* ... (split->shards) 1: has a complete copy; NULL: no copies */
};

/* The most chunks that the shard can have according to the manifest. */
int64_t dn_shards_most_chunks(const dn_shards *shards, const dn_manifest_shard *shard);

/* Builds as much of the index as possible: after a failure, which it stores, another child
 * continues with the next shard. Errors: DN_ENOMEM. */
dn_status dn_shards_try_index(dn_shards *shards);

#endif
