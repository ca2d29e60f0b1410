/*
 * Makes the records of a known set of pixels: shards, and dataset.json (docs/shard-format.md).
 *
 * Threads work on whole shards, and the raw data set is in memory.
 */
#ifndef DN_RECORDS_H
#define DN_RECORDS_H

#include "sets/sets.h"

/* Makes the records of a set of pixels in options->out, replacing existing ones. It does nothing,
 * with *made = 0, if `out` has these records already, by dataset.json and the sizes of the files;
 * these do not need the source, but if it is found its checksum is compared. Every file is written
 * completely before it gets its final name, dataset.json as the last; until then the folder has
 * none. On failure no temporary files are left. DN_EINVAL, with nothing changed, if the existing
 * records are of another data set, source or version, if a channel is constant, or if another
 * process is making records there. */
dn_status dn_records_make(const dn_raw_set *set, const dn_records_options *options, int *made);

#endif
