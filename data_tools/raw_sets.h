/*
 * Adapters to raw data sets: the files that their authors publish. A new data set is one file with
 * its dn_raw_set and one row in the table of raw_sets.c.
 */
#ifndef DN_RAW_SETS_H
#define DN_RAW_SETS_H

#include "dn/shard.h"

typedef struct dn_raw_set {
    dn_shard_info info;             /* without mean and std; the name is as on the command line */
    const char *prefix;             /* of the shards' names: "cifar10" */
    const char *folder;             /* default output */
    const char *const *class_names; /* (classes) */
    int64_t count[DN_SPLITS];       /* images */

    const char *subfolder;      /* where the files stand below a folder that holds them */
    const char *probe;          /* the file by which a source is known */
    const char *package_folder; /* where a distribution's package puts the files, or NULL */
    const char *hint;           /* where to get the files, and their checksum */

    /* pixels(count, channels, height, width) and labels(count) of a split, in the order of the
     * files in `folder`. DN_ENOENT names the file that is missing, DN_ECORRUPT the file and record
     * that is not valid. */
    dn_status (*load)(const char *folder, dn_split_id split, uint8_t *pixels, uint16_t *labels);
} dn_raw_set;

extern const dn_raw_set dn_raw_cifar10, dn_raw_fashion_mnist;

/* All of them, NULL after the last. */
extern const dn_raw_set *const dn_raw_sets[];

/* pixels and labels of both splits, as `load` gives them, to be freed by the caller, after a
 * failure too. The files are in `folder` where it is given, else in the current folder, in
 * $DN_SOURCE_DIR or where the package puts them. DN_ENOENT says where to get them. */
dn_status dn_raw_set_load(const dn_raw_set *set, const char *folder, uint8_t *pixels[DN_SPLITS],
                          uint16_t *labels[DN_SPLITS]);

/* For adapters: bytes(size) = all that the file folder/name holds after its header, which must be
 * exactly these words, big-endian; gzipped or not. DN_ENOENT, DN_EIO, DN_ECORRUPT. */
dn_status dn_raw_file_read(const char *folder, const char *name, const uint32_t *header,
                           size_t words, uint8_t *bytes, size_t size);

#endif
