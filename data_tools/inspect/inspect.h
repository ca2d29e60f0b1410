/*
 * Inspects a folder of records: verifies it, summarises its contents, and draws its images.
 */
#ifndef DN_INSPECT_H
#define DN_INSPECT_H

#include "options.h"

/* Verifies everything: sizes and checksums of files, the CRC of each TFRecord, its PNG and label
 * against HDF5, or each encoded image by decoding it, counts, mean and std. Names up to 20 faults,
 * each with its file and image, and returns the first. */
dn_status dn_records_verify(const char *folder);

/* Prints a summary of the records: classes and their counts, sizes, mean and std, bytes. */
dn_status dn_records_info(const char *folder, int as_json);

/* Draws images into a PNG, as they are stored or, with options->augment, as training sees them.
 * Prints a line about the images, or everything known of options->sample. DN_EINVAL for invalid
 * options. */
dn_status dn_records_inspect(const char *folder, const dn_records_options *options);

#endif
