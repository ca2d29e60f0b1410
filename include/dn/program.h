/* Start and end of every program: version, standard streams. Not collective. */
#ifndef DN_PROGRAM_H
#define DN_PROGRAM_H

#include "dn/status.h"

/* Exit statuses; of dn_dist, on every rank that can still return one (docs/faults.md). */
typedef enum dn_exit {
    DN_EXIT_DONE = 0,
    DN_EXIT_FAILED = 1,
    DN_EXIT_AGAIN = 75, /* stopped by a signal or the time limit: run again to continue */
    DN_EXIT_LOST = 76   /* a rank was lost: run again, possibly without its host */
} dn_exit;

/* The project's version, "1.2.3". */
const char *dn_version(void);

/* Call first. Reopens standard streams that are closed, so that no other file gets their
 * descriptors; writes to a standard output that was closed fail. Standard error is written line by
 * line. A write beyond the user's file size limit (RLIMIT_FSIZE) fails instead of killing the
 * process. */
void dn_streams_open(void);

/* Call last. Flushes standard output. Errors: DN_EIO. */
dn_status dn_output_flush(void);

#endif
