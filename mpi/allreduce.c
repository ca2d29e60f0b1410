/*
 * The buckets of the tree sum across ranks on their way through the plan (mpi/allreduce.h).
 *
 * All ranks cut the vector into the same buckets and start them in ascending order, so the first
 * bucket that some rank has not finished is under way everywhere or free to start: no wait for a
 * place under way can be a deadlock. A bucket is one message tag; two ranks post the messages
 * between them in the same order, which MPI keeps.
 *
 * With a communication thread, `ready` is all that the threads share while a sum runs: the caller
 * raises it, the thread takes what is below it. Two semaphores mark a sum's begin and end.
 */
#include "allreduce.h"

#include <limits.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "moves.h"

enum {
    LINE = 16,         /* floats: pieces and messages start on cache lines */
    LEAST = 16 * 1024, /* floats of a bucket that are worth a message of their own */
    PARTS = 8,         /* buckets of the gradients, at least */
    MOST_BUCKETS = 30000,
    FIRST_TAG = 1 /* MPI promises tags up to 32767 */
};

/* A bucket under way. */
typedef struct lane {
    dn_bucket *bucket;          /* NULL: free */
    const dn_move *begin, *end; /* this round's */
    MPI_Request *request;       /* (most_requests) */
    int requests;
    float *landing; /* for what is received to be added */
} lane;

struct dn_allreduce {
    const dn_comm *comm;
    const dn_subtree *subtrees;
    dn_moves plan;
    int buckets;
    dn_bucket *bucket;
    atomic_int ready;      /* buckets that may start */
    int started, finished; /* buckets */
    lane lane[DN_BUCKETS_UNDER_WAY];

    int has_thread;
    pthread_t thread;
    sem_t begin, end; /* of a sum */
    int is_over;      /* the thread is to end */
};

/* ---- one bucket ---- */

static size_t round_up(size_t x, size_t multiple)
{
    return (x + multiple - 1) / multiple * multiple;
}

/* Where piece `index` of the bucket begins. */
static int piece_begin(const dn_allreduce *a, const dn_bucket *bucket, int index)
{
    const size_t pieces = (size_t)a->plan.pieces, count = (size_t)bucket->count;
    const size_t piece = round_up((count + pieces - 1) / pieces, LINE);
    const size_t begin = piece * (size_t)index;
    return (int)(begin < count ? begin : count);
}

/* What a move means for one bucket on this rank. */
typedef struct part {
    int count; /* floats; may be 0 where pieces outnumber cache lines */
    int is_sent, is_received;
    float *from, *to; /* NULL: on the other rank */
} part;

static float *place(const dn_allreduce *a, dn_home place, size_t begin)
{
    return place.rank == a->comm->rank ? a->subtrees[place.slot].sum + begin : NULL;
}

static part part_of(const dn_allreduce *a, const dn_bucket *bucket, const dn_move *m)
{
    const int first = piece_begin(a, bucket, m->first);
    part p = {.count = piece_begin(a, bucket, m->last) - first,
              .from = place(a, m->from, bucket->begin + (size_t)first),
              .to = place(a, m->to, bucket->begin + (size_t)first)};
    p.is_sent = p.count > 0 && p.to == NULL;
    p.is_received = p.count > 0 && p.from == NULL;
    return p;
}

/* The end of the round that starts with `begin`. */
static const dn_move *round_end(const dn_allreduce *a, const dn_move *begin)
{
    const dn_move *end = begin;
    while (end < a->plan.move + a->plan.count && end->round == begin->round)
        end++;
    return end;
}

/* Posts the messages of the round that starts with `begin`. */
static void post(dn_allreduce *a, lane *l, const dn_move *begin)
{
    const MPI_Comm world = a->comm->world;
    const int tag = FIRST_TAG + (int)(l->bucket - a->bucket);
    float *landing = l->landing;
    l->begin = begin;
    l->end = round_end(a, begin);
    l->requests = 0;
    for (const dn_move *m = begin; m < l->end; m++) {
        const part p = part_of(a, l->bucket, m);
        if (!p.is_received)
            continue;
        DN_MPI(MPI_Irecv(m->adds ? landing : p.to, p.count, MPI_FLOAT, m->from.rank, tag, world,
                         &l->request[l->requests++]));
        landing += m->adds ? round_up((size_t)p.count, LINE) : 0;
    }
    for (const dn_move *m = begin; m < l->end; m++) {
        const part p = part_of(a, l->bucket, m);
        if (p.is_sent)
            DN_MPI(MPI_Isend(p.from, p.count, MPI_FLOAT, m->to.rank, tag, world,
                             &l->request[l->requests++]));
    }
}

