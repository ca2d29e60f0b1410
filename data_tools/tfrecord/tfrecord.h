/*
 * TFRecord files of tf.train.Example: docs/tfrecords.md.
 *
 * dn/tfrecord.h has the framing and example.c the messages; to_tfrecord.c exports records to
 * TFRecords, from_tfrecord.c imports TFRecords of any program. Thread-safe, except for HDF5.
 */
#ifndef DN_TFRECORD_EXAMPLES_H
#define DN_TFRECORD_EXAMPLES_H

#include "dn/file.h"
#include "dn/shard.h"
#include "dn/tfrecord.h"
#include "options.h"

/* ---- examples: labelled images as messages ---- */

typedef struct dn_example {
    const uint8_t *image; /* (size) */
    size_t size;
    int is_raw;                      /* pixels(height, width, channels), else a PNG or JPEG file */
    int64_t height, width, channels; /* 0: not given */
    int64_t label;
    const char *text; /* (text_size) the class name, UTF-8; NULL: not given */
    size_t text_size;
    const char *name; /* (name_size) of the image's file, any bytes; NULL: not given */
    size_t name_size;
    void *message; /* memory that an unpacked example points into */
} dn_example;

/* *record(*size) = an example with an encoded image as a serialized tf.train.Example, which the
 * caller frees. Keys are sorted, so that equal examples have equal bytes. DN_ENOMEM. */
dn_status dn_example_pack(const dn_example *example, uint8_t **record, size_t *size);

/*
 * Parses an Example of any writer: entries in any order, unknown fields, packed and unpacked
 * integers, the last of duplicate keys, and the keys of docs/tfrecords.md. Raw pixels must have
 * height, width and channels that account for every byte. DN_ECORRUPT says what was found and
 * expected; the caller adds the file's name. The caller frees the example, even after a failure.
 */
dn_status dn_example_unpack(dn_example *example, const uint8_t *record, size_t size);
void dn_example_free(dn_example *example);

/* to(columns, rows) = from(rows, columns) transposed, as image files interleave the channels. */
void dn_transpose_bytes(const uint8_t *from, uint8_t *to, size_t rows, size_t columns);

/* As dn_example_pack, for image(channels, height, width), as a PNG. */
dn_status dn_example_encode(const dn_manifest *manifest, const uint8_t *image, int label,
                            uint8_t **record, size_t *size);

/* image(channels, height, width) and *label from an Example with a PNG. Errors as of
 * dn_example_unpack. */
dn_status dn_example_decode(const dn_data_info *info, const uint8_t *record, size_t size,
                            uint8_t *image, uint16_t *label);

/* ---- the TFRecord file of a shard ---- */

/* *bytes(*size) = the TFRecord file of one of the manifest's shards, from its images(count,
 * channels, height, width) and labels(count). DN_ENOMEM. The caller frees it, even after a failure.
 */
dn_status dn_tfrecord_encode(const dn_manifest *manifest, const dn_manifest_shard *shard,
                             const uint8_t *images, const uint16_t *labels, char **bytes,
                             size_t *size);

/* The same from the shard's HDF5 file, one of the open `hdf5`, of pixels or encoded images. Besides
 * the result one encoded image is in memory at a time. Errors as of dn_shards_read. */
dn_status dn_tfrecord_encode_shard(const dn_manifest *manifest, const dn_manifest_shard *shard,
                                   const dn_shards *hdf5, char **bytes, size_t *size);

/* Called with the result of comparing record `number` of a file, or what follows the last one; -1:
 * the file as a whole. DN_ECORRUPT if it is damaged, or its image or label differs from HDF5. */
typedef void dn_record_fault(void *user, int64_t number, dn_status status);

/* Compares the shard's TFRecord file in `folder` with its HDF5 file, one of the open `hdf5`; only
 * labels if an image of the latter is damaged. One record is in memory at a time. */
void dn_tfrecord_compare(const char *folder, const dn_manifest *manifest,
                         const dn_manifest_shard *shard, const dn_shards *hdf5,
                         dn_record_fault *tell, void *user);

/* ---- the commands ---- */

/* to-tfrecord: writes the TFRecord files of records, and the files that other programs read beside
 * them, into `out`. If that is NULL or the folder itself, the files are added to its dataset.json.
 * *made = 0 if there was nothing to do. */
dn_status dn_to_tfrecord(const char *folder, const char *out, int *made);

/* from-tfrecord: makes records from the files; otherwise as dn_folder_make. */
dn_status dn_from_tfrecord(int files, char **file, const dn_records_options *options,
                           char out[PATH_MAX], int *made);

#endif
