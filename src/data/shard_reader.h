/* What the reader of shards (shard_reader.c), the maker of its index (shard_index.c), the one of
 * copies (stage.c) and the reader of files' names (file_names.c) share. */
#ifndef DN_SHARD_READER_H
#define DN_SHARD_READER_H

#include <limits.h>
#include <stdatomic.h>

#include "dn/shard.h"

/* The index: of each shard its place, then the chunks, then the labels. */
struct place {
    int64_t chunk;  /* the shard's first */
    int64_t images; /* of a chunk; the last one is padded with zeros to as many */
};

/* A chunk of images, or one that is encoded. */
struct chunk {
    int64_t address, bytes; /* in the file */
    int64_t compressed;     /* of a chunk */
    uint64_t hash;          /* of an encoded image, as are: */
    int32_t width, height;
};

struct dn_shards {
    dn_manifest *manifest;
    const dn_manifest_split *split; /* the manifest's */
    char folder[PATH_MAX];
    int64_t most_chunks;
    struct place *place;  /* (split->shards) */
    struct chunk *chunk;  /* (most_chunks) */
    uint16_t *labels;     /* (split->count) */
    void *own_index;      /* or NULL: where the index is somebody else's */
    char stage[PATH_MAX]; /* the folder of the copies, ... */
    atomic_uchar *copied; /* ... (split->shards) 1: it has one that is whole; NULL: no copies */
};

/* The most chunks that the shard can have, as far as the manifest says. */
int64_t dn_shards_most_chunks(const dn_shards *shards, const dn_manifest_shard *shard);

#endif
