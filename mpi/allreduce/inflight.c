/* The rounds of one bucket: messages, then additions and copies; see inflight.h. */
#include "allreduce/inflight.h"

#include <assert.h>
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "dn/bf16.h"
#include "dn/line.h"

/* ---- elements ---- */

static void add_floats(void *sum, const void *other, size_t count)
{
    dn_tree_add(sum, other, count);
}

static void pack_bf16(void *message, const void *from, size_t count)
{
    uint16_t *to = message;
    const float *values = from;
    for (size_t i = 0; i < count; i++)
        to[i] = dn_float_to_bf16(values[i]);
}

static void unpack_bf16(void *to, const void *message, size_t count)
{
    float *values = to;
    const uint16_t *from = message;
    for (size_t i = 0; i < count; i++)
        values[i] = dn_bf16_to_float(from[i]);
}

static void add_bf16(void *sum, const void *message, size_t count)
{
    float *values = sum;
    const uint16_t *from = message;
    for (size_t i = 0; i < count; i++)
        values[i] = values[i] + dn_bf16_to_float(from[i]);
    dn_tree_round(values, count);
}

const dn_elements dn_elements_fp32 = {
    .type = MPI_FLOAT, .size = sizeof(float), .sent_size = sizeof(float), .add = add_floats};

const dn_elements dn_elements_bf16 = {.type = MPI_UINT16_T,
                                      .size = sizeof(float),
                                      .sent_size = sizeof(uint16_t),
                                      .add = add_bf16,
                                      .pack = pack_bf16,
                                      .unpack = unpack_bf16};

/* ---- rounds ---- */

/* This rank's side of a transfer, for one bucket. */
typedef struct dn_inflight_part {
    int count, peer; /* elements; the other rank */
    int adds;
    char *from, *to; /* NULL: on the other rank */
    char *message;   /* the MPI buffer: `from`, `to`, or a part of the landing */
} part;

/* The element of the bucket at which segment `index` begins. */
static size_t segment_begin(const dn_bucket *bucket, int index)
{
    const size_t begin = (size_t)index * bucket->segment_length;
    return begin < (size_t)bucket->count ? begin : (size_t)bucket->count;
}

/* Bytes of the staging buffer that a transfer needs on this rank. */
static size_t landing_bytes(const dn_inflight *flight, const dn_bucket *bucket,
                            const dn_transfer *t)
{
    const dn_elements *elements = bucket->elements;
    const int lands = elements->pack != NULL || (t->adds && t->from.rank != flight->comm->rank);
    return lands ? (size_t)(t->last - t->first) * bucket->segment_length * elements->sent_size : 0;
}

/* The holder's elements of the bucket from `begin` on; NULL if the holder is another rank. */
static char *place_of(const dn_inflight *flight, dn_holder holder, size_t begin)
{
    if (holder.rank != flight->comm->rank)
        return NULL;
    const dn_bucket *bucket = flight->bucket;
    return (char *)flight->vectors[holder.slot] + (bucket->begin + begin) * bucket->elements->size;
}

static part part_of(const dn_inflight *flight, const dn_transfer *t)
{
    const size_t begin = segment_begin(flight->bucket, t->first);
    part p = {.count = (int)(segment_begin(flight->bucket, t->last) - begin),
              .adds = t->adds,
              .from = place_of(flight, t->from, begin),
              .to = place_of(flight, t->to, begin)};
    p.peer = p.from == NULL ? t->from.rank : t->to.rank;
    p.message = p.from == NULL ? p.to : p.from;
    return p;
}

/* Finds the parts of the next round. Empty segments, which occur if segments outnumber cache lines,
 * have none. */
static void open_round(dn_inflight *flight)
{
    const dn_comm_schedule *schedule = flight->bucket->schedule;
    const dn_transfer *end = schedule->transfer + schedule->count, *t = flight->next;
    char *landing = flight->landing;
    flight->parts = 0;
    for (; t < end && t->round == flight->next->round; t++) {
        const size_t bytes = landing_bytes(flight, flight->bucket, t);
        part p = part_of(flight, t);
        if (bytes > 0)
            p.message = landing;
        landing += bytes;
        if (p.count > 0)
            flight->part[flight->parts++] = p;
    }
    flight->next = t;
}

static MPI_Request *next_request(dn_inflight *flight, int peer)
{
    flight->peer[flight->requests] = peer;
    return &flight->request[flight->requests++];
}

