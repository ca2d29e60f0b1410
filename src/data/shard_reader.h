/* What the reader of shards (shard_reader.c), the maker of its index (shard_index.c), the one of
 * copies (stage.c) and the reader of files' names (file_names.c) share. */
#ifndef DN_SHARD_READER_H
#define DN_SHARD_READER_H

#include <limits.h>
#include <stdatomic.h>

#include "dn/shard.h"

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
    int64_t *first_chunk;  /* (split->shards + 1): each one's in `chunk`, and the chunks in all */
    int64_t *chunk_images; /* (split->shards): images of its chunks; zeros fill the last one up. */
    struct chunk *chunk;   /* (first_chunk[split->shards]) */
    uint16_t *labels;      /* (split->count); the three are the index, in this order */
    void *own_index;       /* or NULL: where the index is somebody else's */
    dn_failure *failure;   /* (split->shards) of dn_shards_try_index; or NULL */
    char stage[PATH_MAX];  /* the folder of the copies, ... */
    atomic_uchar *copied;  /* ... (split->shards) 1: it has one that is whole; NULL: no copies */
};

/* The most chunks that the shard can have, as far as the manifest says. */
int64_t dn_shards_most_chunks(const dn_shards *shards, const dn_manifest_shard *shard);

/* Have children enter the shards [first, end) in the index; check what is there of them, when the
 * last child has ended, as one may write anywhere in it. */
dn_status dn_shards_read_index(const dn_shards *shards, int first, int end);
dn_status dn_shards_check_index(const dn_shards *shards, int first, int end);

/* Makes as much of the index as can be, each shard's by a child, and keeps the failures.
 * DN_ENOMEM. */
dn_status dn_shards_try_index(dn_shards *shards);

#endif
