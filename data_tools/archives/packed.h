/*
 * Reading a file from its beginning, gzipped or not: its first bytes say. Of a gzipped one each
 * member's CRC is checked, and nothing may stand behind the last but zeros, as tapes leave them.
 * Where all is to be checked, ask for a byte more than is expected.
 */
#ifndef DN_PACKED_H
#define DN_PACKED_H

#include <stddef.h>
#include <stdint.h>

#include "dn/status.h"

typedef struct dn_packed dn_packed;

/* The caller closes *packed, after a failure too. As dn_file_open; DN_ENOMEM. */
dn_status dn_packed_open(dn_packed **packed, const char *path);

/* The next bytes(*found) of at most `size`, which is below 2^32; fewer only at the end. DN_EIO;
 * DN_ECORRUPT names the file. */
dn_status dn_packed_read(dn_packed *packed, void *bytes, size_t size, size_t *found);

/* Sets *packed to NULL; accepts NULL inside. */
void dn_packed_close(dn_packed **packed);

#endif
