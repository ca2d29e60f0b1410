/* What the environment tells MPI; see transports.h. setenv leaves what the user chose. */
#include "job/transports.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* 1 where process `other` is of this one's user namespace, as far as one may look. */
static int is_same_user_namespace(int other)
{
    char path[64], own[64] = "", others[64] = "";
    snprintf(path, sizeof path, "/proc/%d/ns/user", other);
    return readlink("/proc/self/ns/user", own, sizeof own - 1) > 0 &&
           readlink(path, others, sizeof others - 1) > 0 && strcmp(own, others) == 0;
}

/* Open MPI's transport through shared memory takes process numbers for the machine's: ranks with
 * numbers of their own (a container each) crash in it; and it reads other processes' memory, which
 * it does not get at in other user namespaces. The launcher's number stands at the end of its
 * folder's name. */
static void avoid_shared_memory(void)
{
    const char *folder = getenv("PMIX_SERVER_TMPDIR"), *dot = folder ? strrchr(folder, '.') : NULL;
    const int launcher = dot ? atoi(dot + 1) : 0;
    if (launcher <= 0)
        return;
    if (getpid() == 1 || (kill(launcher, 0) != 0 && errno == ESRCH))
        setenv("OMPI_MCA_btl", "^vader,sm", 0);
    else if (!is_same_user_namespace(launcher))
        setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
}

/* Open MPI 5 finds from another interface than `lo` no way to its own machine: it says so at every
 * start, and has no TCP there. And a process without a launcher leaves the shared memory that it
 * needs none of in /dev/shm for good. */
void dn_choose_transports(void)
{
    const char *ranks = getenv("OMPI_COMM_WORLD_SIZE");
    const char *here = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    avoid_shared_memory();
    if (ranks == NULL && getenv("PMIX_RANK") == NULL && getenv("PMI_RANK") == NULL)
        setenv("OMPI_MCA_btl", "self", 0);
    else if (ranks != NULL && here != NULL && strcmp(ranks, here) == 0 &&
             getenv("OMPI_MCA_btl_tcp_if_exclude") == NULL)
        setenv("OMPI_MCA_btl_tcp_if_include", "lo", 0);
}
