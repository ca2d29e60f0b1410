/*
 * Buckets: how the vector is cut into them, the order in which they start, and the thread that
 * advances them; and the sum of rows. See allreduce.h.
 *
 * All ranks cut the vector into the same buckets and start them in ascending order. So the first
 * bucket that some rank has not finished is in flight or can start on every rank, and waiting for a
 * bucket in flight cannot deadlock. Each bucket has its own message tag; within it any two ranks
 * post their messages in the same order, and MPI does not reorder them.
 *
 * With a communication thread, the threads share nothing but `ready` while a sum runs: the caller
 * raises it, and the thread starts the buckets below it. Two semaphores mark the begin and the end
 * of a sum.
 */
#include "allreduce/allreduce.h"

#include <assert.h>
#include <limits.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "allreduce/comm_schedule.h"
#include "allreduce/inflight.h"
#include "dn/line.h"

enum {
    LEAST_BUCKET = 16 * 1024, /* fewest floats worth a message of their own */
    GRADIENT_BUCKETS = 8,     /* fewest buckets of the gradients */
    MOST_BUCKETS = 30000,
    ROWS_TAG = 0,
    FIRST_TAG = 1 /* MPI promises tags up to 32767 */
};

struct dn_allreduce {
    const dn_comm *comm;       /* not owned */
    const dn_subtree *subtree; /* (subtrees) this rank's */
    int subtrees;
    dn_comm_schedule schedule[DN_SCHEDULES]; /* by dn_comm_schedule_slot, if in use */
    dn_inflight rows;                        /* for dn_allreduce_rows */
    int buckets;
    dn_bucket *bucket;
    atomic_int ready; /* number of buckets that may start */
    int started;
    int flights; /* DN_BUCKETS_IN_FLIGHT, or `buckets` if these are fewer */
    dn_inflight flight[DN_BUCKETS_IN_FLIGHT];

    int has_thread;
    pthread_t thread;
    sem_t begin, end; /* of a sum */
    int is_over;      /* the thread is to end */
};

/* Starts and advances buckets without waiting; returns 1 when the sum is complete. */
static int advance_buckets(dn_allreduce *a)
{
    const int ready = atomic_load_explicit(&a->ready, memory_order_acquire);
    const dn_inflight *oldest = NULL; /* the others wait for it, if only for its slot */
    for (int i = 0; i < a->flights; i++) {
        dn_inflight *flight = &a->flight[i];
        dn_inflight_advance(flight);
        while (flight->bucket == NULL && a->started < ready) {
            a->bucket[a->started].flight = i;
            dn_inflight_start(flight, &a->bucket[a->started++]);
            dn_inflight_advance(flight);
        }
        if (flight->bucket != NULL && (oldest == NULL || flight->bucket < oldest->bucket))
            oldest = flight;
    }
    dn_note_partner(a->comm->activity, oldest != NULL ? dn_inflight_partner(oldest) : -1);
    return a->started == a->buckets && oldest == NULL;
}

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0) /* EINTR */
        ;
}

