/*
 * The simulation of a step on a cluster; see scaling.h.
 *
 * Two resources carry messages, a node's memory and its link; the state of each is the time from
 * which it is free. An event is the start of one round of one bucket: the bucket occupies the link
 * for the round's bytes, and continues one latency later, or at its rank's next poll. Events are
 * processed in the order of time. The limit of a step is found by repeating the simulation with one
 * property of the network made perfect.
 */
#include "planning/scaling.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allreduce/allreduce.h"
#include "allreduce/comm_schedule.h"
#include "allreduce/inflight.h"

/* ---- rounds ---- */

/* Segments that a rank, or a node, has sent and received in a round. */
typedef struct traffic {
    int sent, received;
} traffic;

static void count_transfer(traffic *from, traffic *to, int segments, double *most)
{
    from->sent += segments;
    to->received += segments;
    *most = fmax(*most, fmax(from->sent, to->received));
}

/* Adds up the traffic of the round that starts with `t`; returns the start of the next one.
 * inside(ranks) and between(nodes) are scratch, for the traffic inside and between nodes. */
static const dn_transfer *count_round(const dn_transfer *t, const dn_transfer *end,
                                      int ranks_per_node, traffic *inside, traffic *between,
                                      dn_rounds *rounds)
{
    dn_round *round = &rounds->round[rounds->count];
    for (const int number = t->round; t < end && t->round == number; t++) {
        const int from = t->from.rank, to = t->to.rank, segments = t->last - t->first;
        const int node = from / ranks_per_node, to_node = to / ranks_per_node;
        if (node != to_node)
            count_transfer(&between[node], &between[to_node], segments, &round->between);
        else if (from != to)
            count_transfer(&inside[from], &inside[to], segments, &round->inside);
        rounds->messages[segments] += from != to;
    }
    rounds->count += round->inside > 0 || round->between > 0;
    round->inside /= rounds->segments;
    round->between /= rounds->segments;
    return t;
}

dn_status dn_scaling_rounds(dn_rounds *rounds, int ranks, int ranks_per_node, int virtual_ranks,
                            int segments)
{
    dn_comm_schedule schedule;
    const size_t scratch = 2 * (size_t)ranks * sizeof(traffic);
    traffic *inside = malloc(scratch);
    *rounds = (dn_rounds){.segments = segments};
    dn_status status;
    DN_TRY_OR_DONE(
        dn_comm_schedule_create(&schedule, virtual_ranks, ranks, DN_ALL_RANKS, segments));
    const dn_transfer *t = schedule.transfer, *end = t + schedule.count;
    rounds->round = calloc(t < end ? (size_t)end[-1].round + 1 : 1, sizeof *rounds->round);
    rounds->messages = calloc((size_t)segments + 1, sizeof *rounds->messages);
    if (inside == NULL || rounds->round == NULL || rounds->messages == NULL) {
        status = dn_fail(DN_ENOMEM, "out of memory for the rounds of %d ranks", ranks);
        goto done;
    }
    while (t < end) {
        memset(inside, 0, scratch);
        t = count_round(t, end, ranks_per_node, inside, inside + ranks, rounds);
    }
done:
    free(inside);
    dn_comm_schedule_destroy(&schedule);
    return status;
}

void dn_scaling_rounds_destroy(dn_rounds *rounds)
{
    free(rounds->round);
    free(rounds->messages);
    *rounds = (dn_rounds){0};
}

/* ---- events ---- */

typedef struct carrier {
    dn_link link;
    double free; /* seconds: when it can take the next message */
} carrier;

typedef struct simulation {
    const dn_transport *transport;
    carrier inside, between;
    dn_sim_bucket *flight[DN_BUCKETS_IN_FLIGHT]; /* NULL: none is left */
    dn_sim_bucket *next, *end;                   /* those that have not started */
} simulation;

/* When the carrier can start a message that is ready at `at`; 0 bytes need no carrier. */
static double earliest(const carrier *c, double at, double bytes)
{
    return bytes > 0 && c->free > at ? c->free : at;
}

/* Occupies the carrier; returns when the message has arrived. */
static double carry(carrier *c, double at, double bytes)
{
    if (bytes <= 0)
        return at;
    c->free = earliest(c, at, bytes) + bytes / c->link.bandwidth;
    return c->free + c->link.latency;
}

/* When a rank sees an event at time `at`: at its next poll. */
static double seen(const dn_transport *t, double at)
{
    for (int p = 0; p < t->poll_count; p++)
        if (t->polls[p] >= at)
            return t->polls[p];
    return at;
}

/* Starts the next bucket in a slot that is free from `at` on. */
static dn_sim_bucket *take_next(simulation *s, double at)
{
    if (s->next == s->end)
        return NULL;
    s->next->done = fmax(at, s->next->ready);
    return s->next++;
}

