/*
 * Makes folders of records of the known sets of pixels: the shards, and dataset.json
 * (docs/shard-format.md).
 *
 * A shard is the unit of work on threads. The raw data set is held in memory.
 */
#ifndef DN_RECORDS_H
#define DN_RECORDS_H

#include "dn/image.h"
#include "dn/manifest.h"
#include "options.h"
#include "sets/sets.h"

/* Makes the records in place of existing ones, unless `out` holds these very records already:
 * dataset.json says so and all its files have their sizes; *made = whether it did. Every file
 * appears whole under its final name, dataset.json last; until then the folder has none. On failure
 * nothing temporary is left. DN_EINVAL, with nothing changed, when the existing ones are of another
 * data set, source or version, when a channel is constant, or when another process is making
 * records there. Complete ones need no source; one that is found is compared with theirs. */
dn_status dn_records_make(const dn_raw_set *set, const dn_records_options *options, int *made);

/* An encoded image as it stands in a shard. */
typedef struct dn_stored_image {
    dn_buffer bytes; /* owned */
    size_t size;
    uint64_t hash; /* XXH3-64 of bytes(size) */
    int32_t width, height;
    uint16_t label;
    char *name; /* of the file that it was, owned; NULL: not known */
} dn_stored_image;

#endif
