/*
 * Reader of HDF5 image shards; docs/shard-format.md specifies the files.
 *
 * HDF5 is asked for the chunk addresses once, at open. Afterwards chunks are read with pread and
 * decompressed without the HDF5 library, by all threads at once.
 */
#ifndef DN_SHARD_H
#define DN_SHARD_H

#include <stddef.h>
#include <stdint.h>

#include "dn/source.h"
#include "dn/status.h"

enum {
    DN_SHARD_FORMAT_VERSION = 1, /* of dataset.json and of the shards */
    DN_SHARD_ZSTD_FILTER = 32015 /* registered number of the zstd filter */
};

/* Names in a shard that its writer and its reader use; the others are in dn_shard_attributes. */
#define DN_SHARD_IMAGES      "images"
#define DN_SHARD_LABELS      "labels"
#define DN_SHARD_LABELS_HASH "labels_xxh3"

typedef enum dn_split_id { DN_TRAIN, DN_TEST, DN_SPLITS } dn_split_id;

typedef struct dn_shards dn_shards;

/* Opens the shards of a split in `folder`; the caller owns the result. One failure message names
 * the file, what was found and what was expected. */
dn_status dn_shards_open(dn_shards **shards, const char *folder, dn_split_id split);

/* Compares every byte of every parts-th file, from file `part` on, with the checksum that
 * dataset.json has of it: what a chunk's own checksum does not cover. Thread-safe. */
dn_status dn_shards_check(const dn_shards *shards, int part, int parts);

/* Closes the files and sets *shards to NULL; accepts NULL inside. */
void dn_shards_close(dn_shards **shards);

/* The split as a source by `read`; the labels are the shards'. */
dn_source dn_shards_source(const dn_shards *shards, dn_read_fn *read);

/* pixels(count, channels, height, width) = the images [first, first + count) of the split, by all
 * threads. Thread-safe. DN_ECORRUPT when a chunk's size or checksum is not right, naming the file
 * and the chunk. */
dn_status dn_shards_read(const dn_shards *shards, int64_t first, int64_t count, uint8_t *pixels);

#endif
