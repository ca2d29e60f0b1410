/*
 * Makes and verifies folders of records: TFRecord shards, the HDF5 shards made from them, and
 * dataset.json. docs/shard-format.md specifies all three.
 *
 * A shard is the unit of work on threads, and its images are in memory while it is worked on.
 */
#ifndef DN_RECORDS_H
#define DN_RECORDS_H

#include "originals.h"

typedef struct dn_records_options {
    const char *source; /* folder of the original files, NULL: search */
    const char *out;    /* folder of the records, made where it is missing */
    int shards;         /* of the train split; the test split gets as many as its size asks for */
    int zstd_level;     /* 1 to 22 */
    int jobs;           /* threads */
} dn_records_options;

/* The records that are in `folder` now; *manifest is NULL where there are none of use. DN_EINVAL
 * when they are of another data set or of another version. */
dn_status dn_records_load(dn_manifest **manifest, const dn_dataset *set, const char *folder);

/* Sets *complete to whether `out` already holds these records: dataset.json says so and all its
 * files have their sizes. Otherwise as dn_records_load. */
dn_status dn_records_complete(const dn_dataset *set, const dn_records_options *options,
                              int *complete);

/* Makes the records in place of former ones. Every file appears whole under its final name,
 * dataset.json last; until then the folder has none. On failure nothing temporary is left. */
dn_status dn_records_make(const dn_dataset *set, const dn_records_options *options);

/* Reads everything again: sizes and checksums of files, the CRC of each TFRecord, each PNG against
 * the HDF5 pixels and label, counts, mean and deviation. */
dn_status dn_records_verify(const char *folder, int jobs);

/* ---- what making and verifying share ---- */

typedef dn_status dn_shard_job(void *context, dn_manifest_shard *shard);

/* Runs the job for every shard on up to `threads` threads. After a failure no further job starts;
 * the first failure's status and message are the caller's. */
dn_status dn_records_each(const dn_manifest *manifest, int threads, dn_shard_job *job,
                          void *context);

/* *images(count, channels, height, width) and *labels(count) from the shard's TFRecord file in
 * `folder`, to be freed by the caller, after a failure too. */
dn_status dn_records_read(const char *folder, const dn_manifest *manifest,
                          const dn_manifest_shard *shard, uint8_t **images, uint16_t **labels);

/* bytes and hash of the file folder/file->name, as it is on the disk. */
dn_status dn_records_measure(const char *folder, dn_manifest_file *file);

/* Integer sums over the train split, so that mean and deviation are exact and rounded once. Good
 * for 10^14 pixels. */
typedef struct dn_channel_sums {
    int64_t sum[DN_MAX_IMAGE_CHANNELS], squares[DN_MAX_IMAGE_CHANNELS];
} dn_channel_sums;

/* Adds an image(channels, height, width). Thread-safe. */
void dn_channel_sums_add(dn_channel_sums *sums, const dn_manifest *manifest, const uint8_t *image);

/* mean and deviation (channels) on [0, 1]; the deviation divides by the number of pixels. */
void dn_channel_sums_result(const dn_channel_sums *sums, const dn_manifest *manifest, double *mean,
                            double *deviation);

#endif
