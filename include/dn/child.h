/*
 * Runs work on untrusted bytes in a child process.
 *
 * The HDF5 library crashes, and may loop forever, on metadata that was crafted rather than damaged;
 * a checksum does not protect against that. A forked child makes those calls and leaves its results
 * in shared pages. Whatever happens to the child, the caller gets a status.
 *
 * The child has a copy of the caller's memory and only the forking thread. Its only open files are
 * standard input and output; it prints nothing and dumps no core. It must not use OpenMP or MPI. It
 * is killed when its parent ends. Not collective.
 */
#ifndef DN_CHILD_H
#define DN_CHILD_H

#include <stddef.h>
#include <sys/types.h>

#include "dn/status.h"

typedef dn_status dn_child_fn(void *user);

/* Calls work(user) in a child and returns its status and message. Only what `work` writes to
 * dn_child_pages is visible to the caller. `what` names the input in messages; it may be in
 * dn_child_pages, and at most PATH_MAX bytes of it are read. Errors: those of `work`; DN_ECORRUPT
 * (the child crashed or used more than DN_CHILD_SECONDS), DN_ENOMEM (no process could be created,
 * or it was killed by SIGKILL, as when memory is short). */
dn_status dn_child_run(const char *what, dn_child_fn *work, void *user);

enum {
    DN_CHILD_SECONDS = 120, /* of processor time; the work takes milliseconds */
    DN_CHILD_GIB = 4        /* of memory beyond the caller's */
};

/* Zeroed memory shared with children that are forked later; NULL if there is none. A page is
 * allocated when it is first written. The caller frees it with dn_child_pages_free. */
void *dn_child_pages(size_t bytes);
void dn_child_pages_free(void *pages, size_t bytes);

/* Forks a child that outlives its caller. It has a session of its own, ignores signals that ask a
 * process to end, and keeps the caller's standard error and regular files (and the locks on them),
 * but none of its connections. It must not use OpenMP or MPI, and must end with _exit. Returns as
 * fork does. */
pid_t dn_child_detach(void);

#endif
