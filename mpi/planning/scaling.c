/*
 * The simulation of a step on a cluster (mpi/scaling.h).
 *
 * Two resources carry messages, a node's memory and its link; each is described by the time from
 * which it is free. An event is the start of one round of one bucket: the bucket takes the link for
 * the round's bytes, and goes on a latency later, or when its rank next looks. Events are taken in
 * the order of time. What limits a step is found by asking again with one property of the network
 * made perfect.
 */
#include "planning/scaling.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allreduce/allreduce.h"
#include "allreduce/comm_schedule.h"

/* ---- rounds ---- */

/* Pieces that a rank, or a node, has sent and received in a round. */
typedef struct traffic {
    int sent, received;
} traffic;

static void count_move(traffic *from, traffic *to, int pieces, double *most)
{
    from->sent += pieces;
    to->received += pieces;
    *most = fmax(*most, fmax(from->sent, to->received));
}

/* Counts the moves of the round that starts with `m`; returns where the next one starts. Scratch:
 * inside(ranks), of ranks in their nodes, and between(nodes), of nodes. */
static const dn_transfer *count_round(const dn_transfer *m, const dn_transfer *end,
                                      int ranks_per_node, traffic *inside, traffic *between,
                                      dn_round *round)
{
    for (const int number = m->round; m < end && m->round == number; m++) {
        const int from = m->from.rank, to = m->to.rank, pieces = m->last - m->first;
        const int node = from / ranks_per_node, to_node = to / ranks_per_node;
        if (node != to_node)
            count_move(&between[node], &between[to_node], pieces, &round->between);
        else if (from != to)
            count_move(&inside[from], &inside[to], pieces, &round->inside);
    }
    return m;
}

dn_status dn_scaling_rounds(int ranks, int ranks_per_node, int virtual_ranks, dn_round **rounds,
                            int *count)
{
    dn_comm_schedule moves;
    const size_t scratch = 2 * (size_t)ranks * sizeof(traffic);
    traffic *inside = malloc(scratch);
    *rounds = NULL;
    *count = 0;
    dn_status status;
    DN_TRY_OR_DONE(dn_comm_schedule_create(&moves, virtual_ranks, ranks, DN_ALL_RANKS));
    const dn_transfer *m = moves.move, *end = m + moves.count;
    *rounds = calloc(m < end ? (size_t)end[-1].round + 1 : 1, sizeof **rounds);
    if (inside == NULL || *rounds == NULL) {
        status = dn_fail(DN_ENOMEM, "memory: found none for the rounds of %d ranks", ranks);
        goto done;
    }
    while (m < end) {
        dn_round *round = &(*rounds)[*count];
        memset(inside, 0, scratch);
        m = count_round(m, end, ranks_per_node, inside, inside + ranks, round);
        round->inside /= moves.pieces;
        round->between /= moves.pieces;
        *count += round->inside > 0 || round->between > 0;
    }
done:
    free(inside);
    dn_comm_schedule_destroy(&moves);
    return status;
}

/* ---- events ---- */

typedef struct carrier {
    dn_link link;
    double free; /* seconds: from when on it can take a message */
} carrier;

/* A place for a transfer under way; see mpi/allreduce.h. */
typedef struct lane {
    dn_sim_bucket *transfer; /* NULL: there is none left */
    int round;               /* the next */
    double at;               /* seconds: when that can start, as far as the lane is concerned */
} lane;

typedef struct simulation {
    const dn_transport *transport;
    carrier inside, between;
    lane lane[DN_BUCKETS_IN_FLIGHT];
    dn_sim_bucket *next, *end; /* those that wait for a lane */
} simulation;

/* When the carrier could start on what is there at `at`; 0 bytes need none. */
static double earliest(const carrier *c, double at, double bytes)
{
    return bytes > 0 && c->free > at ? c->free : at;
}

/* Takes the carrier; returns when the message has arrived. */
static double carry(carrier *c, double at, double bytes)
{
    if (bytes <= 0)
        return at;
    c->free = earliest(c, at, bytes) + bytes / c->link.bandwidth;
    return c->free + c->link.latency;
}

