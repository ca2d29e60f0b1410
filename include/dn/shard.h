/*
 * Reader of HDF5 image shards; docs/shard-format.md specifies the files.
 *
 * HDF5 is asked for the chunk addresses once, at open. Afterwards chunks are read with pread and
 * decompressed without the HDF5 library, so any number of threads may read at once.
 */
#ifndef DN_SHARD_H
#define DN_SHARD_H

#include <stdint.h>

#include "dn/spec.h"
#include "dn/status.h"

enum {
    DN_SHARD_FORMAT_VERSION = 1, /* of dataset.json and of the shards */
    DN_SHARD_ZSTD_FILTER = 32015 /* registered number of the zstd filter */
};

/* Names in a shard, for its writer and its readers: data sets, then attributes of the root. */
#define DN_SHARD_IMAGES      "images"
#define DN_SHARD_LABELS      "labels"
#define DN_SHARD_CLASS_NAMES "class_names"
#define DN_SHARD_FORMAT      "format"
#define DN_SHARD_FORMAT_NAME "dn_dist image shard" /* the value of the attribute "format" */
#define DN_SHARD_VERSION     "format_version"
#define DN_SHARD_DATASET     "dataset"
#define DN_SHARD_SPLIT       "split"
#define DN_SHARD_INDEX       "shard_index"
#define DN_SHARD_SHARDS      "shard_count"
#define DN_SHARD_COUNT       "count"
#define DN_SHARD_MEAN        "mean"
#define DN_SHARD_STD         "std"
#define DN_SHARD_LABELS_HASH "labels_xxh3"

/* What dataset.json and the shards say about a split; all shards of it agree. */
typedef struct dn_shard_info {
    char dataset[64]; /* "CIFAR10" */
    int64_t count;    /* images of the split */
    int channels, height, width, classes;
    float mean[DN_MAX_IMAGE_CHANNELS], deviation[DN_MAX_IMAGE_CHANNELS]; /* train split, [0, 1] */
} dn_shard_info;

typedef struct dn_shards dn_shards;

/* Opens the shards of `split` ("train" or "test") in `folder`; the caller owns the result. One
 * failure message names the file, what was found and what was expected. */
dn_status dn_shards_open(dn_shards **shards, const char *folder, const char *split);

/* Compares every byte of every parts-th file, from file `part` on, with the checksum that
 * dataset.json has of it: what a chunk's own checksum does not cover. Thread-safe. */
dn_status dn_shards_check(const dn_shards *shards, int part, int parts);

/* Closes the files and sets *shards to NULL; accepts NULL inside. */
void dn_shards_close(dn_shards **shards);

const dn_shard_info *dn_shards_info(const dn_shards *shards);

/* Labels of all images of the split, in order, (count); owned by the shards. */
const uint16_t *dn_shards_labels(const dn_shards *shards);

/* Chunks are numbered through all shards. Chunk i holds images [first, first + count). */
int64_t dn_shards_chunks(const dn_shards *shards);
void dn_shards_chunk_range(const dn_shards *shards, int64_t chunk, int64_t *first, int64_t *count);

/* images(count, channels, height, width) = the chunk's images. Thread-safe. DN_ECORRUPT when the
 * frame's size or checksum is not right, naming the file and the chunk. */
dn_status dn_shards_read(const dn_shards *shards, int64_t chunk, uint8_t *images);

#endif
