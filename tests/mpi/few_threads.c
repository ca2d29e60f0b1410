/* dn_dist on a system that is out of threads, for cli_ranks.sh: thread number FEW_THREADS (from 1)
 * that rank 1 creates itself is refused. Linked with --wrap. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "job/launcher.h"

int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *user)
{
    static _Atomic int started;
    const char *const refused = getenv("FEW_THREADS");
    if (refused && strcmp(dn_launched_rank(), "1") == 0 && ++started == atoi(refused))
        return EAGAIN;
    return __real_pthread_create(thread, attributes, start, user);
}
