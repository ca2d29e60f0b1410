/* Does what a command is about to touch fit into the memory that there is? See commands.h. */
#include "commands/commands.h"

#include <math.h>
#include <stdlib.h>

#include "dn/limits.h"

/* Of what is left, the part that a batch to be proposed may take: not all that a run touches is
 * counted. */
static const double proposed_part = 0.95;

/* What a rank needs, and its cgroup's limit. */
typedef struct need {
    dn_limit limit;
    double bytes;
} need;

/* The largest batch of which `ranks` nets take no more than `left` in all, with `fixed` beside
 * each; 0: none. Plans of smaller batches take less. */
static int largest_batch(const dn_net *net, double fixed, int ranks, double left)
{
    int fits = 0, too_large = dn_net_view(net).batch;
    while (too_large - fits > 1) {
        const int batch = fits + (too_large - fits) / 2;
        const size_t planned = dn_net_planned_bytes(net, batch);
        if (planned > 0 && ((double)planned + fixed) * ranks <= left)
            fits = batch;
        else
            too_large = batch;
    }
    return fits;
}

/* Of needs(count) those with `group`, or all where it is 0, against what is left for them. */
static dn_status check_needs(const need *needs, int count, uint64_t group, double left,
                             const dn_net *net, double own)
{
    double wanted = 0;
    int ranks = 0;
    for (int i = 0; i < count; i++)
        if (group == 0 || needs[i].limit.group == group) {
            wanted += needs[i].bytes;
            ranks++;
        }
    if (wanted <= left)
        return DN_OK;
    const int batch = dn_net_view(net).batch;
    const double arena = (double)dn_net_view(net).arena_bytes;
    const int fits = largest_batch(net, fmax(0, own - arena), ranks, proposed_part * left);
    return dn_fail(
        DN_ENOMEM,
        "--batch-size %d: %d ranks here need %.0f bytes (%.1f GiB), found %.0f (%.1f GiB) "
        "left %s; the largest that fits is %d",
        batch, ranks, wanted, wanted / 0x1p30, left, left / 0x1p30,
        group == 0 ? "of this machine's" : "to their cgroup", fits);
}

dn_status dn_check_memory(const dn_comm *comm, const dn_net *net, size_t more)
{
    const dn_view view = dn_net_view(net);
    const double touched = (double)((view.parameter_count + view.running_count) * sizeof(float));
    need own = {.limit = dn_limit_memory(""),
                .bytes = (double)view.arena_bytes - touched + (double)more};
    const double machine = dn_machine_memory("");
    need *needs = calloc((size_t)comm->node_size, sizeof *needs);
    dn_status status = needs != NULL ? DN_OK : dn_fail(DN_ENOMEM, "memory: found none");
    DN_TRY_OR_DONE(dn_comm_agree(comm, status));
    DN_MPI(MPI_Allgather(&own, sizeof own, MPI_BYTE, needs, sizeof own, MPI_BYTE, comm->node));
    if (own.limit.group != 0)
        status =
            check_needs(needs, comm->node_size, own.limit.group, own.limit.amount, net, own.bytes);
    if (status == DN_OK)
        status = check_needs(needs, comm->node_size, 0, machine, net, own.bytes);
    status = dn_comm_agree(comm, status);
done:
    free(needs);
    return status;
}
