/*
 * The journal of a conversion, a file in the folder of the records until dataset.json is written:
 * which shards are whole, so that a conversion that was cut off goes on with them.
 *
 * An entry a shard, with a checksum, appended once the shard's files stand under their names. A
 * file of one machine and one version of the program; what is not as it was written does not count.
 */
#ifndef DN_JOURNAL_H
#define DN_JOURNAL_H

#include <limits.h>

#include "dn/manifest.h"

typedef struct dn_journal {
    char path[PATH_MAX];
    uint64_t key; /* of what the shards are made from, and how */
    dn_manifest *manifest;
    int file;
    int64_t size;    /* of the file */
    uint8_t **entry; /* (shards), NULL: not whole */
} dn_journal;

/* Opens folder/DN_JOURNAL_NAME, or makes it. Shards of entries of this key, whose files are there
 * to the byte, are whole: size, checksum and count are set in the manifest. All other entries are
 * taken out. Closed after a failure too. DN_EIO, DN_ENOMEM. */
dn_status dn_journal_open(dn_journal *j, const char *folder, uint64_t key, dn_manifest *manifest);

/* Notes that the shard is whole, and notes(size) for who goes on. Thread-safe. DN_EIO, DN_ENOMEM.
 */
dn_status dn_journal_add(dn_journal *j, const dn_manifest_shard *shard, const void *notes,
                         size_t size);

/* The shard's notes where it is whole, else NULL. */
const void *dn_journal_find(const dn_journal *j, const dn_manifest_shard *shard, size_t *size);

/* How many shards are whole. */
int dn_journal_count(const dn_journal *j);

/* Closes it; the file stays or is removed. Accepts one that is zeroed. */
void dn_journal_close(dn_journal *j, int stays);

#endif
