/*
 * What is in archives, by libarchive, as files. Nobody vouches for it.
 */
#ifndef DN_UNPACK_H
#define DN_UNPACK_H

#include <limits.h>
#include <stdint.h>

#include "dn/status.h"

/* path = a name for mkstemp or mkdtemp in $TMPDIR, or in /var/tmp: what is unpacked may be large,
 * and belongs in no memory. As dn_join_path. */
dn_status dn_temporary_path(char path[PATH_MAX]);

/* Unpacks a tar archive, packed or not, or a zip archive: all of it or nothing. Only files and
 * folders below it, of at most so many bytes in all, to a new folder, in place of one of that name.
 * DN_ECORRUPT names the entry that is something else; DN_EIO. */
dn_status dn_unpack(const char *archive, const char *folder, int64_t most);

/* Moves all that is in a folder to another one, once it is on the disk. DN_EIO: something of such a
 * name is there. */
dn_status dn_move_entries(const char *from, const char *folder);

/* Removes the folder with all that is in it, as far as it can be. */
void dn_remove_folder(const char *folder);

#endif