/* When the bucket's next round can start. */
static double due(const simulation *s, const dn_sim_bucket *b)
{
    const dn_round *round = &b->rounds->round[b->round];
    return fmax(earliest(&s->inside, b->done, b->bytes * round->inside),
                earliest(&s->between, b->done, b->bytes * round->between));
}

/* After its last round a bucket leaves its slot to the next one. */
static void take_round(simulation *s, dn_sim_bucket **place)
{
    dn_sim_bucket *b = *place;
    const dn_round *round = &b->rounds->round[b->round++];
    b->done = seen(s->transport, fmax(carry(&s->inside, b->done, b->bytes * round->inside),
                                      carry(&s->between, b->done, b->bytes * round->between)));
    if (b->round == b->rounds->count)
        *place = take_next(s, b->done);
}

/* The slot whose round is due first, of equal ones that of the first bucket. NULL when all are
 * done. */
static dn_sim_bucket **next_place(simulation *s)
{
    dn_sim_bucket **next = NULL;
    for (dn_sim_bucket **p = s->flight; p < s->flight + DN_BUCKETS_IN_FLIGHT; p++)
        if (*p != NULL && (next == NULL || due(s, *p) < due(s, *next) ||
                           (due(s, *p) == due(s, *next) && *p < *next)))
            next = p;
    return next;
}

double dn_scaling_run(dn_sim_bucket *buckets, int count, const dn_transport *transport)
{
    const int has_rounds = count > 0 && buckets[0].rounds->count > 0;
    simulation s = {.transport = transport,
                    .inside.link = transport->network.inside,
                    .between.link = transport->network.between,
                    .next = buckets,
                    .end = has_rounds ? buckets + count : buckets};
    double end = 0;
    for (dn_sim_bucket *b = buckets; b < buckets + count; b++) {
        b->round = 0;
        b->done = b->ready;
    }
    for (int i = 0; i < DN_BUCKETS_IN_FLIGHT; i++)
        s.flight[i] = take_next(&s, 0);
    for (dn_sim_bucket **place; (place = next_place(&s)) != NULL;)
        take_round(&s, place);
    for (int i = 0; i < count; i++)
        end = fmax(end, buckets[i].done);
    return end;
}

/* ---- a step ---- */

typedef struct step {
    dn_transport transport;
    dn_rounds rounds[DN_SCHEDULES]; /* by dn_comm_schedule_slot, those in use */
    dn_sim_bucket *buckets;
    int count;
    double *ends;    /* (layers) seconds: of the layers of the backward pass */
    double computed; /* the end of the backward pass */
} step;

/* The sum of losses and counts after all buckets: a single segment, one latency a round. */
static double scores(const step *s, const dn_network *network)
{
    double seconds = 0;
    for (int i = 0; i < s->rounds[0].count; i++)
        seconds +=
            s->rounds[0].round[i].between > 0 ? network->between.latency : network->inside.latency;
    return seconds;
}

/* Seconds from the end of the backward pass to the last sum, of the buckets from `first` on. */
static double exposed(const step *s, const dn_transport *t, int first)
{
    const double end = dn_scaling_run(s->buckets + first, s->count - first, t);
    return fmax(end - s->computed, 0) + scores(s, &t->network);
}

/* Repeats the simulation with one property of the transport made perfect at a time. */
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
    const int is_last = exposed(s, t, s->count - 1) >= p->exposed / 2;
    double least = INFINITY;
    for (int i = 0; i < PROPERTIES; i++) {
        const double left = exposed(s, &better[i], 0);
        if (left < least)
            snprintf(p->limit, sizeof p->limit, "%s%s", name[i], is_last ? ", last bucket" : "");
        least = fmin(left, least);
    }
}

/* A number of messages of the same length. */
typedef struct message {
    double bytes;
    double count;
} message;

