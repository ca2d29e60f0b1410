/* Which of Open MPI's transports fail where this process runs; see transports.h. setenv leaves what
 * the user chose. */
#include "job/transports.h"

#include <stdlib.h>

#include "job/launcher.h"

/* Open MPI's transport through shared memory takes process numbers for the machine's: ranks with
 * numbers of their own (a container each) crash in it; and it reads other processes' memory, which
 * it does not get at in other user namespaces. Ranks whose launcher is among their ancestors share
 * its numbers; where that is not known they do without, which is slow at worst. */
static void avoid_shared_memory(void)
{
    const dn_kinship kinship = dn_launcher_kinship();
    if (kinship == DN_KIN_NONE)
        setenv("OMPI_MCA_btl", "^vader,sm", 0);
    else if (kinship == DN_KIN_OTHER_USER)
        setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
}

/* Open MPI 5 finds from another interface than `lo` no way to its own machine: it says so at every
 * start, and has no TCP there. And a process without a launcher leaves the shared memory that it
 * needs none of in /dev/shm for good. */
void dn_choose_transports(void)
{
    if (!dn_is_launched()) {
        setenv("OMPI_MCA_btl", "self", 0);
        return;
    }
    avoid_shared_memory();
    if (dn_launched_on_one_machine() && getenv("OMPI_MCA_btl_tcp_if_exclude") == NULL)
        setenv("OMPI_MCA_btl_tcp_if_include", "lo", 0);
}
