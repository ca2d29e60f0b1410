/* Finds the transports of Open MPI that fail where this process runs; see transports.h. setenv does
 * not overwrite what the user set, but Open MPI prefers it to a site's openmpi-mca-params.conf:
 * only what would fail otherwise is set. */
#include "job/transports.h"

#include <stdlib.h>

#include "job/launcher.h"

/* Open MPI's shared-memory transport assumes one PID namespace: ranks in different ones (a
 * container each) crash in it. It also reads other processes' memory, which it cannot do across
 * user namespaces. Ranks with the launcher among their ancestors share its PID namespace; if that
 * is not known the transport is disabled, which is slow at worst. */
static void avoid_shared_memory(void)
{
    const dn_kinship kinship = dn_launcher_kinship();
    if (kinship == DN_KIN_OTHER_USER)
        setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
    if (kinship != DN_KIN_NONE)
        return;
    setenv("OMPI_MCA_btl", "^vader,sm", 0);
    /* By TCP Open MPI 5 reaches its own machine through `lo` only. */
    if (dn_launched_on_one_machine() && getenv("OMPI_MCA_btl_tcp_if_exclude") == NULL)
        setenv("OMPI_MCA_btl_tcp_if_include", "lo", 0);
}

/* A process without a launcher would leave a shared-memory file, which it does not need, in
 * /dev/shm. */
void dn_choose_transports(void)
{
    if (dn_is_launched())
        avoid_shared_memory();
    else
        setenv("OMPI_MCA_btl", "self", 0);
}
