/*
 * Looking at a folder of records: is it sound, what does it hold, what do its images look like.
 */
#ifndef DN_LOOKING_H
#define DN_LOOKING_H

#include "dn/shard.h"
#include "options.h"

/* Reads everything again: sizes and checksums of files, the CRC of each TFRecord, each PNG against
 * the HDF5 pixels and label, or each encoded image decoded, counts, mean and std. Names all faults,
 * each with its file and image, up to 20; the failure is the first. */
dn_status dn_records_verify(const char *folder);

/* Prints what the records hold: classes and their counts, sizes, mean and std, bytes. */
dn_status dn_records_info(const char *folder, int json);

/* Makes a picture of images as they are stored or, with options->augment, as training sees them;
 * prints which, or of options->sample all that is known. DN_EINVAL for what the options say. */
dn_status dn_records_inspect(const char *folder, const dn_records_options *options);

#endif
