/*
 * Finds the places of the files in a tar archive, by libarchive, so that they can be read in place.
 */
#ifndef DN_TAR_WALK_H
#define DN_TAR_WALK_H

#include <stdint.h>

#include "dn/status.h"

/* Called for each file: its name, and its bytes [at, at + size) in the archive's file. */
typedef dn_status dn_tar_visit(void *user, const char *name, int64_t at, int64_t size);

/* Visits the files of the archive in bytes [at, at + size) of the open file `path`, in order;
 * folders and links are skipped. DN_ECORRUPT if it is not a valid tar archive; or the error of a
 * visit. */
dn_status dn_tar_walk(int file, const char *path, int64_t at, int64_t size, dn_tar_visit *visit,
                      void *user);

#endif
