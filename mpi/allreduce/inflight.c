/* One bucket's rounds: messages, then sums; see inflight.h. */
#include "allreduce/inflight.h"

#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 64, FLOATS = LINE / sizeof(float) }; /* pieces and messages start on cache lines */

static size_t round_up(size_t x, size_t multiple)
{
    return (x + multiple - 1) / multiple * multiple;
}

/* Where piece `index` of the bucket begins. */
static int piece_begin(const dn_route *route, const dn_bucket *bucket, int index)
{
    const size_t pieces = (size_t)route->plan.pieces, count = (size_t)bucket->count;
    const size_t begin = round_up((count + pieces - 1) / pieces, FLOATS) * (size_t)index;
    return (int)(begin < count ? begin : count);
}

/* What a move means for one bucket on this rank. */
typedef struct part {
    int count;        /* floats; may be 0 where pieces outnumber cache lines */
    float *from, *to; /* NULL: on the other rank */
    int is_sent, is_received;
    size_t landing; /* bytes of the lane's memory */
} part;

static float *place(const dn_route *route, dn_home home, size_t begin)
{
    return home.rank == route->comm->rank ? route->subtrees[home.slot].sum + begin : NULL;
}

static part part_of(const dn_route *route, const dn_bucket *bucket, const dn_transfer *m)
{
    const int first = piece_begin(route, bucket, m->first);
    part p = {.count = piece_begin(route, bucket, m->last) - first,
              .from = place(route, m->from, bucket->begin + (size_t)first),
              .to = place(route, m->to, bucket->begin + (size_t)first)};
    p.is_sent = p.count > 0 && p.to == NULL;
    p.is_received = p.count > 0 && p.from == NULL;
    if (bucket->bf16 && (p.is_sent || p.is_received))
        p.landing = round_up((size_t)p.count * sizeof(uint16_t), LINE);
    else if (p.is_received && m->adds)
        p.landing = round_up((size_t)p.count * sizeof(float), LINE);
    return p;
}

static const dn_transfer *plan_end(const dn_route *route)
{
    return route->plan.move + route->plan.count;
}

/* The end of the round that starts with `begin`. */
static const dn_transfer *round_end(const dn_route *route, const dn_transfer *begin)
{
    const dn_transfer *end = begin;
    while (end < plan_end(route) && end->round == begin->round)
        end++;
    return end;
}

/* ---- bf16 ---- */

static void pack(uint16_t *to, const float *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, from + i, sizeof bits);
        to[i] = (uint16_t)(bits >> 16);
    }
}

static void unpack(float *to, const uint16_t *from, size_t count, int adds)
{
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = (uint32_t)from[i] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        to[i] = adds ? to[i] + value : value;
    }
}

/* ---- rounds ---- */

/* Posts the messages of the round that starts with `begin`, the receives first. */
static void post(dn_inflight *lane, const dn_transfer *begin)
{
    const dn_route *route = lane->route;
    const dn_bucket *bucket = lane->bucket;
    const MPI_Comm world = route->comm->world;
    const MPI_Datatype type = bucket->bf16 ? MPI_UINT16_T : MPI_FLOAT;
    char *landing = lane->landing;
    lane->begin = begin;
    lane->end = round_end(route, begin);
    lane->requests = 0;
    for (const dn_transfer *m = begin; m < lane->end; m++) {
        const part p = part_of(route, bucket, m);
        if (!p.is_received)
            continue;
        DN_MPI(MPI_Irecv(p.landing > 0 ? (void *)landing : p.to, p.count, type, m->from.rank,
                         bucket->tag, world, &lane->request[lane->requests++]));
        landing += p.landing;
    }
    for (const dn_transfer *m = begin; m < lane->end; m++) {
        const part p = part_of(route, bucket, m);
        if (!p.is_sent)
            continue;
        if (bucket->bf16)
            pack((uint16_t *)(void *)landing, p.from, (size_t)p.count);
        DN_MPI(MPI_Isend(p.landing > 0 ? (void *)landing : p.from, p.count, type, m->to.rank,
                         bucket->tag, world, &lane->request[lane->requests++]));
        landing += p.landing;
    }
}

/* Adds or copies what the round brought. */
static void apply(const dn_inflight *lane)
{
    const dn_bucket *bucket = lane->bucket;
    const char *landing = lane->landing;
    for (const dn_transfer *m = lane->begin; m < lane->end; m++) {
        const part p = part_of(lane->route, bucket, m);
        const size_t count = (size_t)p.count;
        if (p.to == NULL || count == 0)
            continue;
        if (p.is_received && bucket->bf16)
            unpack(p.to, (const uint16_t *)(const void *)landing, count, m->adds);
        else if (m->adds)
            dn_tree_add(p.to, p.is_received ? (const float *)(const void *)landing : p.from, count);
        else if (!p.is_received)
            memcpy(p.to, p.from, count * sizeof(float));
        if (m->adds && bucket->bf16)
            dn_tree_round(p.to, count);
        landing += p.is_received ? p.landing : 0;
    }
}

void dn_inflight_start(dn_inflight *lane, dn_bucket *bucket)
{
    lane->bucket = bucket;
    bucket->start = omp_get_wtime();
    post(lane, lane->route->plan.move);
}

void dn_inflight_advance(dn_inflight *lane)
{
    int is_done = 1;
    while (lane->bucket != NULL) {
        DN_MPI(MPI_Testall(lane->requests, lane->request, &is_done, MPI_STATUSES_IGNORE));
        if (!is_done)
            return;
        apply(lane);
        if (lane->end < plan_end(lane->route)) {
            post(lane, lane->end);
        } else {
            lane->bucket->end = omp_get_wtime();
            lane->bucket = NULL;
        }
    }
}

/* ---- creation ---- */

/* Raises *bytes and *requests to what the bucket's largest rounds take. */
static void need(const dn_route *route, const dn_bucket *bucket, size_t *bytes, int *requests)
{
    for (const dn_transfer *begin = route->plan.move, *end; begin < plan_end(route); begin = end) {
        size_t landing = 0;
        int messages = 0;
        end = round_end(route, begin);
        for (const dn_transfer *m = begin; m < end; m++) {
            const part p = part_of(route, bucket, m);
            messages += p.is_sent || p.is_received;
            landing += p.landing;
        }
        *bytes = landing > *bytes ? landing : *bytes;
        *requests = messages > *requests ? messages : *requests;
    }
}

dn_status dn_inflight_create(dn_inflight *lane, const dn_route *route, const dn_bucket *buckets,
                             int count)
{
    size_t bytes = 0;
    int requests = 0;
    for (int i = 0; i < count; i++)
        need(route, &buckets[i], &bytes, &requests);
    *lane = (dn_inflight){.route = route,
                          .request = malloc(((size_t)requests + 1) * sizeof *lane->request),
                          .landing = aligned_alloc(LINE, bytes + LINE)};
    DN_CHECK(lane->request != NULL && lane->landing != NULL, DN_ENOMEM,
             "sum across ranks: out of memory for messages of %zu bytes", bytes);
    return DN_OK;
}

void dn_inflight_destroy(dn_inflight *lane)
{
    free(lane->request);
    free(lane->landing);
    *lane = (dn_inflight){0};
}
