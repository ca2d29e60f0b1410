/* Jobs on OpenMP threads; see jobs.h. Messages are per thread, so the first one is carried over. */
#include "jobs.h"

#include <stdio.h>

dn_status dn_jobs_run(int count, int threads, dn_job *job, void *context)
{
    dn_status first = DN_OK;
    char message[1024] = "";
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int i = 0; i < count; i++) {
        dn_status seen;
#pragma omp atomic read
        seen = first;
        if (seen != DN_OK)
            continue;
        const dn_status status = job(context, i);
#pragma omp critical(dn_jobs)
        if (status != DN_OK && first == DN_OK) {
            snprintf(message, sizeof message, "%s", dn_message());
#pragma omp atomic write
            first = status;
        }
    }
    return first == DN_OK ? DN_OK : dn_fail(first, "%s", message);
}
