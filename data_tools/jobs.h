/* Independent jobs on a few threads, one per shard. */
#ifndef DN_JOBS_H
#define DN_JOBS_H

#include "dn/status.h"

typedef dn_status dn_job(void *context, int index);

/* Runs job(context, 0..count-1) on up to `threads` threads. After a failure no further job starts;
 * the first failure's status and message are the caller's. */
dn_status dn_jobs_run(int count, int threads, dn_job *job, void *context);

#endif
