/*
 * dataset.json: what a folder of records holds. It is written last, so a folder that has one is
 * complete; docs/shard-format.md specifies it.
 */
#ifndef DN_MANIFEST_H
#define DN_MANIFEST_H

#include <stddef.h>
#include <stdint.h>

#include "dn/shard.h"

/* One file of the folder. */
typedef struct dn_manifest_file {
    char name[128]; /* without a folder */
    int64_t bytes;
    uint64_t hash; /* XXH3-64 of the whole file, seed 0 */
} dn_manifest_file;

/* A shard: the same images as TFRecords and as HDF5. */
typedef struct dn_manifest_shard {
    dn_split_id split;
    int index;            /* in its split */
    int64_t first, count; /* it holds the images [first, first + count) of its split */
    dn_manifest_file hdf5, tfrecord;
} dn_manifest_shard;

typedef struct dn_manifest_split {
    int64_t count; /* images: the sum over the shards */
    int shards;
    dn_manifest_shard *shard; /* (shards), a part of the manifest's */
} dn_manifest_split;

typedef struct dn_manifest {
    dn_shard_info info;
    const char *const *class_names; /* UTF-8, (classes): what is saved; NULL once loaded */
    int zstd_level;
    dn_manifest_split split[DN_SPLITS];
    int shards;
    dn_manifest_shard *shard; /* (shards): those of the train split, then those of the test split */
} dn_manifest;

/* An attribute that tells a shard from others: its writer sets it, its reader expects it. */
typedef struct dn_shard_attribute {
    const char *name;
    const char *text; /* the value, or NULL where it is the integer */
    int64_t integer;
    dn_status failure; /* of a reader that finds another value */
} dn_shard_attribute;

enum { DN_SHARD_ATTRIBUTES = 7 };

/* list = the attributes of one of the manifest's shards, whose texts they share. */
void dn_shard_attributes(const dn_manifest *manifest, const dn_manifest_shard *shard,
                         dn_shard_attribute list[DN_SHARD_ATTRIBUTES]);

/* "train" or "test". */
const char *dn_split_name(dn_split_id split);

/* A manifest with room for the shards, whose split and index are set. The caller owns it; the class
 * names that he sets stay his. DN_ENOMEM. */
dn_status dn_manifest_create(dn_manifest **manifest, const dn_shard_info *info,
                             const int shards[DN_SPLITS]);

/* Frees it and sets *manifest to NULL; accepts NULL inside. */
void dn_manifest_destroy(dn_manifest **manifest);

/* Reads folder/dataset.json. DN_ENOENT where there is none, DN_EINVAL when it is of another
 * format version, DN_ECORRUPT when it is not what the specification says. */
dn_status dn_manifest_load(dn_manifest **manifest, const char *folder);

/* The file `path` has the bytes that `expected` says, by their number and checksum. DN_ECORRUPT,
 * or as dn_file_hash. */
dn_status dn_manifest_check(const char *path, const dn_manifest_file *expected);

/* Writes folder/dataset.json, whole or not at all. DN_EIO, DN_ENOMEM. */
dn_status dn_manifest_save(const dn_manifest *manifest, const char *folder);

#endif
