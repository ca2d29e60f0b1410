/* Does what a command is about to touch fit into the memory that there is? See commands.h. */
#include "commands/commands.h"

#include <math.h>
#include <stdlib.h>

#include "dn/limits.h"

/* Of what is left, the part that may be taken: not all that a run touches is counted. */
static const double usable_part = 0.95;

/* A rank's needs and its cgroup's limit. */
typedef struct claim {
    dn_limit limit;
    dn_bytes need;
} claim;

/* The largest batch of which `ranks` nets take no more than `most` in all, with `more` beside
 * each; 0: none. Plans of smaller batches take less. */
static int largest_batch(const dn_net *net, dn_bytes more, int ranks, double most)
{
    const int batch = dn_net_view(net).batch;
    int fits = 0, too_large = batch;
    while (too_large - fits > 1) {
        const int middle = fits + (too_large - fits) / 2;
        const size_t planned = dn_net_planned_bytes(net, middle);
        const double each = (double)planned + more.fixed + more.by_batch * middle / batch;
        if (planned > 0 && each * ranks <= most)
            fits = middle;
        else
            too_large = middle;
    }
    return fits;
}

/* Of claims(count) those with `group`, or all where it is 0, against what is left for them. */
static dn_status check_claims(const claim *claims, int count, uint64_t group, double left,
                              const dn_net *net)
{
    const dn_view view = dn_net_view(net);
    const double arena = (double)view.arena_bytes;
    dn_bytes wanted = {0};
    int ranks = 0;
    for (int i = 0; i < count; i++)
        if (group == 0 || claims[i].limit.group == group) {
            wanted.fixed += claims[i].need.fixed;
            wanted.by_batch += claims[i].need.by_batch;
            ranks++;
        }
    const double all = wanted.fixed + wanted.by_batch + ranks * arena;
    if (all <= usable_part * left)
        return DN_OK;
    const dn_bytes more = {wanted.fixed / ranks, wanted.by_batch / ranks};
    return dn_fail(
        DN_ENOMEM,
        "--batch-size %d: %d ranks here need %.0f bytes (%.1f GiB), found %.0f (%.1f GiB) "
        "left %s, of which they may take 95 %%; the largest that fits is %d",
        view.batch, ranks, all, all / 0x1p30, left, left / 0x1p30,
        group == 0 ? "of this machine's" : "to their cgroup",
        largest_batch(net, more, ranks, usable_part * left));
}

dn_status dn_check_memory(const dn_comm *comm, const dn_net *net, dn_bytes more)
{
    const dn_view view = dn_net_view(net);
    const double touched = (double)((view.parameter_count + view.running_count) * sizeof(float));
    claim own = {.limit = dn_limit_memory(""), .need = more};
    own.need.fixed -= touched;
    const double machine = dn_machine_memory("");
    claim *claims = calloc((size_t)comm->node_size, sizeof *claims);
    const int found = claims != NULL;
    DN_TRY(dn_comm_agree(comm, found ? DN_OK : dn_fail(DN_ENOMEM, "memory: found none")));
    DN_MPI(MPI_Allgather(&own, sizeof own, MPI_BYTE, claims, sizeof own, MPI_BYTE, comm->node));
    dn_status status = DN_OK;
    if (own.limit.group != 0)
        status = check_claims(claims, comm->node_size, own.limit.group, own.limit.amount, net);
    if (status == DN_OK)
        status = check_claims(claims, comm->node_size, 0, machine, net);
    free(claims);
    return dn_comm_agree(comm, status);
}
