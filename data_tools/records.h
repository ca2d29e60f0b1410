/*
 * Makes and verifies folders of records: TFRecord shards, the HDF5 shards made from them, and
 * dataset.json. docs/shard-format.md specifies all three.
 *
 * A shard is the unit of work on threads. Making holds the raw data set in memory, verifying only
 * the shards that are being compared.
 */
#ifndef DN_RECORDS_H
#define DN_RECORDS_H

#include "dn/manifest.h"
#include "raw_sets.h"

typedef struct dn_records_options {
    const char *source; /* folder of the raw data set, NULL: search */
    const char *out;    /* folder of the records, made where it is missing */
    int shards;         /* of the train split; the test split gets as many as its size asks for */
    int zstd_level;     /* 1 to 22 */
} dn_records_options;

/* Makes the records in place of former ones, unless `out` holds these very records already:
 * dataset.json says so and all its files have their sizes; *made = whether it did. Every file
 * appears whole under its final name, dataset.json last; until then the folder has none. On failure
 * nothing temporary is left. DN_EINVAL when the former records are of another data set or version.
 */
dn_status dn_records_make(const dn_raw_set *set, const dn_records_options *options, int *made);

/* Reads everything again: sizes and checksums of files, the CRC of each TFRecord, each PNG against
 * the HDF5 pixels and label, counts, mean and std. */
dn_status dn_records_verify(const char *folder);

/* ---- what making and verifying share ---- */

typedef dn_status dn_shard_job(void *context, dn_manifest_shard *shard);

/* Runs the job for every shard, by all threads. After a failure no further job starts; the first
 * failure's status and message are the caller's. */
dn_status dn_records_each(const dn_manifest *manifest, dn_shard_job *job, void *context);

/* *pixels(count, channels, height, width) and *labels(count) from the shard's TFRecord file in
 * `folder`, to be freed by the caller, after a failure too. */
dn_status dn_records_read(const char *folder, const dn_manifest *manifest,
                          const dn_manifest_shard *shard, uint8_t **pixels, uint16_t **labels);

/* Sums over pixels by channel; integers, so that no order of adding changes a bit of mean and std.
 * Good for 10^14 pixels. */
typedef struct dn_pixel_sums {
    int64_t sum[DN_MAX_IMAGE_CHANNELS], squares[DN_MAX_IMAGE_CHANNELS];
} dn_pixel_sums;

/* Adds pixels(count, channels, height, width). Thread-safe. */
void dn_pixel_sums_add(dn_pixel_sums *sums, const dn_shard_info *info, const uint8_t *pixels,
                       int64_t count);

/* mean and std of the info, on [0, 1], from the sums over `count` images; each is rounded once, and
 * std divides by the number of pixels. */
void dn_pixel_sums_finish(const dn_pixel_sums *sums, int64_t count, dn_shard_info *info);

/* ---- the two forms of a labelled image; thread-safe ---- */

/* *record(size) = the image(channels, height, width) as a tf.train.Example, to be freed by the
 * caller; NULL after a failure. DN_ENOMEM. */
dn_status dn_example_encode(const dn_manifest *manifest, const uint8_t *image, int label,
                            uint8_t **record, size_t *size);

/* image(channels, height, width) and *label from an Example of any writer: entries in any order,
 * unknown fields, packed and unpacked integers, and of duplicate keys the last. DN_ECORRUPT says
 * what was found and expected; the caller adds the file's name. */
dn_status dn_example_decode(const dn_shard_info *info, const uint8_t *record, size_t size,
                            uint8_t *image, uint16_t *label);

/* *bytes(size) = the HDF5 file of one of the manifest's shards, with its
 * images(count, channels, height, width) and labels(count), to be freed by the caller; NULL after a
 * failure. What else stands in it (class names, mean and std, zstd level) is the manifest's too.
 * DN_ENOMEM. */
dn_status dn_shard_encode(const dn_manifest *manifest, const dn_manifest_shard *shard,
                          const uint8_t *images, const uint16_t *labels, uint8_t **bytes,
                          size_t *size);

#endif
