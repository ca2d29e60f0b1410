/*
 * Makes and verifies folders of records: TFRecord shards, the HDF5 shards made from them, and
 * dataset.json. docs/shard-format.md specifies all three.
 *
 * The pixels of a split are in memory, as in training; a shard is the unit of work on threads.
 */
#ifndef DN_RECORDS_H
#define DN_RECORDS_H

#include "dn/manifest.h"
#include "raw_sets.h"

typedef struct dn_records_options {
    const char *source; /* folder of the original files, NULL: search */
    const char *out;    /* folder of the records, made where it is missing */
    int shards;         /* of the train split; the test split gets as many as its size asks for */
    int zstd_level;     /* 1 to 22 */
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

/* mean and deviation (channels) on [0, 1] of all pixels(count, channels, height, width). The sums
 * are integers, so both are exact and rounded once; good for 10^14 pixels. The deviation divides by
 * the number of pixels. */
void dn_records_statistics(const dn_shard_info *info, const uint8_t *pixels, int64_t count,
                           double *mean, double *deviation);

#endif
