/*
 * dataset.json: what a folder of records holds. It is written last, so a folder that has one is
 * complete; docs/shard-format.md specifies it.
 */
#ifndef DN_MANIFEST_H
#define DN_MANIFEST_H

#include <limits.h>
#include <stdint.h>

#include "dn/shard.h"

typedef enum dn_split { DN_TRAIN, DN_TEST, DN_SPLITS } dn_split;

/* "train" or "test". */
const char *dn_split_name(dn_split split);

/* One file of the folder. */
typedef struct dn_manifest_file {
    char name[128]; /* without a folder */
    int64_t bytes;
    uint64_t hash; /* XXH3-64 of the whole file, seed 0 */
} dn_manifest_file;

/* A shard: the same images as TFRecords and as HDF5. */
typedef struct dn_manifest_shard {
    int64_t count; /* images */
    dn_manifest_file hdf5, tfrecord;
} dn_manifest_shard;

typedef struct dn_manifest_split {
    int64_t count; /* images: the sum over the shards */
    int shards;
    dn_manifest_shard *shard; /* (shards) */
} dn_manifest_split;

typedef struct dn_manifest {
    char dataset[64]; /* "CIFAR10" */
    int channels, height, width, classes;
    char **class_names; /* UTF-8, (classes) */
    int zstd_level;
    double mean[DN_MAX_CHANNELS], deviation[DN_MAX_CHANNELS]; /* of the train split, on [0, 1] */
    dn_manifest_split split[DN_SPLITS];
} dn_manifest;

/* An empty manifest with room for the names and shards; the caller owns it. DN_ENOMEM. */
dn_status dn_manifest_create(dn_manifest **manifest, int classes, const int shards[DN_SPLITS]);

/* Frees it and sets *manifest to NULL; accepts NULL inside. */
void dn_manifest_destroy(dn_manifest **manifest);

/* Copies a class name in, to be freed with the manifest. DN_ENOMEM. */
dn_status dn_manifest_set_class(dn_manifest *manifest, int index, const char *name);

/* Reads folder/dataset.json. DN_ENOENT where there is none, DN_EINVAL when it is of another
 * format version, DN_ECORRUPT when it is not what the specification says. */
dn_status dn_manifest_load(dn_manifest **manifest, const char *folder);

/* Writes folder/dataset.json, whole or not at all. DN_EIO. */
dn_status dn_manifest_save(const dn_manifest *manifest, const char *folder);

/* path = folder/name, or DN_EINVAL where that is too long. */
dn_status dn_join_path(char path[PATH_MAX], const char *folder, const char *name);

#endif