/* When a rank sees what has happened at `at`. */
static double seen(const dn_transport *t, double at)
{
    for (int i = 0; i < t->poll_count; i++)
        if (t->polls[i] >= at)
            return t->polls[i];
    return at;
}

static void take_next(simulation *s, lane *l)
{
    l->transfer = s->next < s->end ? s->next++ : NULL;
    l->round = 0;
    if (l->transfer != NULL)
        l->at = fmax(l->at, l->transfer->ready);
}

/* When the next round of the lane's transfer can start. */
static double due(const simulation *s, const lane *l)
{
    const dn_round *round = &s->transport->rounds[l->round];
    const double bytes = l->transfer->bytes;
    return fmax(earliest(&s->inside, l->at, bytes * round->inside),
                earliest(&s->between, l->at, bytes * round->between));
}

/* Returns when the round is over. They end in the order in which they start, as all buckets go
 * through the same ones: a lane that starts its last round first is free first, and the next
 * transfer is its. */
static double take_round(simulation *s, lane *l)
{
    const dn_round *round = &s->transport->rounds[l->round++];
    const double bytes = l->transfer->bytes, at = l->at;
    const double done = seen(s->transport, fmax(carry(&s->inside, at, bytes * round->inside),
                                                carry(&s->between, at, bytes * round->between)));
    l->transfer->done = l->at = done;
    if (l->round == s->transport->round_count)
        take_next(s, l);
    return done;
}

/* Of rounds that are due together, that of the foremost transfer; NULL when all is done. */
static lane *next_lane(simulation *s)
{
    lane *next = NULL;
    for (lane *l = s->lane; l < s->lane + DN_BUCKETS_IN_FLIGHT; l++)
        if (l->transfer != NULL && (next == NULL || due(s, l) < due(s, next) ||
                                    (due(s, l) == due(s, next) && l->transfer < next->transfer)))
            next = l;
    return next;
}

double dn_scaling_run(dn_sim_bucket *transfers, int count, const dn_transport *transport)
{
    simulation s = {.transport = transport,
                    .inside.link = transport->network.inside,
                    .between.link = transport->network.between,
                    .next = transfers,
                    .end = transport->round_count > 0 ? transfers + count : transfers};
    double end = 0;
    for (int i = 0; i < count; i++)
        end = fmax(end, transfers[i].done = transfers[i].ready);
    for (int i = 0; i < DN_BUCKETS_IN_FLIGHT; i++)
        take_next(&s, &s.lane[i]);
    for (lane *l; (l = next_lane(&s)) != NULL;)
        end = fmax(end, take_round(&s, l));
    return end;
}

/* ---- a step ---- */

typedef struct step {
    dn_transport transport;
    dn_sim_bucket *transfers;
    dn_round *rounds;
    double *ends;    /* (layers) seconds: of the backward pass' layers */
    double computed; /* its end, the last of these */
    int transfer_count;
} step;

/* The step's losses and counts, gathered when all else is summed: one message a round one way. */
static double scalars(const dn_transport *t)
{
    double seconds = 0;
    for (int i = 0; i < t->round_count / 2; i++)
        seconds +=
            t->rounds[i].between > 0 ? t->network.between.latency : t->network.inside.latency;
    return seconds;
}

/* Seconds from the end of the backward pass to the last sum, of the transfers from `first` on. */
static double exposed(const step *s, const dn_transport *t, int first)
{
    const double end = dn_scaling_run(s->transfers + first, s->transfer_count - first, t);
    return fmax(end - s->computed, 0) + scalars(t);
}

/* Asks what would be left to wait for if one property of the transport were perfect. */
static void find_limit(const step *s, dn_prediction *p)
{
    static const char *const name[] = {"latency in the node", "bandwidth in the node",
                                       "latency of the network", "bandwidth of the network",
                                       "looks between layers"};
    enum { PROPERTIES = sizeof name / sizeof *name };
    const dn_transport *t = &s->transport;
    dn_transport better[PROPERTIES] = {*t, *t, *t, *t, *t};
    better[0].network.inside.latency = 0;
    better[1].network.inside.bandwidth = INFINITY;
    better[2].network.between.latency = 0;
    better[3].network.between.bandwidth = INFINITY;
    better[4].poll_count = 0;
    const int is_last = exposed(s, t, s->transfer_count - 1) >= p->exposed / 2;
    double least = INFINITY;
    for (int i = 0; i < PROPERTIES; i++) {
        const double left = exposed(s, &better[i], 0);
        if (left < least)
            snprintf(p->limit, sizeof p->limit, "%s%s", name[i], is_last ? ", last bucket" : "");
        least = fmin(left, least);
    }
}