/* Posts the round's messages, the receives first. */
static void post_round(dn_inflight *flight)
{
    const dn_elements *elements = flight->bucket->elements;
    const MPI_Comm world = flight->comm->world;
    const int tag = flight->bucket->tag;
    const part *end = flight->part + flight->parts;
    flight->requests = flight->complete = 0;
    for (const part *p = flight->part; p < end; p++)
        if (p->from == NULL)
            DN_MPI(MPI_Irecv(p->message, p->count, elements->type, p->peer, tag, world,
                             next_request(flight, p->peer)));
    for (const part *p = flight->part; p < end; p++) {
        if (p->from != NULL && elements->pack != NULL)
            elements->pack(p->message, p->from, (size_t)p->count);
        if (p->to == NULL)
            DN_MPI(MPI_Isend(p->message, p->count, elements->type, p->peer, tag, world,
                             next_request(flight, p->peer)));
    }
}

static void complete_request(dn_inflight *flight)
{
    flight->complete++;
    dn_note_message(flight->comm->activity);
}

/* Adds or copies what the round received; its sends are complete. */
static void apply_round(const dn_inflight *flight)
{
    const dn_elements *elements = flight->bucket->elements;
    for (const part *p = flight->part; p < flight->part + flight->parts; p++) {
        if (p->to == NULL)
            continue;
        if (p->adds)
            elements->add(p->to, p->message, (size_t)p->count);
        else if (elements->unpack != NULL)
            elements->unpack(p->to, p->message, (size_t)p->count);
        else if (p->message != p->to)
            memcpy(p->to, p->message, (size_t)p->count * elements->size);
    }
}

/* Posts the next round; after the last one the flight is free. */
static void go_on(dn_inflight *flight)
{
    const dn_comm_schedule *schedule = flight->bucket->schedule;
    if (flight->next < schedule->transfer + schedule->count) {
        open_round(flight);
        post_round(flight);
    } else {
        flight->bucket->end = omp_get_wtime();
        flight->bucket = NULL;
    }
}

void dn_inflight_start(dn_inflight *flight, dn_bucket *bucket)
{
    flight->bucket = bucket;
    flight->next = bucket->schedule->transfer;
    flight->parts = flight->requests = flight->complete = 0;
    bucket->start = omp_get_wtime();
    go_on(flight);
}

void dn_inflight_advance(dn_inflight *flight)
{
    while (flight->bucket != NULL) {
        while (flight->complete < flight->requests) {
            int is_done;
            DN_MPI(MPI_Test(&flight->request[flight->complete], &is_done, MPI_STATUS_IGNORE));
            if (!is_done)
                return;
            complete_request(flight);
        }
        apply_round(flight);
        go_on(flight);
    }
}

int dn_inflight_partner(const dn_inflight *flight)
{
    assert(flight->complete < flight->requests);
    return flight->peer[flight->complete];
}

void dn_inflight_finish(dn_inflight *flight)
{
    for (dn_inflight_advance(flight); flight->bucket != NULL; dn_inflight_advance(flight)) {
        dn_note_partner(flight->comm->activity, dn_inflight_partner(flight));
        sched_yield();
    }
}

/* ---- creation ---- */

/* Raises *bytes and *parts to the needs of the bucket's largest rounds. */
static void measure_rounds(const dn_inflight *flight, const dn_bucket *bucket, size_t *bytes,
                           size_t *parts)
{
    const dn_transfer *begin = bucket->schedule->transfer, *t = begin;
    size_t landing = 0;
    for (; t < bucket->schedule->transfer + bucket->schedule->count; t++) {
        if (t->round != begin->round) {
            begin = t;
            landing = 0;
        }
        landing += landing_bytes(flight, bucket, t);
        *bytes = landing > *bytes ? landing : *bytes;
        *parts = (size_t)(t - begin) + 1 > *parts ? (size_t)(t - begin) + 1 : *parts;
    }
}

dn_status dn_inflight_create(dn_inflight *flight, const dn_comm *comm, const dn_bucket *buckets,
                             int count)
{
    size_t bytes = 0, parts = 1;
    *flight = (dn_inflight){.comm = comm};
    for (int i = 0; i < count; i++)
        measure_rounds(flight, &buckets[i], &bytes, &parts);
    flight->part = malloc(parts * sizeof *flight->part);
    flight->request = malloc(parts * sizeof *flight->request);
    flight->peer = malloc(parts * sizeof *flight->peer);
    flight->landing_bytes = dn_whole_pages(bytes + 1); /* never 0 */
    flight->landing = aligned_alloc(DN_PAGE_BYTES, flight->landing_bytes);
    DN_CHECK(flight->part && flight->request && flight->peer && flight->landing, DN_ENOMEM,
             "sum across ranks: out of memory for messages of %zu bytes", bytes);
    return DN_OK;
}

void dn_inflight_destroy(dn_inflight *flight)
{
    free(flight->part);
    free(flight->request);
    free(flight->peer);
    free(flight->landing);
    *flight = (dn_inflight){0};
}
