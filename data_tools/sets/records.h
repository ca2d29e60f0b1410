/*
 * Makes the records of a known data set: shards, and dataset.json (docs/shard-format.md).
 *
 * For sets of pixels threads work on whole shards, and the raw data set is in memory.
 */
#ifndef DN_RECORDS_H
#define DN_RECORDS_H

#include "sets/sets.h"

/* Makes the records, replacing existing ones. It does nothing, with *made = 0, if `out` has these
 * records already, by dataset.json and the sizes of the files; these do not need the source, but if
 * it is found its checksum is compared. Every file is written completely before it gets its final
 * name, dataset.json as the last; until then the folder has none. On failure no temporary files are
 * left. DN_EINVAL, with nothing changed, if the existing records are of another data set, source or
 * version, if a channel is constant, or if another process is making records there. */
dn_status dn_records_make(const dn_raw_set *set, const dn_records_options *options, int *made);

/* The same for a set of encoded images; out = options->out or the set's folder. As dn_folder_make.
 */
dn_status dn_records_make_encoded(const dn_raw_set *set, const dn_records_options *options,
                                  char out[PATH_MAX], int *made);

#endif
