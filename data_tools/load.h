/* Whole files in memory: the sources, TFRecord shards and checksums are read so. */
#ifndef DN_LOAD_H
#define DN_LOAD_H

#include <stddef.h>
#include <stdint.h>

#include "dn/status.h"

/* *bytes(*size) = the content of the file `path`, to be freed by the caller; NULL after a failure.
 * DN_ENOENT where there is none, DN_EIO. */
dn_status dn_load_file(const char *path, uint8_t **bytes, size_t *size);

#endif
