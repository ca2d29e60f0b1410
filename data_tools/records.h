/*
 * Makes and verifies folders of records: TFRecord shards, the HDF5 shards made from them, and
 * dataset.json. docs/shard-format.md specifies all three.
 *
 * A shard is the unit of work on threads. Making holds the raw data set in memory, verifying only
 * the shards that are being compared.
 */
#ifndef DN_RECORDS_H
#define DN_RECORDS_H

#include "dn/file.h"
#include "dn/shard.h"
#include "options.h"
#include "tfrecord.h"

/* ---- raw data sets: the files that their authors publish ---- */

/* A form in which a raw data set is published. */
typedef struct dn_raw_form {
    const char *name;      /* "binary" */
    const char *subfolder; /* where the files stand below a folder that holds them */
    const char *probe;     /* the file by which it is known */
} dn_raw_form;

enum { DN_RAW_FORMS = 3 };

/* The adapter to one: a file with its dn_raw_set, and a row in the table of raw_sets.c. */
typedef struct dn_raw_set {
    dn_shard_info info;             /* without mean and std; the name is as on the command line */
    const char *prefix;             /* of the shards' names: "cifar10" */
    const char *folder;             /* default output */
    const char *const *class_names; /* (classes) */
    int64_t count[DN_SPLITS];       /* images */

    dn_raw_form form[DN_RAW_FORMS]; /* the one that is read, then others, known only to say so */
    const char *package_folder;     /* where a distribution's package puts the files, or NULL */
    const char *hint;               /* where to get the files, and their checksum */

    /* pixels(count, channels, height, width) and labels(count) of a split, in the order of the
     * files in `folder`. DN_ENOENT names the file that is missing, DN_ECORRUPT the file and record
     * that is not valid. */
    dn_status (*load)(const char *folder, dn_split_id split, uint8_t *pixels, uint16_t *labels);
} dn_raw_set;

extern const dn_raw_set dn_raw_cifar10, dn_raw_fashion_mnist;

/* All of them, NULL after the last. */
extern const dn_raw_set *const dn_raw_sets[];

/* source = the folder of the files: `folder` or below it where it is given, else the current
 * folder, $DN_SOURCE_DIR or where the package puts them. DN_ENOENT says where to get them. */
dn_status dn_raw_set_find(const dn_raw_set *set, const char *folder, char source[PATH_MAX]);

/* pixels and labels of both splits, as `load` gives them, to be freed by the caller, after a
 * failure too. */
dn_status dn_raw_set_load(const dn_raw_set *set, const char *source, uint8_t *pixels[DN_SPLITS],
                          uint16_t *labels[DN_SPLITS]);

/* For adapters: path = the file `name` of the folder, under that name or with .gz after it; an IDX
 * file also as some archives name it, train-images.idx3-ubyte for train-images-idx3-ubyte.
 * DN_ENOENT. */
dn_status dn_raw_file_find(char path[PATH_MAX], const char *folder, const char *name);

/* For adapters: bytes(size), at least one, = all that the file holds after its header, which must
 * be exactly these words, big-endian; gzipped or not, whatever its name. DN_EIO, DN_ECORRUPT. */
dn_status dn_raw_file_read(const char *path, const uint32_t *header, size_t words, uint8_t *bytes,
                           size_t size);

/* ---- records ---- */

/* Makes the records in place of existing ones, unless `out` holds these very records already:
 * dataset.json says so and all its files have their sizes; *made = whether it did. Every file
 * appears whole under its final name, dataset.json last; until then the folder has none. On failure
 * nothing temporary is left. DN_EINVAL, with nothing changed, when the existing ones are of another
 * data set, source or version, when a channel is constant, or when another process is making
 * records there. Complete ones need no source; one that is found is compared with theirs. */
dn_status dn_records_make(const dn_raw_set *set, const dn_records_options *options, int *made);

/* Reads everything again: sizes and checksums of files, the CRC of each TFRecord, each PNG against
 * the HDF5 pixels and label, or each encoded image decoded, counts, mean and std. */
dn_status dn_records_verify(const char *folder);

/* ---- the HDF5 file of a shard; thread-safe ---- */

/* As dn_tfrecord_encode, of pixels; *bytes is NULL after a failure. What else stands in it (class
 * names, mean and std, zstd level) is the manifest's too. */
dn_status dn_shard_encode(const dn_manifest *manifest, const dn_manifest_shard *shard,
                          const uint8_t *images, const uint16_t *labels, uint8_t **bytes,
                          size_t *size);

#endif