/* Adds or copies what the round brought. */
static void apply(const dn_allreduce *a, const lane *l)
{
    const float *landing = l->landing;
    for (const dn_move *m = l->begin; m < l->end; m++) {
        const part p = part_of(a, l->bucket, m);
        if (p.to == NULL || p.count == 0)
            continue;
        if (m->adds)
            dn_tree_add(p.to, p.is_received ? landing : p.from, (size_t)p.count);
        else if (!p.is_received)
            memcpy(p.to, p.from, (size_t)p.count * sizeof(float));
        landing += m->adds && p.is_received ? round_up((size_t)p.count, LINE) : 0;
    }
}

/* Takes the bucket as far as it goes without waiting. */
static void advance(dn_allreduce *a, lane *l)
{
    const dn_move *const end = a->plan.move + a->plan.count;
    int is_done = 1;
    while (l->bucket != NULL) {
        DN_MPI(MPI_Testall(l->requests, l->request, &is_done, MPI_STATUSES_IGNORE));
        if (!is_done)
            return;
        apply(a, l);
        if (l->end < end) {
            post(a, l, l->end);
        } else {
            l->bucket->end = MPI_Wtime();
            l->bucket = NULL;
            a->finished++;
        }
    }
}

static void start(dn_allreduce *a, int index)
{
    lane *l = &a->lane[index];
    l->bucket = &a->bucket[a->started++];
    l->bucket->lane = index;
    l->bucket->start = MPI_Wtime();
    post(a, l, a->plan.move);
}

/* Starts and advances what can be; returns 1 when the sum is complete. */
static int look_after(dn_allreduce *a)
{
    const int ready = atomic_load_explicit(&a->ready, memory_order_acquire);
    for (int i = 0; i < DN_BUCKETS_UNDER_WAY; i++) {
        if (a->lane[i].bucket == NULL && a->started < ready)
            start(a, i);
        advance(a, &a->lane[i]);
    }
    return a->finished == a->buckets;
}

static void *communicate(void *allreduce)
{
    dn_allreduce *a = allreduce;
    omp_set_num_threads(1); /* the cores of the team are busy */
    for (;;) {
        sem_wait(&a->begin);
        if (a->is_over)
            return NULL;
        while (!look_after(a))
            sched_yield();
        sem_post(&a->end);
    }
}

/* ---- the sum ---- */

void dn_allreduce_ready(dn_allreduce *a, size_t end)
{
    const int before = atomic_load_explicit(&a->ready, memory_order_relaxed);
    int ready = before;
    while (ready < a->buckets && a->bucket[ready].begin + (size_t)a->bucket[ready].count <= end)
        ready++;
    atomic_store_explicit(&a->ready, ready, memory_order_release);
    if (!a->has_thread)
        look_after(a);
    else if (before == 0 && ready > 0)
        sem_post(&a->begin);
}

void dn_allreduce_finish(dn_allreduce *a)
{
    if (a->has_thread)
        while (sem_wait(&a->end) != 0) /* a signal came */
            ;
    else
        while (!look_after(a))
            ;
    a->started = a->finished = 0;
    atomic_store_explicit(&a->ready, 0, memory_order_relaxed);
}

int dn_allreduce_buckets(const dn_allreduce *a, const dn_bucket **buckets)
{
    *buckets = a->bucket;
    return a->buckets;
}

/* ---- creation ---- */

/* Cuts [begin, end) into buckets of `size` floats; returns where the next one goes. */
static dn_bucket *cut(dn_bucket *bucket, size_t begin, size_t end, size_t size)
{
    for (; begin < end; begin += size) {
        const size_t count = end - begin < size ? end - begin : size;
        *bucket++ = (dn_bucket){.begin = begin, .count = (int)count};
    }
    return bucket;
}

