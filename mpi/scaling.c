/*
 * The simulation of a step on a cluster (mpi/scaling.h).
 *
 * Two resources carry messages, a node's memory and its link; each is described by the time from
 * which it is free. An event is the start of one round of one bucket: the bucket takes the link for
 * the round's bytes, and goes on a latency later, or when its rank next looks. Events are taken in
 * the order of time. What limits a step is found by asking again with one property of the network
 * made perfect.
 */
#include "scaling.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allreduce.h"
#include "moves.h"

/* ---- rounds ---- */

/* Pieces of one round: inside by rank, between by node, sent and received. */
typedef struct traffic {
    int ranks, ranks_per_node;
    int *inside, *between; /* (ranks, 2) */
} traffic;

static void count_move(traffic *t, const dn_move *m)
{
    const int from = m->from.rank / t->ranks_per_node, to = m->to.rank / t->ranks_per_node;
    const int pieces = m->last - m->first;
    int *of = from == to ? t->inside : t->between;
    const int sender = from == to ? m->from.rank : from, receiver = from == to ? m->to.rank : to;
    if (m->from.rank == m->to.rank)
        return;
    of[2 * sender] += pieces;
    of[2 * receiver + 1] += pieces;
}

static double largest(const int *x, int count, int pieces)
{
    int most = 0;
    for (int i = 0; i < count; i++)
        most = x[i] > most ? x[i] : most;
    return (double)most / pieces;
}

/* Adds up the moves of the round that starts at `first`; returns where the next one starts. */
static int take_round(traffic *t, const dn_moves *moves, int first, dn_round *round)
{
    const size_t bytes = 2 * (size_t)t->ranks * sizeof(int);
    int end = first;
    memset(t->inside, 0, bytes);
    memset(t->between, 0, bytes);
    while (end < moves->count && moves->move[end].round == moves->move[first].round)
        count_move(t, &moves->move[end++]);
    round->inside = largest(t->inside, 2 * t->ranks, moves->pieces);
    round->between = largest(t->between, 2 * t->ranks, moves->pieces);
    return end;
}

dn_status dn_scaling_rounds(int ranks, int ranks_per_node, int virtual_ranks, dn_round **rounds,
                            int *count)
{
    dn_moves moves;
    traffic t = {.ranks = ranks, .ranks_per_node = ranks_per_node};
    *rounds = NULL;
    *count = 0;
    dn_status status;
    DN_TRY_OR_DONE(dn_moves_plan(&moves, virtual_ranks, ranks, DN_ALL_RANKS));
    const int last = moves.count > 0 ? moves.move[moves.count - 1].round : 0;
    t.inside = calloc(2 * (size_t)ranks, sizeof *t.inside);
    t.between = calloc(2 * (size_t)ranks, sizeof *t.between);
    *rounds = calloc((size_t)last + 1, sizeof **rounds);
    if (t.inside == NULL || t.between == NULL || *rounds == NULL) {
        status = dn_fail(DN_ENOMEM, "memory: found none for the rounds of %d ranks", ranks);
        goto done;
    }
    for (int i = 0; i < moves.count;) {
        dn_round *round = &(*rounds)[*count];
        i = take_round(&t, &moves, i, round);
        *count += round->inside > 0 || round->between > 0;
    }
done:
    free(t.inside);
    free(t.between);
    dn_moves_free(&moves);
    return status;
}

/* ---- events ---- */

typedef struct carrier {
    dn_link link;
    double free; /* seconds: from when on it can take a message */
} carrier;

/* A place for a transfer under way; see mpi/allreduce.h. */
typedef struct lane {
    dn_transfer *transfer; /* NULL: free */
    int round;             /* the next */
    double at;             /* seconds: when that can start, as far as the lane is concerned */
} lane;

