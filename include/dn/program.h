/* What programs do alike at their beginning and end. */
#ifndef DN_PROGRAM_H
#define DN_PROGRAM_H

#include "dn/status.h"

/* The project's version, "1.2.3". */
const char *dn_version(void);

/* To be called first: a standard stream that was closed is opened again, so that no file gets its
 * number, but for standard output such that every write fails; and a write past the user's limit of
 * a file's size fails, too, where it would end the process. */
void dn_streams_open(void);

/* To be called last: all that was printed is on standard output. DN_EIO. */
dn_status dn_output_flush(void);

#endif
