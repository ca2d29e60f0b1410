/*
 * Finds ranks that are alive without progress; see heartbeat.h. A rank that waits for MPI messages
 * is not to blame while another one works: slow work is legitimate, and named in a warning. But if
 * all ranks wait and no message arrives on any, none ever will: a link between two hosts is cut, or
 * MPI's network has failed while the heartbeat's still works.
 */
#include "job/heartbeat_parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static const char *const operation_names[] = {"the start",  "reading of data",      "forward",
                                              "backward",   "the sum of gradients", "update",
                                              "evaluation", "checkpoint",           "the end"};

const char *dn_operation_name(int operation)
{
    return operation_names[operation];
}

static int is_connected(const dn_heartbeat *hb, int rank)
{
    return rank == 0 || hb->line[rank].fd >= 0;
}

/* 1 if `rank` and its partner wait for each other. */
static int is_mutual(const dn_heartbeat *hb, int rank)
{
    const int64_t partner = hb->peer[rank].last.partner;
    return partner >= 0 && hb->peer[partner].last.partner == rank;
}

/* The rank to report if all wait: the higher of two that wait for each other, else the one that has
 * waited longest, as the others then wait for it. */
static int find_stuck(const dn_heartbeat *hb)
{
    int longest = 0;
    for (int r = hb->size - 1; r > 0; r--)
        if (is_connected(hb, r) && is_mutual(hb, r))
            return r;
    for (int r = 1; r < hb->size; r++)
        if (is_connected(hb, r) && hb->peer[r].last.waited > hb->peer[longest].last.waited)
            longest = r;
    return longest;
}

static _Noreturn void end_as_stuck(dn_heartbeat *hb)
{
    const int stuck = find_stuck(hb);
    const dn_beat *m = &hb->peer[stuck].last;
    char partner[DN_HOST_BYTES + 32] = "the others", reason[320];
    if (m->partner >= 0)
        snprintf(partner, sizeof partner, "rank %" PRId64 " on host %s", m->partner,
                 hb->peer[m->partner].host);
    snprintf(reason, sizeof reason,
             "it waits for %s, and for %.0f s nothing has come on any rank, though all are alive: "
             "the link between them may be cut",
             partner, m->waited);
    dn_heartbeat_end_as_lost(hb, stuck, reason);
}

static void warn_of(dn_heartbeat *hb, const dn_peer *slow, double now)
{
    hb->warned = now;
    dn_warn("rank %d on host %s has been at %s, step %" PRId64 ", for %.0f s",
            (int)(slow - hb->peer), slow->host, operation_names[slow->last.operation],
            slow->last.step, now - slow->since);
}

void dn_heartbeat_check_stall(dn_heartbeat *hb, double now)
{
    const dn_peer *slowest = NULL; /* of those that do not wait */
    double least = INFINITY;       /* the shortest wait of all ranks */
    int connected = 0;
    for (int r = 0; r < hb->size; r++) {
        const dn_peer *p = &hb->peer[r];
        if (!is_connected(hb, r))
            continue;
        connected++;
        least = fmin(least, p->last.waited);
        if (p->last.waited < 0 && (!slowest || p->since < slowest->since))
            slowest = p;
    }
    if (connected > 1 && least > hb->deadline && now - hb->woke > hb->deadline)
        end_as_stuck(hb);
    if (slowest && now - slowest->since > hb->deadline && now - hb->warned > hb->deadline)
        warn_of(hb, slowest, now);
}
