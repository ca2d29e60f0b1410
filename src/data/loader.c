/*
 * Reading ahead; see include/dn/loader.h.
 *
 * One lock guards the ring. Under it a thread takes the next batch, in order, once that is less
 * than `depth` ahead of `taken`, the batch that the caller asks for next; it reads the images into
 * the batch's slot, n % depth, without the lock. To begin elsewhere, the threads are started anew.
 */
#include "dn/loader.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dn/rng.h"

enum { NO_BATCH = -1 };

/* A place in the ring. */
struct slot {
    int64_t ready; /* the batch that it holds, or NO_BATCH */
    int count;     /* images */
    dn_failure failure;
    dn_request *requests; /* (batch) */
    float *images;        /* (batch, channels, height, width) */
};

struct dn_loader {
    dn_loader_settings settings;
    dn_transform transform;
    size_t image_floats;
    struct slot *slot;    /* (depth) */
    dn_request *requests; /* of all slots */
    float *images;        /* of all slots */
    uint32_t *order;      /* epoch `ordered`'s; NULL: stored order */
    int64_t ordered;

    pthread_mutex_t lock;   /* of what follows, `ready` and the order */
    pthread_cond_t changed; /* something of it */
    int64_t taken, next;    /* batches: of the caller, of the threads */
    int closing;

    int threads; /* that run */
    pthread_t *thread;
};

int64_t dn_sequence_position(const dn_sequence *s, int64_t step, int virtual_rank)
{
    return ((step % s->steps) * s->virtual_ranks + virtual_rank) * s->batch;
}

/* ---- the threads ---- */

/* Which images batch n holds. Under the lock, as the threads share the order. */
static void list_requests(dn_loader *l, struct slot *slot, int64_t n)
{
    const dn_sequence *s = &l->settings.sequence;
    const int own = s->last - s->first;
    const int64_t images = l->settings.source->count, epoch = n / own / s->steps;
    const int64_t first = dn_sequence_position(s, n / own, s->first + (int)(n % own));
    slot->count = images - first < s->batch ? (int)(images - first) : s->batch;
    if (l->order && l->ordered != epoch) {
        dn_random_permutation(l->order, (size_t)images, l->settings.seed, (uint64_t)epoch);
        l->ordered = epoch;
    }
    for (int i = 0; i < slot->count; i++) {
        const int64_t position = first + i;
        const int64_t index = l->order ? l->order[position] : position;
        slot->requests[i] = (dn_request){.index = index, .epoch = epoch, .position = position};
    }
}

static dn_status read_images(const dn_loader *l, const struct slot *slot)
{
    const dn_source *source = l->settings.source;
    float *image = slot->images;
    for (int i = 0; i < slot->count; i++, image += l->image_floats)
        DN_TRY(source->read(source, &slot->requests[i], &l->transform, image));
    return DN_OK;
}

static void *read_ahead(void *user)
{
    dn_loader *l = user;
    pthread_mutex_lock(&l->lock);
    while (!l->closing) {
        if (l->next >= l->settings.end || l->next >= l->taken + l->settings.depth) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        const int64_t n = l->next++;
        struct slot *slot = &l->slot[n % l->settings.depth];
        list_requests(l, slot, n);
        pthread_mutex_unlock(&l->lock);
        slot->failure.status = DN_OK;
        dn_failure_keep(&slot->failure, read_images(l, slot));
        pthread_mutex_lock(&l->lock);
        slot->ready = n;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static void stop_threads(dn_loader *l)
{
    pthread_mutex_lock(&l->lock);
    l->closing = 1;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    while (l->threads > 0)
        pthread_join(l->thread[--l->threads], NULL);
}

/* Empties the ring and starts the threads at batch n. */
static dn_status start_threads(dn_loader *l, int64_t n)
{
    const int threads = l->settings.threads;
    l->taken = l->next = n;
    l->closing = 0;
    for (int i = 0; i < l->settings.depth; i++)
        l->slot[i].ready = NO_BATCH;
    for (; l->threads < threads; l->threads++)
        DN_CHECK(pthread_create(&l->thread[l->threads], NULL, read_ahead, l) == 0, DN_ENOMEM,
                 "threads: found %d to read ahead, expected %d", l->threads, threads);
    return DN_OK;
}

/* ---- the caller ---- */

static void copy_batch(const dn_loader *l, const struct slot *slot, float *images, int32_t *labels)
{
    const size_t floats = l->image_floats;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < slot->count; i++) {
        labels[i] = l->settings.source->labels[slot->requests[i].index];
        memcpy(images + (size_t)i * floats, slot->images + (size_t)i * floats,
               floats * sizeof *images);
    }
}

dn_status dn_loader_load(dn_loader *l, int64_t n, float *images, int32_t *labels)
{
    const struct slot *slot = &l->slot[n % l->settings.depth];
    assert(n >= 0 && n < l->settings.end);
    if (n != l->taken) {
        stop_threads(l);
        DN_TRY(start_threads(l, n));
    }
    pthread_mutex_lock(&l->lock);
    while (slot->ready != n)
        pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
    const dn_status status = dn_failure_report(&slot->failure);
    if (status == DN_OK)
        copy_batch(l, slot, images, labels);
    pthread_mutex_lock(&l->lock);
    l->taken = n + 1;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    return status;
}

/* ---- its life ---- */

static dn_status allocate_ring(dn_loader *l)
{
    const dn_loader_settings *s = &l->settings;
    const size_t depth = (size_t)s->depth, batch = (size_t)s->sequence.batch;
    l->slot = calloc(depth, sizeof *l->slot);
    l->requests = malloc(depth * batch * sizeof *l->requests);
    l->images = malloc(depth * batch * l->image_floats * sizeof *l->images);
    l->order = s->shuffle ? malloc((size_t)s->source->count * sizeof *l->order) : NULL;
    l->thread = calloc((size_t)s->threads, sizeof *l->thread);
    DN_CHECK(l->slot && l->requests && l->images && l->thread && (l->order || !s->shuffle),
             DN_ENOMEM, "memory: found none to read %zu batches of %zu images ahead", depth, batch);
    for (size_t i = 0; i < depth; i++) {
        l->slot[i].requests = l->requests + i * batch;
        l->slot[i].images = l->images + i * batch * l->image_floats;
    }
    return DN_OK;
}

dn_status dn_loader_create(dn_loader **loader, const dn_loader_settings *s)
{
    dn_status status;
    dn_loader *const l = *loader = calloc(1, sizeof *l);
    DN_CHECK(l, DN_ENOMEM, "memory: found none to read ahead");
    *l = (dn_loader){.settings = *s,
                     .transform = dn_transform_of(&s->source->info, s->augment, s->seed),
                     .image_floats = dn_image_values(&s->source->info),
                     .ordered = -1};
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    DN_TRY_OR_DONE(allocate_ring(l));
    DN_TRY_OR_DONE(start_threads(l, s->begin));
done:
    if (status != DN_OK)
        dn_loader_destroy(loader);
    return status;
}

void dn_loader_destroy(dn_loader **loader)
{
    dn_loader *l = *loader;
    if (l == NULL)
        return;
    stop_threads(l);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l->slot);
    free(l->requests);
    free(l->images);
    free(l->order);
    free(l->thread);
    free(l);
    *loader = NULL;
}
