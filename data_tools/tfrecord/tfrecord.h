/*
 * TFRecord files of tf.train.Example: docs/tfrecords.md.
 *
 * dn/tfrecord.h has the framing, example.c the messages,
 * to_tfrecord.c writes the files of records, from_tfrecord.c makes
 * records of anybody's. Thread-safe, but for HDF5.
 */
#ifndef DN_TFRECORD_EXAMPLES_H
#define DN_TFRECORD_EXAMPLES_H

#include "dn/file.h"
#include "dn/image.h"
#include "dn/shard.h"
#include "dn/tfrecord.h"
#include "options.h"

/* ---- examples: labelled images as messages ---- */

typedef struct dn_example {
    const uint8_t *image; /* (size) */
    size_t size;
    int is_raw;                      /* pixels(height, width, channels), else a PNG or JPEG file */
    int64_t height, width, channels; /* 0: not said */
    int64_t label;
    const char *text; /* (text_size) the class name, UTF-8; NULL: not said */
    size_t text_size;
    const char *name; /* (name_size) of the file that the image was, no text; NULL: not said */
    size_t name_size;
    void *message; /* what an unpacked one points into */
} dn_example;

/* *record(size) = the example, encoded, as a tf.train.Example, to be freed by the caller. The keys
 * are sorted, so that the same example always gives the same bytes. DN_ENOMEM. */
dn_status dn_example_pack(const dn_example *example, uint8_t **record, size_t *size);

/*
 * The example that an Example of any writer has: entries in any order, unknown fields, packed and
 * unpacked integers, of duplicate keys the last, and the keys of docs/tfrecords.md. Raw pixels have
 * height, width and channels that account for every byte. To be freed, after a failure too.
 * DN_ECORRUPT says what was found and expected; the caller adds the file's name.
 */
dn_status dn_example_unpack(dn_example *example, const uint8_t *record, size_t size);
void dn_example_free(dn_example *example);

/* to(columns, rows) = from(rows, columns) transposed: files interleave the channels. */
void dn_transpose_bytes(const uint8_t *from, uint8_t *to, size_t rows, size_t columns);

/* As dn_example_pack, of image(channels, height, width). */
dn_status dn_example_encode(const dn_manifest *manifest, const uint8_t *image, int label,
                            uint8_t **record, size_t *size);

/* image(channels, height, width) and *label from an Example with a PNG inside; as
 * dn_example_unpack. */
dn_status dn_example_decode(const dn_data_info *info, const uint8_t *record, size_t size,
                            uint8_t *image, uint16_t *label);

/* ---- the TFRecord file of a shard ---- */

/* *bytes(size) = the file of one of the manifest's shards, with its images(count, channels, height,
 * width) and labels(count), to be freed by the caller, after a failure too. DN_ENOMEM. */
dn_status dn_tfrecord_encode(const dn_manifest *manifest, const dn_manifest_shard *shard,
                             const uint8_t *images, const uint16_t *labels, char **bytes,
                             size_t *size);

/* The same from the shard's HDF5 file, one of those that are open; of encoded images, too. Of these
 * one is in memory at a time, beside the result. As dn_shards_read. */
dn_status dn_tfrecord_encode_shard(const dn_manifest *manifest, const dn_manifest_shard *shard,
                                   const dn_shards *hdf5, char **bytes, size_t *size);

/* Told how record `number` of a file, or what is beyond its last, compares; -1: all of it.
 * DN_ECORRUPT where it is not sound, or has another image or label than HDF5. */
typedef void dn_record_fault(void *user, int64_t number, dn_status status);

/* Compares the shard's file in `folder` with its HDF5 file, one of those that are open; where that
 * has no sound image, the labels alone. One record is in memory at a time. */
void dn_tfrecord_compare(const char *folder, const dn_manifest *manifest,
                         const dn_manifest_shard *shard, const dn_shards *hdf5,
                         dn_record_fault *tell, void *user);

/* ---- the commands ---- */

/* to-tfrecord: writes the TFRecord files of records and what other programs read beside them, in
 * `out`; where that is the folder itself (or NULL), its dataset.json names them, and nothing is
 * done where it does already; *made = whether anything was. */
dn_status dn_to_tfrecord(const char *folder, const char *out, int *made);

/* from-tfrecord: makes records of the files; as dn_folder_make. */
dn_status dn_from_tfrecord(int files, char **file, const dn_records_options *options,
                           char out[PATH_MAX], int *made);

#endif
