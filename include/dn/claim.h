/*
 * A run's folder, which one process at a time writes into.
 *
 * Its file "lock" names the process that took it last, and is locked (flock) while that process or
 * a child that it forked lives; the system lets go of it however they end. Between hosts this holds
 * where the file system passes locks on (docs/faults.md). Not collective.
 */
#ifndef DN_CLAIM_H
#define DN_CLAIM_H

#include <limits.h>
#include <stdint.h>

#include "dn/status.h"

/* Files of a run's folder: the lock; what survivors of a lost rank wrote of it
 * (mpi/job/heartbeat.h). */
#define DN_LOCK_NAME "lock"
#define DN_LOST_NAME "lost.json"

/* Zeroed: of no folder. */
typedef struct dn_claim {
    char folder[PATH_MAX];
    int file;
    uint64_t token; /* random, in the lock beside the process; 0: the system gave none */
    int made;       /* dn_claim_take made the folder, 1, and so many with those above it */
} dn_claim;

/* Takes the folder, making it where it is missing, and lets go of another one. DN_EINVAL names the
 * process that has it: at once, but where that has ended, or was lost with its host, only when the
 * lock outlasts it for longer than systems need to notice. DN_EIO. */
dn_status dn_claim_take(dn_claim *claim, const char *folder);

/* Before the process writes there again: where folder or lock were deleted, or moved away, or are a
 * copy of this process's, makes and takes them anew, with a warning.
 * DN_EINVAL: another process has taken the folder meanwhile, and may have ended; the claim stays as
 * it was. DN_EIO. */
dn_status dn_claim_keep(dn_claim *claim);

/* Lets go of the folder; of none: does nothing. */
void dn_claim_release(dn_claim *claim);

/* The same before anything was written: folders that were made for it go as well. */
void dn_claim_abandon(dn_claim *claim);

/* What has become of the process that took a folder last. */
typedef enum dn_claim_life {
    DN_CLAIM_NOT_KNOWN, /* it was on another host, or there was none */
    DN_CLAIM_LIVES,
    DN_CLAIM_ENDED
} dn_claim_life;

/* Looks without locking, so that no run that starts is hindered. */
dn_claim_life dn_claim_look(const char *folder);

#endif
