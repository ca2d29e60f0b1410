/* One bucket's rounds: messages, then sums; see inflight.h. */
#include "allreduce/inflight.h"

#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 64, FLOATS = LINE / sizeof(float) }; /* segments and messages start on cache lines */

static size_t in_lines(size_t x, size_t line)
{
    return (x + line - 1) / line * line;
}

/* Where segment `index` of the bucket begins. */
static int segment_begin(const dn_bucket *bucket, int index)
{
    const size_t segments = (size_t)bucket->segments, count = (size_t)bucket->count;
    const size_t begin = in_lines((count + segments - 1) / segments, FLOATS) * (size_t)index;
    return (int)(begin < count ? begin : count);
}

/* What a transfer means for one bucket on this rank. */
typedef struct part {
    int count;        /* floats; may be 0 where segments outnumber cache lines */
    float *from, *to; /* NULL: on the other rank */
    int is_sent, is_received;
    size_t landing; /* bytes */
} part;

static float *vector_of(const dn_inflight *flight, dn_holder holder, size_t begin)
{
    return holder.rank == flight->comm->rank ? flight->subtrees[holder.slot].sum + begin : NULL;
}

static part part_of(const dn_inflight *flight, const dn_bucket *bucket, const dn_transfer *t)
{
    const int first = segment_begin(bucket, t->first);
    part p = {.count = segment_begin(bucket, t->last) - first,
              .from = vector_of(flight, t->from, bucket->begin + (size_t)first),
              .to = vector_of(flight, t->to, bucket->begin + (size_t)first)};
    p.is_sent = p.count > 0 && p.to == NULL;
    p.is_received = p.count > 0 && p.from == NULL;
    if (bucket->bf16 && (p.is_sent || p.is_received))
        p.landing = in_lines((size_t)p.count * sizeof(uint16_t), LINE);
    else if (p.is_received && t->adds)
        p.landing = in_lines((size_t)p.count * sizeof(float), LINE);
    return p;
}

static const dn_transfer *schedule_end(const dn_bucket *bucket)
{
    return bucket->schedule->transfer + bucket->schedule->count;
}

/* The end of the round that starts with `begin`. */
static const dn_transfer *round_end(const dn_bucket *bucket, const dn_transfer *begin)
{
    const dn_transfer *end = begin;
    while (end < schedule_end(bucket) && end->round == begin->round)
        end++;
    return end;
}

/* ---- bf16 ---- */

static void pack_bf16(uint16_t *to, const float *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, from + i, sizeof bits);
        to[i] = (uint16_t)(bits >> 16);
    }
}

static void unpack_bf16(float *to, const uint16_t *from, size_t count, int adds)
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
static void post_round(dn_inflight *flight, const dn_transfer *begin)
{
    const dn_bucket *bucket = flight->bucket;
    const MPI_Comm world = flight->comm->world;
    const MPI_Datatype type = bucket->bf16 ? MPI_UINT16_T : MPI_FLOAT;
    char *landing = flight->landing;
    flight->begin = begin;
    flight->end = round_end(bucket, begin);
    flight->requests = 0;
    for (const dn_transfer *t = begin; t < flight->end; t++) {
        const part p = part_of(flight, bucket, t);
        if (!p.is_received)
            continue;
        DN_MPI(MPI_Irecv(p.landing > 0 ? (void *)landing : p.to, p.count, type, t->from.rank,
                         bucket->tag, world, &flight->request[flight->requests++]));
        landing += p.landing;
    }
    for (const dn_transfer *t = begin; t < flight->end; t++) {
        const part p = part_of(flight, bucket, t);
        if (!p.is_sent)
            continue;
        if (bucket->bf16)
            pack_bf16((uint16_t *)(void *)landing, p.from, (size_t)p.count);
        DN_MPI(MPI_Isend(p.landing > 0 ? (void *)landing : p.from, p.count, type, t->to.rank,
                         bucket->tag, world, &flight->request[flight->requests++]));
        landing += p.landing;
    }
}

/* Adds or copies what the round brought; all that it sends has left. */
static void apply_round(const dn_inflight *flight)
{
    const dn_bucket *bucket = flight->bucket;
    const char *landing = flight->landing;
    for (const dn_transfer *t = flight->begin; t < flight->end; t++) {
        const part p = part_of(flight, bucket, t);
        const size_t count = (size_t)p.count;
        if (p.to == NULL || count == 0)
            continue;
        if (p.is_received && bucket->bf16)
            unpack_bf16(p.to, (const uint16_t *)(const void *)landing, count, t->adds);
        else if (t->adds)
            dn_tree_add(p.to, p.is_received ? (const float *)(const void *)landing : p.from, count);
        else if (!p.is_received)
            memcpy(p.to, p.from, count * sizeof(float));
        if (t->adds && bucket->bf16)
            dn_tree_round(p.to, count);
        landing += p.is_received ? p.landing : 0;
    }
}

void dn_inflight_start(dn_inflight *flight, dn_bucket *bucket)
{
    flight->bucket = bucket;
    bucket->start = omp_get_wtime();
    post_round(flight, bucket->schedule->transfer);
}

void dn_inflight_advance(dn_inflight *flight)
{
    int is_done = 1;
    while (flight->bucket != NULL) {
        DN_MPI(MPI_Testall(flight->requests, flight->request, &is_done, MPI_STATUSES_IGNORE));
        if (!is_done)
            return;
        apply_round(flight);
        if (flight->end < schedule_end(flight->bucket)) {
            post_round(flight, flight->end);
        } else {
            flight->bucket->end = omp_get_wtime();
            flight->bucket = NULL;
        }
    }
}

/* ---- creation ---- */

/* Raises *bytes and *requests to what the bucket's largest rounds take. */
static void measure_rounds(const dn_inflight *flight, const dn_bucket *bucket, size_t *bytes,
                           int *requests)
{
    const dn_transfer *t = bucket->schedule->transfer;
    while (t < schedule_end(bucket)) {
        size_t landing = 0;
        int messages = 0;
        for (const dn_transfer *end = round_end(bucket, t); t < end; t++) {
            const part p = part_of(flight, bucket, t);
            messages += p.is_sent || p.is_received;
            landing += p.landing;
        }
        *bytes = landing > *bytes ? landing : *bytes;
        *requests = messages > *requests ? messages : *requests;
    }
}

dn_status dn_inflight_create(dn_inflight *flight, const dn_comm *comm, const dn_subtree *subtrees,
                             const dn_bucket *buckets, int count)
{
    size_t bytes = 0;
    int requests = 0;
    *flight = (dn_inflight){.comm = comm, .subtrees = subtrees};
    for (int i = 0; i < count; i++)
        measure_rounds(flight, &buckets[i], &bytes, &requests);
    flight->request = malloc(((size_t)requests + 1) * sizeof *flight->request);
    flight->landing = aligned_alloc(LINE, bytes + LINE);
    DN_CHECK(flight->request != NULL && flight->landing != NULL, DN_ENOMEM,
             "sum across ranks: out of memory for messages of %zu bytes", bytes);
    return DN_OK;
}

void dn_inflight_destroy(dn_inflight *flight)
{
    free(flight->request);
    free(flight->landing);
    *flight = (dn_inflight){0};
}
