/*
 * Unpacks archives into files, by libarchive. Archives are untrusted input.
 */
#ifndef DN_UNPACK_H
#define DN_UNPACK_H

#include <limits.h>
#include <stdint.h>

#include "dn/status.h"

/* path = a template for mkstemp or mkdtemp in $TMPDIR, or in /var/tmp, as /tmp may be in memory and
 * the files large. Errors as of dn_join_path. */
dn_status dn_temporary_path(char path[PATH_MAX]);

/* Unpacks a tar archive, compressed or not, or a zip archive into a new folder, replacing one of
 * that name: all of it or nothing. Only files and folders are accepted, below that folder and of at
 * most `most` bytes in total. DN_ECORRUPT names an entry that is anything else; DN_EIO. */
dn_status dn_unpack(const char *archive, const char *folder, int64_t most);

/* Flushes the entries of a folder to disk and moves them to another folder. DN_EIO if that has an
 * entry of the same name. */
dn_status dn_move_entries(const char *from, const char *folder);

/* Removes the folder and its contents as far as possible. */
void dn_remove_folder(const char *folder);

#endif
