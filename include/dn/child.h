/*
 * Work on bytes that nobody vouches for, in a process of its own.
 *
 * The HDF5 library crashes, and may loop, on metadata that a checksum proves to be as it was
 * written but that nobody honest wrote. A forked child makes those calls; what it finds it leaves
 * in pages that both see, and whatever becomes of it the caller has a status.
 *
 * The child has the caller's memory as it was at the fork, its thread alone, no open file but
 * standard input and output, and nothing to say: neither lines nor a core file. It must not use
 * OpenMP or MPI. It ends with the caller.
 */
#ifndef DN_CHILD_H
#define DN_CHILD_H

#include <stddef.h>
#include <sys/types.h>

#include "dn/status.h"

typedef dn_status dn_child_fn(void *user);

/* Calls work(user) in a child and returns its status and message. DN_ECORRUPT where the child
 * crashed or computed for longer than DN_CHILD_SECONDS: `what` names what it read, in pages
 * perhaps, where no more than PATH_MAX bytes of it are read. DN_ENOMEM where the system gives no
 * process, or it was killed (SIGKILL), as when memory is short. Only what work wrote to
 * dn_child_pages is the caller's to read. */
dn_status dn_child_run(const char *what, dn_child_fn *work, void *user);

enum {
    DN_CHILD_SECONDS = 120, /* of processor time: for what takes milliseconds */
    DN_CHILD_GIB = 4        /* of memory of its own */
};

/* Zeroed memory that children made later share; NULL: none is left. Takes a page when it is
 * written. The caller frees it with dn_child_pages_free. */
void *dn_child_pages(size_t bytes);
void dn_child_pages_free(void *pages, size_t bytes);

/* Forks as fork does, a child that outlives its caller: in a session of its own, deaf to signals
 * that ask for an end, with the caller's standard error and regular files (and so the locks on
 * them), but none of its connections. The child must not use OpenMP or MPI, and ends with _exit. */
pid_t dn_child_detach(void);

#endif
