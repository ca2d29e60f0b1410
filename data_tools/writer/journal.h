/*
 * The journal of a conversion, a file in the folder of records until dataset.json is written: it
 * lists the whole shards, with which an interrupted conversion continues.
 *
 * Each shard has an entry with a checksum, which is appended after the shard's files have their
 * final names. The journal is read by the same machine and version of the program only; damaged
 * entries are ignored.
 */
#ifndef DN_JOURNAL_H
#define DN_JOURNAL_H

#include <limits.h>

#include "dn/manifest.h"

typedef struct dn_journal {
    char path[PATH_MAX];
    uint64_t key; /* a hash of the shards' inputs and options */
    dn_manifest *manifest;
    int file;
    int64_t size;    /* of the file */
    uint8_t **entry; /* (shards) NULL: not whole */
} dn_journal;

/* Opens or creates folder/DN_JOURNAL_NAME. A shard is whole if it has an entry with this key and
 * its files match it byte by byte; their sizes, checksums and counts are set in the manifest. All
 * other entries are removed. DN_EIO, DN_ENOMEM. The caller closes it, even after a failure. */
dn_status dn_journal_open(dn_journal *j, const char *folder, uint64_t key, dn_manifest *manifest);

/* Records that the shard is whole, with notes(size) for a later attempt. Thread-safe. DN_EIO,
 * DN_ENOMEM. */
dn_status dn_journal_add(dn_journal *j, const dn_manifest_shard *shard, const void *notes,
                         size_t size);

/* Returns notes(*size) of the shard, owned by the journal; NULL if it is not whole. `size` may be
 * NULL. */
const void *dn_journal_find(const dn_journal *j, const dn_manifest_shard *shard, size_t *size);

/* The number of whole shards. */
int dn_journal_count(const dn_journal *j);

/* Removes the file; warns if it cannot, as the journal of complete records is ignored. */
void dn_journal_remove(const char *path);

/* Closes the journal, and removes the file unless it `stays`. Accepts a zeroed one. */
void dn_journal_close(dn_journal *j, int stays);

#endif
