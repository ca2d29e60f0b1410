/*
 * Exclusive ownership of a run's folder: one process at a time writes into it.
 *
 * The folder's file "lock" names the last owner and is locked (flock) while that process or a child
 * that it forked lives; the system releases the lock however they end. Between hosts this holds if
 * the file system propagates locks (docs/faults.md). Not collective.
 */
#ifndef DN_CLAIM_H
#define DN_CLAIM_H

#include <limits.h>
#include <stdint.h>

#include "dn/status.h"

/* Files in a run's folder: the lock, and the record that survivors of a lost rank write
 * (mpi/job/heartbeat.h). */
#define DN_LOCK_NAME "lock"
#define DN_LOST_NAME "lost.json"

/* A zeroed claim owns no folder. */
typedef struct dn_claim {
    char folder[PATH_MAX];
    int file;
    uint64_t token; /* random, stored in the lock with the process; 0: no random numbers were
                       available */
    int made;       /* how many folders dn_claim_take created: `folder` and those above it */
} dn_claim;

/* Takes ownership of the folder, which is created if missing, and releases the one owned before.
 * Errors: DN_EINVAL (owned by another process, which the message names), DN_EIO. If that process
 * has ended, or was lost with its host, waits first for as long as systems take to release its
 * lock. */
dn_status dn_claim_take(dn_claim *claim, const char *folder);

/* Call before writing to the folder again. If the folder or lock was deleted, moved away or is a
 * copy of this process's, recreates and takes them, with a warning. Errors: DN_EINVAL (another
 * process has taken the folder meanwhile, and may have ended; the claim is unchanged), DN_EIO. */
dn_status dn_claim_keep(dn_claim *claim);

/* Releases the folder; does nothing if none is owned. */
void dn_claim_release(dn_claim *claim);

/* Releases the folder before anything was written, and removes the folders that were created for
 * it. */
void dn_claim_abandon(dn_claim *claim);

/* State of the last owner of a folder. */
typedef enum dn_claim_life {
    DN_CLAIM_NOT_KNOWN, /* it was on another host, or there was none */
    DN_CLAIM_LIVES,
    DN_CLAIM_ENDED
} dn_claim_life;

/* Returns the state without locking, so that it cannot delay a starting run. */
dn_claim_life dn_claim_look(const char *folder);

#endif
