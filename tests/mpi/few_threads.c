/* dn_dist on a system that is out of threads, for cli/ranks.sh: thread number FEW_THREADS (from 1)
 * that rank 1 creates itself is refused; 0: only the main thread may call MPI. Linked with --wrap.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <mpi.h>

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

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided)
{
    const char *const refused = getenv("FEW_THREADS");
    const int result = PMPI_Init_thread(argc, argv, required, provided);
    if (refused && strcmp(refused, "0") == 0)
        *provided = MPI_THREAD_FUNNELED;
    return result;
}
