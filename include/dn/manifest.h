/*
 * dataset.json, which describes a folder of records (docs/shard-format.md). It is written last, so
 * a folder that has one is complete, and carries its own checksum. Not collective.
 */
#ifndef DN_MANIFEST_H
#define DN_MANIFEST_H

#include <stddef.h>
#include <stdint.h>

#include "dn/conversion.h"
#include "dn/data_info.h"
#include "dn/status.h"

/* Every data set has a test split. The train split may be empty, if images are only evaluated; so
 * may the validation split, which measures a run during training. */
typedef enum dn_split_id { DN_TRAIN, DN_TEST, DN_VAL, DN_SPLITS } dn_split_id;

/* "train", "test" or "val". */
const char *dn_split_name(dn_split_id split);

/* One file of the folder. */
typedef struct dn_manifest_file {
    char name[128]; /* without the folder */
    int64_t bytes;
    uint64_t hash; /* XXH3-64 of the whole file, seed 0 */
} dn_manifest_file;

/* A shard: the same images as HDF5 and, optionally, as TFRecords. */
typedef struct dn_manifest_shard {
    dn_split_id split;
    int index;                       /* in its split */
    int64_t first, count;            /* it holds the images [first, first + count) of its split */
    dn_manifest_file hdf5, tfrecord; /* an empty name: no such file */
} dn_manifest_shard;

typedef struct dn_manifest_split {
    int64_t count; /* images: the sum over the shards */
    int shards;
    dn_manifest_shard *shard; /* (shards), points into the manifest's */
} dn_manifest_split;

typedef struct dn_manifest {
    dn_data_info info;
    const char *const *class_names; /* (classes) in UTF-8; owned by a loaded manifest only */
    const uint8_t *label_sets;      /* (label_sets, classes) dn_presence; NULL: labels are classes.
                                       Owned as class_names */
    int zstd_level;
    char conversion[DN_CONVERSION_BYTES]; /* dn/conversion.h: from the originals */
    uint64_t source; /* checksum of the source that the records were made from; 0: unknown */
    uint64_t hash;   /* XXH3-64 of dataset.json; set in a loaded manifest */
    dn_manifest_split split[DN_SPLITS];
    int shards;
    dn_manifest_shard shard[]; /* (shards): by split, in the order of dn_split_id */
} dn_manifest;

/* Creates a manifest with room for `shards` of each split, their split and index set, and after
 * them for `more` bytes. The caller frees it; class names and label sets that the caller sets
 * remain the caller's. Errors: DN_ENOMEM. */
dn_status dn_manifest_create(dn_manifest **manifest, const dn_data_info *info,
                             const int shards[DN_SPLITS], size_t more);

/* Takes the place of dataset.json while records are being made, and after that was interrupted. */
#define DN_JOURNAL_NAME "making.journal"

enum {
    DN_MANIFEST_BYTES = 64 << 20,  /* largest dataset.json accepted */
    DN_LABEL_SETS_BYTES = 64 << 20 /* most label sets x classes */
};

/* *text(*size) = folder/dataset.json; the caller frees it; NULL on failure. Errors: DN_ENOENT
 * (missing), DN_ECORRUPT (too large), DN_EIO, DN_ENOMEM. */
dn_status dn_manifest_read(uint8_t **text, size_t *size, const char *folder);

/* Parses text(size); `what` names it in messages. Otherwise as dn_manifest_load. */
dn_status dn_manifest_parse(dn_manifest **manifest, const char *what, const uint8_t *text,
                            size_t size);

/* Creates a manifest without files; the caller frees it; NULL on failure. `names` is a list of
 * info->classes class names, `sets` those of dn_manifest_label_sets or NULL. Errors:
 * DN_ECORRUPT (they violate the specification), DN_ENOMEM. */
struct json_t;
dn_status dn_manifest_describe(dn_manifest **manifest, const dn_data_info *info,
                               const struct json_t *names, const struct json_t *sets);

/* A list of info->label_sets lists as in dataset.json; the caller frees it. NULL if labels are
 * classes. */
struct json_t *dn_manifest_label_sets(const dn_manifest *manifest);

/* 1 if there are label sets with unknown classes. */
int dn_manifest_has_unknown(const dn_manifest *manifest);

/* 1 if both have the same class names and label sets, in the same order. */
int dn_manifest_labels_are_same(const dn_manifest *a, const dn_manifest *b);

/* text(size) = the name of the label's class, or those of its set, joined by '|', with '?' before
 * unknown ones; "(no class)" of an empty set. A longer text is cut. */
void dn_manifest_label_text(const dn_manifest *manifest, int label, char *text, size_t size);

/* Reads folder/dataset.json; the caller frees *manifest; NULL on failure. Errors: DN_ENOENT
 * (missing), DN_EINVAL (another format version), DN_ECORRUPT (it violates the specification or its
 * checksum), DN_EIO, DN_ENOMEM. */
dn_status dn_manifest_load(dn_manifest **manifest, const char *folder);

/* Returns 1 if both hold the same images with the same labels, whatever their shards and
 * compression, as far as dataset.json tells: counts, statistics, class names and the source's
 * checksum. */
int dn_manifest_is_same(const dn_manifest *a, const dn_manifest *b);

/* Checks that the file `path` has the size that `expected` says. Errors: DN_ECORRUPT; as
 * dn_file_size. */
dn_status dn_manifest_check_size(const char *path, const dn_manifest_file *expected);

/* Checks the size and checksum of the file `path`. Errors: DN_ECORRUPT; as dn_file_hash. */
dn_status dn_manifest_check(const char *path, const dn_manifest_file *expected);

/* Writes folder/dataset.json, completely or not at all. Errors: DN_EIO, DN_ENOMEM. */
dn_status dn_manifest_save(const dn_manifest *manifest, const char *folder);

#endif