static int by_bytes(const void *a, const void *b)
{
    const message *x = a, *y = b;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Sets the number and the lengths of the messages that a rank sends for gradients and statistics.
 */
static dn_status count_messages(const step *s, dn_prediction *p)
{
    size_t lengths = 1;
    double total = 0, below = 0;
    for (int b = 0; b < s->count; b++)
        lengths += (size_t)s->buckets[b].rounds->segments;
    message *all = malloc(lengths * sizeof *all), *end = all;
    DN_CHECK(all != NULL, DN_ENOMEM, "out of memory for %zu lengths", lengths);
    for (const dn_sim_bucket *b = s->buckets; b < s->buckets + s->count; b++)
        for (int n = 1, segments = b->rounds->segments; n <= segments; n++)
            if (b->rounds->messages[n] > 0) {
                *end++ = (message){b->bytes * n / segments, b->rounds->messages[n]};
                total += b->rounds->messages[n];
            }
    qsort(all, (size_t)(end - all), sizeof *all, by_bytes);
    p->rounds = s->buckets[0].rounds->count;
    p->messages = total / p->ranks;
    p->least_message = total > 0 ? all->bytes : 0;
    for (const message *m = all; m < end && below <= total / 2; below += m++->count)
        p->median_message = m->bytes;
    free(all);
    return DN_OK;
}

/* *rounds = those for `segments` segments, computed at first use. */
static dn_status find_rounds(const dn_scaling_job *job, int virtual_ranks, int segments, step *s,
                             const dn_rounds **rounds)
{
    dn_rounds *r = &s->rounds[dn_comm_schedule_slot(segments)];
    *rounds = r;
    return r->segments > 0 ? DN_OK
                           : dn_scaling_rounds(r, job->nodes * job->ranks_per_node,
                                               job->ranks_per_node, virtual_ranks, segments);
}

/* Sets the buckets that the sum would use, and when the backward pass makes each final. */
static dn_status plan_sim_buckets(const dn_scaling_job *job, int virtual_ranks, step *s)
{
    const dn_profile *profile = job->profile;
    const size_t floats = profile->floats;
    const dn_allreduce_settings settings =
        dn_step_sum(job->step, floats, floats - profile->statistics);
    dn_bucket *buckets = NULL;
    const dn_rounds *rounds;
    size_t final = 0; /* floats that are final so far */
    dn_status status;
    DN_TRY_OR_DONE(
        dn_allreduce_cut(&settings, job->nodes * job->ranks_per_node, &buckets, &s->count));
    s->buckets = calloc((size_t)s->count, sizeof *s->buckets);
    if (s->buckets == NULL) {
        status = dn_fail(DN_ENOMEM, "out of memory for %d buckets", s->count);
        goto done;
    }
    for (int b = 0, layers = 0; b < s->count; b++) {
        DN_TRY_OR_DONE(find_rounds(job, virtual_ranks, buckets[b].segments, s, &rounds));
        while (final < buckets[b].begin + (size_t)buckets[b].count)
            final += profile->stage[layers++].floats;
        s->buckets[b] =
            (dn_sim_bucket){.bytes = buckets[b].count * (double)buckets[b].elements->sent_size,
                            .rounds = rounds,
                            .ready = s->ends[layers - 1]};
    }
    status = find_rounds(job, virtual_ranks, 1, s, &rounds); /* of the scores */
done:
    free(buckets);
    return status;
}

static dn_status plan_step(const dn_scaling_job *job, int virtual_ranks, double start, step *s)
{
    const dn_profile *profile = job->profile;
    s->ends = malloc((size_t)profile->stages * sizeof *s->ends);
    DN_CHECK(s->ends != NULL, DN_ENOMEM, "out of memory for %d layers", profile->stages);
    for (int i = 0; i < profile->stages; i++)
        s->ends[i] = start += profile->stage[i].seconds;
    s->computed = start;
    s->transport = (dn_transport){
        .network = job->network,
        .polls = s->ends,
        .poll_count = job->step->comm_thread == DN_COMM_THREAD_ON ? 0 : profile->stages};
    return plan_sim_buckets(job, virtual_ranks, s);
}

static void predict_times(const dn_profile *profile, step *s, dn_prediction *p)
{
    p->compute = s->computed + profile->update;
    p->exposed = exposed(s, &s->transport, 0);
    p->step = p->compute + p->exposed;
    snprintf(p->limit, sizeof p->limit, "compute");
    if (p->exposed >= 0.01 * p->step)
        find_limit(s, p);
    for (int i = 0; i < s->count; i++)
        s->buckets[i].ready = s->computed;
    p->communication = exposed(s, &s->transport, 0);
}

dn_status dn_scaling_predict(const dn_scaling_job *job, dn_prediction *prediction)
{
    const dn_profile *profile = job->profile;
    const int ranks = job->nodes * job->ranks_per_node;
    const int virtual_ranks = job->step->virtual_ranks > 0 ? job->step->virtual_ranks : ranks;
    const int passes = (virtual_ranks + ranks - 1) / ranks; /* of the busiest rank */
    step s = {0};
    DN_CHECK(ranks <= virtual_ranks, DN_EINVAL,
             "--virtual-ranks %d: found %d ranks, expected at most one a virtual rank",
             virtual_ranks, ranks);
    *prediction = (dn_prediction){.ranks = ranks};
    dn_status status;
    DN_TRY_OR_DONE(plan_step(job, virtual_ranks,
                             passes * profile->forward + (passes - 1) * profile->backward, &s));
    DN_TRY_OR_DONE(count_messages(&s, prediction));
    predict_times(profile, &s, prediction);
    prediction->images_per_second = (double)virtual_ranks * profile->batch / prediction->step;
done:
    for (int i = 0; i < DN_SCHEDULES; i++)
        dn_scaling_rounds_destroy(&s.rounds[i]);
    free(s.buckets);
    free(s.ends);
    return status;
}
