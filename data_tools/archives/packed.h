/*
 * Reads a file sequentially, gzipped or not, as its first bytes tell. In a gzipped file the CRC of
 * each member is checked, and only zeros (padding of tapes) may follow the last one. To check the
 * whole file, ask for one byte more than is expected.
 */
#ifndef DN_PACKED_H
#define DN_PACKED_H

#include <stddef.h>
#include <stdint.h>

#include "dn/status.h"

typedef struct dn_packed dn_packed;

/* Opens the file. The caller closes *packed, even after a failure. Errors as of dn_file_open;
 * DN_ENOMEM. */
dn_status dn_packed_open(dn_packed **packed, const char *path);

/* Reads the next bytes(*found), at most `size` < 2^32; fewer only at the end of the file. DN_EIO;
 * DN_ECORRUPT names the file. */
dn_status dn_packed_read(dn_packed *packed, void *bytes, size_t size, size_t *found);

/* Closes the file and sets *packed to NULL; does nothing if that is NULL. */
void dn_packed_close(dn_packed **packed);

#endif
