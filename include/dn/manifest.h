/*
 * dataset.json, which says what a folder of records holds (docs/shard-format.md). It is written
 * last, so a folder that has one is complete; and it is believed by its own checksum.
 */
#ifndef DN_MANIFEST_H
#define DN_MANIFEST_H

#include <stddef.h>
#include <stdint.h>

#include "dn/data_info.h"
#include "dn/status.h"

/* Every data set has the second. The first may have no shard, where images are but to be scored; so
 * may the third, to judge runs by while they train. */
typedef enum dn_split_id { DN_TRAIN, DN_TEST, DN_VAL, DN_SPLITS } dn_split_id;

/* "train", "test" or "val". */
const char *dn_split_name(dn_split_id split);

/* One file of the folder. */
typedef struct dn_manifest_file {
    char name[128]; /* without a folder */
    int64_t bytes;
    uint64_t hash; /* XXH3-64 of the whole file, seed 0 */
} dn_manifest_file;

/* A shard: the same images as HDF5 and, where it has such a file, as TFRecords. */
typedef struct dn_manifest_shard {
    dn_split_id split;
    int index;                       /* in its split */
    int64_t first, count;            /* it holds the images [first, first + count) of its split */
    dn_manifest_file hdf5, tfrecord; /* without a name: none */
} dn_manifest_shard;

typedef struct dn_manifest_split {
    int64_t count; /* images: the sum over the shards */
    int shards;
    dn_manifest_shard *shard; /* (shards), a part of the manifest's */
} dn_manifest_split;

typedef struct dn_manifest {
    dn_data_info info;
    const char *const *class_names; /* UTF-8, (classes); not owned but by a loaded manifest */
    int zstd_level;
    char conversion[64]; /* of the images from their source's; "": they are as they came */
    uint64_t source;     /* checksum of what the records were made from; 0: not known */
    uint64_t hash;       /* of a loaded manifest: XXH3-64 of dataset.json */
    dn_manifest_split split[DN_SPLITS];
    int shards;
    dn_manifest_shard shard[]; /* (shards): by split, in the order of dn_split_id */
} dn_manifest;

/* A manifest with room for the shards, whose split and index are set. The caller frees it; the
 * class names that he sets stay his. DN_ENOMEM. */
dn_status dn_manifest_create(dn_manifest **manifest, const dn_data_info *info,
                             const int shards[DN_SPLITS]);

/* Stands in a folder in place of dataset.json while records are made, and after a making that was
 * cut off. */
#define DN_JOURNAL_NAME "making.journal"

enum { DN_MANIFEST_BYTES = 64 << 20 /* the most of dataset.json */ };

/* *text(*size) = folder/dataset.json, to be freed by the caller; NULL after a failure. DN_ENOENT
 * where there is none, DN_ECORRUPT where it is too large; DN_EIO, DN_ENOMEM. */
dn_status dn_manifest_read(uint8_t **text, size_t *size, const char *folder);

/* The manifest that text(size) is; `what` names it in messages. As dn_manifest_load. */
dn_status dn_manifest_parse(dn_manifest **manifest, const char *what, const uint8_t *text,
                            size_t size);

/* A manifest without files, to be freed by the caller, of classes with these names: a list of as
 * many as info->classes. NULL after a failure. DN_ECORRUPT where they are not what the
 * specification says; DN_ENOMEM. */
struct json_t;
dn_status dn_manifest_describe(dn_manifest **manifest, const dn_data_info *info,
                               const struct json_t *names);

/* Reads folder/dataset.json, to be freed by the caller; NULL after a failure. DN_ENOENT where there
 * is none, DN_EINVAL when it is of another format version, DN_ECORRUPT when it is not what the
 * specification says or has another checksum; DN_EIO, DN_ENOMEM. */
dn_status dn_manifest_load(dn_manifest **manifest, const char *folder);

/* 1 where both hold the same images under the same labels, however these are cut and compressed, as
 * far as dataset.json tells: by counts, statistics, class names and the source's checksum. */
int dn_manifest_is_same(const dn_manifest *a, const dn_manifest *b);

/* The file `path` has as many bytes as `expected` says. DN_ECORRUPT, or as dn_file_size. */
dn_status dn_manifest_check_size(const char *path, const dn_manifest_file *expected);

/* The file `path` has the bytes that `expected` says, by their number and checksum. DN_ECORRUPT,
 * or as dn_file_hash. */
dn_status dn_manifest_check(const char *path, const dn_manifest_file *expected);

/* Writes folder/dataset.json, whole or not at all. DN_EIO, DN_ENOMEM. */
dn_status dn_manifest_save(const dn_manifest *manifest, const char *folder);

#endif
