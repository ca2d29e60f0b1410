/*
 * Folders, and files that appear whole or not at all.
 *
 * A file is written under a temporary name in the folder of its final one and then published: when
 * the final name exists, all its bytes are on the disk. Thread-safe for different paths.
 */
#ifndef DN_FILE_H
#define DN_FILE_H

#include "dn/status.h"

/* Makes the folder `path` and the missing ones above it; one that exists is no failure. DN_EIO
 * names the folder that the system refused and why. */
dn_status dn_make_folders(const char *path);

/* Flushes the closed file `temporary` to the disk, renames it to `final` in the same folder
 * (replacing a file of that name) and flushes the folder. When flushing or renaming fails,
 * `temporary` is removed, `final` is as it was, and DN_EIO names it and the reason. */
dn_status dn_file_publish(const char *temporary, const char *final);

#endif