dn_status dn_allreduce_cut(const dn_allreduce_settings *settings, dn_bucket **buckets, int *count)
{
    const size_t most = round_up(settings->split / PARTS + 1, LINE);
    size_t size = round_up(settings->bucket, LINE);
    if (size > most)
        size = most > LEAST ? most : LEAST;
    const size_t least = round_up(settings->count / MOST_BUCKETS + 1, LINE);
    size = size > least ? size : least;
    *buckets = calloc(settings->count / size + 2, sizeof **buckets);
    DN_CHECK(*buckets != NULL, DN_ENOMEM, "sum across ranks: out of memory for %zu buckets",
             settings->count / size + 2);
    dn_bucket *end = cut(*buckets, 0, settings->split, size);
    end = cut(end, settings->split, settings->count, size);
    *count = (int)(end - *buckets);
    return DN_OK;
}

/* Gives every lane what the largest round of the largest bucket takes. */
static dn_status make_lanes(dn_allreduce *a)
{
    size_t most_landed = 0;
    int most_requests = 0;
    for (int b = 0; b < a->buckets; b++) {
        const dn_move *const end = a->plan.move + a->plan.count;
        for (const dn_move *begin = a->plan.move, *next; begin < end; begin = next) {
            size_t landed = 0;
            int requests = 0;
            next = round_end(a, begin);
            for (const dn_move *m = begin; m < next; m++) {
                const part p = part_of(a, &a->bucket[b], m);
                requests += p.is_sent || p.is_received;
                landed += m->adds && p.is_received ? round_up((size_t)p.count, LINE) : 0;
            }
            most_landed = landed > most_landed ? landed : most_landed;
            most_requests = requests > most_requests ? requests : most_requests;
        }
    }
    for (int i = 0; i < DN_BUCKETS_UNDER_WAY; i++) {
        lane *l = &a->lane[i];
        l->request = malloc(((size_t)most_requests + 1) * sizeof *l->request);
        l->landing = aligned_alloc(64, (most_landed + LINE) * sizeof *l->landing);
        DN_CHECK(l->request != NULL && l->landing != NULL, DN_ENOMEM,
                 "sum across ranks: out of memory for messages of %zu floats", most_landed);
    }
    return DN_OK;
}

static dn_status start_thread(dn_allreduce *a)
{
    sem_init(&a->begin, 0, 0);
    sem_init(&a->end, 0, 0);
    a->has_thread = pthread_create(&a->thread, NULL, communicate, a) == 0;
    DN_CHECK(a->has_thread, DN_ENOMEM, "sum across ranks: cannot start a communication thread");
    return DN_OK;
}

dn_status dn_allreduce_create(dn_allreduce **result, const dn_comm *comm,
                              const dn_subtree *subtrees, const dn_allreduce_settings *settings)
{
    *result = NULL;
    DN_CHECK(settings->virtual_ranks >= comm->size, DN_EINVAL,
             "%d ranks for %d virtual ranks: expected at most one rank for each virtual rank",
             comm->size, settings->virtual_ranks);
    DN_CHECK(settings->bucket > 0 && settings->bucket <= INT_MAX / 2, DN_EINVAL,
             "sum across ranks: buckets of %zu floats, expected 1 to %d", settings->bucket,
             INT_MAX / 2);
    dn_allreduce *a = calloc(1, sizeof *a);
    DN_CHECK(a != NULL, DN_ENOMEM, "sum across ranks: out of memory");
    a->comm = comm;
    a->subtrees = subtrees;
    dn_status status;
    DN_TRY_OR_DONE(dn_moves_plan(&a->plan, settings->virtual_ranks, comm->size, comm->rank));
    DN_TRY_OR_DONE(dn_allreduce_cut(settings, &a->bucket, &a->buckets));
    DN_TRY_OR_DONE(make_lanes(a));
    if (settings->comm_thread && comm->size > 1)
        DN_TRY_OR_DONE(start_thread(a));
    *result = a;
done:
    if (status != DN_OK)
        dn_allreduce_destroy(&a);
    return status;
}

void dn_allreduce_destroy(dn_allreduce **allreduce)
{
    dn_allreduce *a = *allreduce;
    if (a == NULL)
        return;
    if (a->has_thread) {
        a->is_over = 1;
        sem_post(&a->begin);
        pthread_join(a->thread, NULL);
    }
    for (int i = 0; i < DN_BUCKETS_UNDER_WAY; i++) {
        free(a->lane[i].request);
        free(a->lane[i].landing);
    }
    dn_moves_free(&a->plan);
    free(a->bucket);
    free(a);
    *allreduce = NULL;
}
