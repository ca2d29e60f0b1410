/*
 * Makes and verifies folders of records: TFRecord shards, the HDF5 shards made from them, and
 * dataset.json. docs/shard-format.md specifies all three.
 */
#ifndef DN_RECORDS_H
#define DN_RECORDS_H

#include "dataset.h"

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

/* Makes the records. Every file appears whole under its final name, dataset.json last; until then
 * the folder has none. On failure nothing temporary is left. */
dn_status dn_records_build(const dn_dataset *set, const dn_records_options *options);

/* Reads everything again: sizes and checksums of files, the CRC of each TFRecord, each PNG against
 * the HDF5 pixels and label, counts, mean and deviation. */
dn_status dn_records_verify(const char *folder, int jobs);

/* The shards of a manifest as one list, the train split's first. */
int dn_records_jobs(const dn_manifest *manifest);
dn_manifest_shard *dn_records_job(const dn_manifest *manifest, int job, dn_split *split,
                                  int *index);

/* bytes and hash of the file folder/file->name, as it is on the disk. */
dn_status dn_records_measure(const char *folder, dn_manifest_file *file);

#endif