/* The buckets that the sum would use, and when the backward pass has made each final. */
static dn_status plan_transfers(const dn_profile *profile, size_t bucket_floats, step *s)
{
    const size_t floats = dn_profile_floats(profile);
    const dn_allreduce_settings settings = {
        .count = floats, .split = floats - profile->statistics, .bucket = bucket_floats};
    dn_bucket *buckets;
    DN_TRY(dn_allreduce_cut(&settings, &buckets, &s->transfer_count));
    s->transfers = calloc((size_t)s->transfer_count, sizeof *s->transfers);
    size_t final = 0; /* floats, after so many layers */
    for (int b = 0, layers = 0; b < s->transfer_count && s->transfers != NULL; b++) {
        while (final < buckets[b].begin + (size_t)buckets[b].count)
            final += profile->stage[layers++].floats;
        s->transfers[b] = (dn_sim_bucket){.bytes = buckets[b].count * (double)sizeof(float),
                                          .ready = s->ends[layers - 1]};
    }
    free(buckets);
    DN_CHECK(s->transfers != NULL, DN_ENOMEM, "memory: found none for %d buckets",
             s->transfer_count);
    return DN_OK;
}

static dn_status plan_step(const dn_scaling_job *job, int virtual_ranks, double start, step *s)
{
    const dn_profile *profile = job->profile;
    dn_transport *t = &s->transport;
    s->ends = malloc((size_t)profile->stages * sizeof *s->ends);
    DN_CHECK(s->ends != NULL, DN_ENOMEM, "memory: found none for %d layers", profile->stages);
    for (int i = 0; i < profile->stages; i++)
        s->ends[i] = start += profile->stage[i].seconds;
    s->computed = start;
    *t = (dn_transport){
        .network = job->network, .polls = s->ends, .poll_count = job->polls ? profile->stages : 0};
    DN_TRY(dn_scaling_rounds(job->nodes * job->ranks_per_node, job->ranks_per_node, virtual_ranks,
                             &s->rounds, &t->round_count));
    t->rounds = s->rounds;
    return plan_transfers(profile, job->bucket_floats, s);
}

static void predict(const dn_profile *profile, step *s, dn_prediction *p)
{
    p->compute = s->computed + profile->update;
    p->exposed = exposed(s, &s->transport, 0);
    p->step = p->compute + p->exposed;
    snprintf(p->limit, sizeof p->limit, "compute");
    if (p->exposed >= 0.01 * p->step)
        find_limit(s, p);
    for (int i = 0; i < s->transfer_count; i++)
        s->transfers[i].ready = s->computed;
    p->communication = exposed(s, &s->transport, 0);
}

dn_status dn_scaling_predict(const dn_scaling_job *job, dn_prediction *prediction)
{
    const dn_profile *profile = job->profile;
    const double backward = dn_profile_backward_seconds(profile);
    const int ranks = job->nodes * job->ranks_per_node;
    const int virtual_ranks = job->virtual_ranks > 0 ? job->virtual_ranks : ranks;
    const int passes = (virtual_ranks + ranks - 1) / ranks;
    step s = {0};
    DN_CHECK(ranks <= virtual_ranks, DN_EINVAL,
             "--virtual-ranks %d: found %d ranks, expected at most one a virtual rank",
             virtual_ranks, ranks);
    *prediction = (dn_prediction){.ranks = ranks, .passes = passes};
    dn_status status;
    DN_TRY_OR_DONE(
        plan_step(job, virtual_ranks, passes * profile->forward + (passes - 1) * backward, &s));
    predict(profile, &s, prediction);
    prediction->images_per_second = (double)virtual_ranks * profile->batch / prediction->step;
done:
    free(s.transfers);
    free(s.rounds);
    free(s.ends);
    return status;
}