static void *communicate(void *allreduce)
{
    dn_allreduce *a = allreduce;
    omp_set_num_threads(1); /* the cores are busy with the OpenMP threads */
    for (;;) {
        wait_for(&a->begin);
        if (a->is_over)
            return NULL;
        while (!advance_buckets(a))
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
        advance_buckets(a);
    else if (before == 0 && ready > 0)
        sem_post(&a->begin);
}

void dn_allreduce_finish(dn_allreduce *a)
{
    dn_note_wait(a->comm->activity, 1);
    if (a->has_thread)
        wait_for(&a->end);
    else
        while (!advance_buckets(a))
            sched_yield();
    dn_note_wait(a->comm->activity, 0);
    a->started = 0;
    atomic_store_explicit(&a->ready, 0, memory_order_relaxed);
}

int dn_allreduce_buckets(const dn_allreduce *a, const dn_bucket **buckets)
{
    *buckets = a->bucket;
    return a->buckets;
}

/* ---- rows of doubles ---- */

/* The first of rows(count, width) becomes their sum along the tree. */
static void fold_rows(double *rows, int count, size_t width, dn_add_fn *add)
{
    if (count < 2)
        return;
    const int middle = dn_tree_split(0, count);
    double *right = rows + (size_t)middle * width;
    fold_rows(rows, middle, width, add);
    fold_rows(right, count - middle, width, add);
    add(rows, right, width);
}

static dn_bucket bucket_of_rows(const dn_allreduce *a, size_t width, const dn_elements *elements)
{
    return (dn_bucket){.count = (int)width,
                       .tag = ROWS_TAG,
                       .segments = 1,
                       .segment_length = width,
                       .elements = elements,
                       .schedule = &a->schedule[0]};
}

void dn_allreduce_rows(dn_allreduce *a, double *rows, size_t width, dn_add_fn *add)
{
    const dn_elements doubles = {
        .type = MPI_DOUBLE, .size = sizeof(double), .sent_size = sizeof(double), .add = add};
    dn_bucket bucket = bucket_of_rows(a, width, &doubles);
    double *row = rows;
    for (int i = 0; i < a->subtrees; i++) {
        const dn_subtree *s = &a->subtree[i];
        row = rows + (size_t)(s->lo - a->subtree->lo) * width;
        fold_rows(row, s->hi - s->lo, width, add);
        a->rows.vectors[i] = row;
    }
    dn_note_wait(a->comm->activity, 1);
    dn_inflight_start(&a->rows, &bucket);
    dn_inflight_finish(&a->rows);
    dn_note_wait(a->comm->activity, 0);
    memmove(rows, row, width * sizeof *rows);
}

/* ---- creation ---- */

/* Cuts [begin, end) into buckets of `size` floats. No computation hides the last bucket, so it must
 * be short: towards the end each bucket is half of what is left, down to `least`. Buckets and
 * segments are whole cache lines. Returns the place for the next bucket. */
static dn_bucket *cut(dn_bucket *bucket, size_t begin, size_t end, size_t size, size_t least)
{
    for (; begin < end; begin += (size_t)bucket++->count) {
        const size_t left = end - begin, half = dn_whole_line_floats((left + 1) / 2);
        size_t count = half < least || half > left ? left : half;
        count = count < size ? count : size;
        *bucket = (dn_bucket){.begin = begin, .count = (int)count};
    }
    return bucket;
}

dn_status dn_allreduce_cut(const dn_allreduce_settings *settings, int ranks, dn_bucket **buckets,
                           int *count)
{
    const size_t most = dn_whole_line_floats(settings->gradients / GRADIENT_BUCKETS + 1);
    const size_t least = dn_whole_line_floats(settings->count / MOST_BUCKETS + 1);
    size_t size = dn_whole_line_floats(settings->bucket);
    if (size > most)
        size = most > LEAST_BUCKET ? most : LEAST_BUCKET;
    size = size > least ? size : least;
    const size_t room = settings->count / size + 2 + CHAR_BIT * sizeof size;
    *buckets = calloc(room, sizeof **buckets);
    DN_CHECK(*buckets != NULL, DN_ENOMEM, "sum across ranks: out of memory for %zu buckets", room);
    dn_bucket *end =
        cut(*buckets, 0, settings->gradients, size, size < LEAST_BUCKET ? size : LEAST_BUCKET);
    end = cut(end, settings->gradients, settings->count, size, size);
    *count = (int)(end - *buckets);
    for (int i = 0; i < *count; i++) {
        dn_bucket *b = &(*buckets)[i];
        b->tag = FIRST_TAG + i;
        b->elements = settings->bf16 && b->begin < settings->gradients ? &dn_elements_bf16
                                                                       : &dn_elements_fp32;
        b->segments = settings->segments > 0 ? settings->segments
                                             : dn_comm_schedule_segments((size_t)b->count, ranks);
        const size_t segments = (size_t)b->segments;
        b->segment_length = dn_whole_line_floats(((size_t)b->count + segments - 1) / segments);
    }
    return DN_OK;
}

/* *schedule = this rank's schedule for `segments` segments, planned at its first use. */
static dn_status find_schedule(dn_allreduce *a, int virtual_ranks, int segments,
                               const dn_comm_schedule **schedule)
{
    dn_comm_schedule *s = &a->schedule[dn_comm_schedule_slot(segments)];
    *schedule = s;
    return s->segments > 0
               ? DN_OK
               : dn_comm_schedule_create(s, virtual_ranks, a->comm->size, a->comm->rank, segments);
}

static dn_status create_flights(dn_allreduce *a, size_t widest)
{
    const dn_elements doubles = {.size = sizeof(double), .sent_size = sizeof(double)};
    const dn_bucket rows = bucket_of_rows(a, widest, &doubles);
    DN_TRY(dn_inflight_create(&a->rows, a->comm, &rows, 1));
    a->flights = a->buckets < DN_BUCKETS_IN_FLIGHT ? a->buckets : DN_BUCKETS_IN_FLIGHT;
    for (int i = 0; i < a->flights; i++) {
        DN_TRY(dn_inflight_create(&a->flight[i], a->comm, a->bucket, a->buckets));
        for (int slot = 0; slot < a->subtrees; slot++)
            a->flight[i].vectors[slot] = a->subtree[slot].sum;
    }
    return DN_OK;
}

static dn_status start_comm_thread(dn_allreduce *a)
{
    sem_init(&a->begin, 0, 0);
    sem_init(&a->end, 0, 0);
    a->has_thread = pthread_create(&a->thread, NULL, communicate, a) == 0;
    DN_CHECK(a->has_thread, DN_ENOMEM, "sum across ranks: cannot start a communication thread");
    return DN_OK;
}

dn_status dn_allreduce_create(dn_allreduce **result, const dn_comm *comm, const dn_tree *tree,
                              const dn_allreduce_settings *settings)
{
    const int v = settings->virtual_ranks;
    const dn_comm_schedule *schedule;
    *result = NULL;
    assert(v >= comm->size && settings->bucket > 0 && settings->bucket <= INT_MAX / 2);
    dn_allreduce *a = calloc(1, sizeof *a);
    DN_CHECK(a != NULL, DN_ENOMEM, "sum across ranks: out of memory");
    a->comm = comm;
    a->subtrees = dn_tree_subtrees(tree, &a->subtree);
    dn_status status;
    DN_TRY_OR_DONE(dn_allreduce_cut(settings, comm->size, &a->bucket, &a->buckets));
    for (dn_bucket *b = a->bucket; b < a->bucket + a->buckets; b++)
        DN_TRY_OR_DONE(find_schedule(a, v, b->segments, &b->schedule));
    DN_TRY_OR_DONE(find_schedule(a, v, 1, &schedule)); /* of the rows */
    DN_TRY_OR_DONE(create_flights(a, settings->widest));
    if (settings->comm_thread && comm->size > 1)
        DN_TRY_OR_DONE(start_comm_thread(a));
    *result = a;
done:
    if (status != DN_OK)
        dn_allreduce_destroy(&a);
    return status;
}

size_t dn_allreduce_bytes(const dn_allreduce *a)
{
    size_t bytes = a->rows.landing_bytes;
    for (int i = 0; i < a->flights; i++)
        bytes += a->flight[i].landing_bytes;
    return bytes;
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
    dn_inflight_destroy(&a->rows);
    for (int i = 0; i < a->flights; i++)
        dn_inflight_destroy(&a->flight[i]);
    for (int i = 0; i < DN_SCHEDULES; i++)
        dn_comm_schedule_destroy(&a->schedule[i]);
    free(a->bucket);
    free(a);
    *allreduce = NULL;
}