typedef struct simulation {
    const dn_transport *transport;
    carrier inside, between;
    lane lane[DN_BUCKETS_UNDER_WAY];
    dn_transfer *next, *end; /* those that wait for a lane */
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
    int low = 0, high = t->poll_count;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (t->polls[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->poll_count ? t->polls[low] : at;
}

/* When the lane's next event is due: the start of a round, of its own transfer or the next one. */
static double due(const simulation *s, const lane *l)
{
    if (l->transfer == NULL)
        return s->next < s->end ? fmax(l->at, s->next->ready) : INFINITY;
    const dn_round *round = &s->transport->rounds[l->round];
    const double bytes = l->transfer->bytes;
    return fmax(earliest(&s->inside, l->at, bytes * round->inside),
                earliest(&s->between, l->at, bytes * round->between));
}

static void take_event(simulation *s, lane *l)
{
    const dn_transport *t = s->transport;
    if (l->transfer == NULL) {
        l->transfer = s->next++;
        l->at = fmax(l->at, l->transfer->ready);
        l->round = 0;
    } else {
        const dn_round *round = &t->rounds[l->round++];
        const double bytes = l->transfer->bytes, at = l->at;
        l->at = seen(t, fmax(carry(&s->inside, at, bytes * round->inside),
                             carry(&s->between, at, bytes * round->between)));
    }
    if (l->round == t->round_count) {
        l->transfer->done = l->at;
        l->transfer = NULL;
    }
}

/* Of events that are due together, the one of the foremost transfer. */
static lane *next_lane(simulation *s)
{
    lane *next = NULL;
    double first = INFINITY;
    for (int i = 0; i < DN_BUCKETS_UNDER_WAY; i++) {
        lane *l = &s->lane[i];
        const double at = due(s, l);
        const int is_foremost = next != NULL && l->transfer != NULL &&
                                (next->transfer == NULL || l->transfer < next->transfer);
        if (at < first || (at == first && is_foremost)) {
            first = at;
            next = l;
        }
    }
    return next;
}

double dn_scaling_run(dn_transfer *transfers, int count, const dn_transport *transport)
{
    simulation s = {.transport = transport,
                    .inside.link = transport->network.inside,
                    .between.link = transport->network.between,
                    .next = transfers,
                    .end = transfers + count};
    double end = 0;
    for (lane *l; (l = next_lane(&s)) != NULL;)
        take_event(&s, l);
    for (int i = 0; i < count; i++)
        end = fmax(end, transfers[i].done);
    return end;
}

/* ---- a step ---- */

typedef struct step {
    dn_transport transport;
    dn_transfer *transfers;
    dn_round *rounds;
    double *ends; /* (layers) seconds: of the backward pass' layers; the last is its own end */
    int transfer_count, layers;
} step;

static double computed(const step *s)
{
    return s->ends[s->layers - 1];
}

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
    return fmax(end - computed(s), 0) + scalars(t);
}

/* The transport with one of its properties made perfect; NULL where it has no more of them. */
static const char *perfect(dn_transport *t, int property)
{
    switch (property) {
    case 0:
        t->network.inside.latency = 0;
        return "latency in the node";
    case 1:
        t->network.inside.bandwidth = INFINITY;
        return "bandwidth in the node";
    case 2:
        t->network.between.latency = 0;
        return "latency of the network";
    case 3:
        t->network.between.bandwidth = INFINITY;
        return "bandwidth of the network";
    case 4:
        t->poll_count = 0;
        return "looks between layers";
    }
    return NULL;
}

static void find_limit(const step *s, dn_prediction *p)
{
    const char *limit = "compute", *name;
    double least = INFINITY;
    int is_last = 0;
    dn_transport better = s->transport;
    for (int i = 0; p->exposed >= 0.01 * p->step && (name = perfect(&better, i)) != NULL; i++) {
        const double left = exposed(s, &better, 0);
        limit = left < least ? name : limit;
        least = fmin(left, least);
        is_last = exposed(s, &s->transport, s->transfer_count - 1) >= p->exposed / 2;
        better = s->transport;
    }
    snprintf(p->limit, sizeof p->limit, "%s%s", limit, is_last ? ", last bucket" : "");
}

/* The buckets that the sum would use, and when the backward pass has made each final. */
static dn_status plan_transfers(const dn_profile *profile, size_t bucket_floats, step *s)
{
    dn_bucket *buckets;
    const dn_allreduce_settings settings = {.count = dn_profile_floats(profile),
                                            .split =
                                                dn_profile_floats(profile) - profile->statistics,
                                            .bucket = bucket_floats};
    DN_TRY(dn_allreduce_cut(&settings, &buckets, &s->transfer_count));
    s->transfers = calloc((size_t)s->transfer_count, sizeof *s->transfers);
    size_t final = 0;
    for (int i = 0, b = 0; i < s->layers && s->transfers != NULL; i++) {
        final += profile->stage[i].floats;
        for (; b < s->transfer_count && buckets[b].begin + (size_t)buckets[b].count <= final; b++)
            s->transfers[b] = (dn_transfer){.bytes = buckets[b].count * (double)sizeof(float),
                                            .ready = s->ends[i]};
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
    s->layers = profile->stages;
    s->ends = malloc((size_t)s->layers * sizeof *s->ends);
    DN_CHECK(s->ends != NULL, DN_ENOMEM, "memory: found none for %d layers", s->layers);
    for (int i = 0; i < s->layers; i++)
        s->ends[i] = start += profile->stage[i].seconds;
    *t = (dn_transport){
        .network = job->network, .polls = s->ends, .poll_count = job->polls ? s->layers : 0};
    DN_TRY(dn_scaling_rounds(job->nodes * job->ranks_per_node, job->ranks_per_node, virtual_ranks,
                             &s->rounds, &t->round_count));
    t->rounds = s->rounds;
    return plan_transfers(profile, job->bucket_floats, s);
}

static void predict(const dn_profile *profile, step *s, dn_prediction *p)
{
    p->compute = computed(s) + profile->update;
    p->exposed = exposed(s, &s->transport, 0);
    p->step = p->compute + p->exposed;
    find_limit(s, p);
    for (int i = 0; i < s->transfer_count; i++)
        s->transfers[i].ready = computed(s);
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
