/*
 * Makes folders of records of the known sets: the shards, and dataset.json (docs/shard-format.md).
 *
 * Of sets of pixels a shard is the unit of work on threads, and the raw data set is held in memory.
 */
#ifndef DN_RECORDS_H
#define DN_RECORDS_H

#include "sets/sets.h"

/* Makes the records in place of existing ones, unless `out` holds these very records already:
 * dataset.json says so and all its files have their sizes; *made = whether it did. Every file
 * appears whole under its final name, dataset.json last; until then the folder has none. On failure
 * nothing temporary is left. DN_EINVAL, with nothing changed, when the existing ones are of another
 * data set, source or version, when a channel is constant, or when another process is making
 * records there. Complete ones need no source; one that is found is compared with theirs. */
dn_status dn_records_make(const dn_raw_set *set, const dn_records_options *options, int *made);

/* The same of a set of encoded images; *out = options->out or the set's. As dn_folder_make. */
dn_status dn_records_make_encoded(const dn_raw_set *set, const dn_records_options *options,
                                  char out[PATH_MAX], int *made);

#endif
