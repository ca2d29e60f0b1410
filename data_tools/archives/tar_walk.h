/*
 * Where the files of a tar archive are, by libarchive: a file that is not packed is read in place.
 */
#ifndef DN_TAR_WALK_H
#define DN_TAR_WALK_H

#include <stdint.h>

#include "dn/status.h"

/* Told of each file: its name, and that it is bytes [at, at + size) of the archive's file. */
typedef dn_status dn_tar_visit(void *user, const char *name, int64_t at, int64_t size);

/* Walks the archive that is bytes [at, at + size) of the open file `path`, in its order; folders
 * and links are passed over. DN_ECORRUPT: it is no sound tar archive; or what a visit returns. */
dn_status dn_tar_walk(int file, const char *path, int64_t at, int64_t size, dn_tar_visit *visit,
                      void *user);

#endif
