/* Checks memory before it is touched; see memory.h. */
#include "commands/memory.h"

#include <stdio.h>
#include <stdlib.h>

#include "dn/limits.h"

/* The usable part of free memory: the rest is for what is not counted. */
static const double usable_part = 0.95;

/* A rank's memory: what it needs besides its net's arena, and the limit of its cgroup. */
typedef struct need {
    dn_limit limit;
    dn_bytes bytes;
} need;

/* The largest batch for which `ranks` nets, each with `more`, fit into `most` bytes; 0: none.
 * Memory grows with the batch. */
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

/* text = which batch fits; if none does because of more.fixed, what that is. */
static void say_largest(char text[256], const dn_net *net, dn_bytes more, int ranks, double most,
                        const char *fixed_is)
{
    const int fits = largest_batch(net, more, ranks, most);
    const dn_bytes unfixed = {.by_batch = more.by_batch};
    if (fits > 0)
        snprintf(text, 256, "the largest that fits is %d", fits);
    else if (largest_batch(net, unfixed, ranks, most) > 0)
        snprintf(text, 256, "no batch fits, as %.1f GiB of it are %s", ranks * more.fixed / 0x1p30,
                 fixed_is);
    else
        snprintf(text, 256, "no batch fits");
}

/* Checks that those of needs(count) with this `group`, or all if it is 0, fit into the `left`
 * bytes. */
static dn_status check_needs(const need *needs, int count, uint64_t group, double left,
                             const dn_net *net, const char *fixed_is)
{
    const dn_view view = dn_net_view(net);
    const double arena = (double)view.arena_bytes;
    dn_bytes wanted = {0};
    int ranks = 0;
    for (int i = 0; i < count; i++)
        if (group == 0 || needs[i].limit.group == group) {
            wanted.fixed += needs[i].bytes.fixed;
            wanted.by_batch += needs[i].bytes.by_batch;
            ranks++;
        }
    const double all = wanted.fixed + wanted.by_batch + ranks * arena;
    if (all <= usable_part * left)
        return DN_OK;
    const dn_bytes more = {wanted.fixed / ranks, wanted.by_batch / ranks};
    char advice[256];
    say_largest(advice, net, more, ranks, usable_part * left, fixed_is);
    return dn_fail(
        DN_ENOMEM,
        "--batch-size %d: %d ranks here need %.0f bytes (%.1f GiB), found %.0f (%.1f GiB) "
        "left %s, of which they may take 95 %%; %s",
        view.batch, ranks, all, all / 0x1p30, left, left / 0x1p30,
        group == 0 ? "of this machine's" : "to their cgroup", advice);
}

dn_status dn_check_memory(const dn_comm *comm, const dn_net *net, dn_bytes more,
                          const char *fixed_is)
{
    const dn_view view = dn_net_view(net);
    const double touched = (double)((view.parameter_count + view.running_count) * sizeof(float));
    need own = {.limit = dn_limit_memory(""), .bytes = more};
    own.bytes.fixed -= touched;
    const double machine = dn_machine_memory("");
    need *needs = calloc((size_t)comm->machine_size, sizeof *needs);
    dn_status status = needs != NULL ? DN_OK : dn_fail(DN_ENOMEM, "out of memory");
    DN_TRY_OR_DONE(dn_comm_agree(comm, status));
    DN_COLLECTIVE(comm, MPI_Allgather(&own, sizeof own, MPI_BYTE, needs, sizeof own, MPI_BYTE,
                                      comm->machine));
    if (own.limit.group != 0)
        status = check_needs(needs, comm->machine_size, own.limit.group, own.limit.amount, net,
                             fixed_is);
    if (status == DN_OK)
        status = check_needs(needs, comm->machine_size, 0, machine, net, fixed_is);
    status = dn_comm_agree(comm, status);
done:
    free(needs);
    return status;
}
