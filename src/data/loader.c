/*
 * Reading ahead; see include/dn/loader.h.
 *
 * The I/O thread reads batch after batch, n into slot n % depth, at most `depth` ahead of `taken`,
 * the batch that the caller asks for next. The slots of the batches [taken, read) are the caller's,
 * the others the thread's. To begin elsewhere, the thread is started anew.
 */
#include "dn/loader.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dn/rng.h"

struct slot {
    int count; /* images */
    dn_failure failure;
    float *images;   /* (batch, channels, height, width) */
    int32_t *labels; /* (batch) */
};

struct dn_loader {
    dn_loader_settings settings;
    dn_workspace workspace; /* the thread's */
    size_t image_floats;
    struct slot *slot; /* (depth) */
    float *images;     /* of all slots */
    int32_t *labels;   /* of all slots */
    uint32_t *order;   /* epoch `ordered`'s; NULL: stored order */
    int64_t ordered;

    pthread_t thread;
    int running;
    pthread_mutex_t lock;   /* of what follows */
    pthread_cond_t changed; /* something of it */
    int64_t read, taken;    /* the next batch of the thread, and of the caller */
    int closing;
};

int64_t dn_sequence_position(const dn_sequence *s, int64_t step, int virtual_rank)
{
    return ((step % s->steps) * s->virtual_ranks + virtual_rank) * s->batch;
}

/* ---- the thread ---- */

static dn_status read_batch(dn_loader *l, struct slot *slot, int64_t n)
{
    const dn_sequence *s = &l->settings.sequence;
    const dn_source *source = l->settings.source;
    const int own = s->last - s->first;
    const int64_t step = n / own;
    dn_request r = {.epoch = step / s->steps,
                    .position = dn_sequence_position(s, step, s->first + (int)(n % own))};
    const int64_t left = source->count - r.position;
    slot->count = left < s->batch ? (int)left : s->batch;
    if (l->order && l->ordered != r.epoch) {
        dn_random_permutation(l->order, (size_t)source->count, l->settings.seed, (uint64_t)r.epoch);
        l->ordered = r.epoch;
    }
    for (int i = 0; i < slot->count; i++, r.position++) {
        r.index = l->order ? l->order[r.position] : r.position;
        slot->labels[i] = source->labels[r.index];
        DN_TRY(source->read(source, &r, &l->settings.transform, &l->workspace,
                            slot->images + (size_t)i * l->image_floats));
    }
    return DN_OK;
}

static void *read_ahead(void *user)
{
    dn_loader *l = user;
    pthread_mutex_lock(&l->lock);
    while (!l->closing) {
        if (l->read >= l->settings.end || l->read >= l->taken + l->settings.depth) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        pthread_mutex_unlock(&l->lock);
        struct slot *slot = &l->slot[l->read % l->settings.depth];
        slot->failure.status = DN_OK;
        dn_failure_keep(&slot->failure, read_batch(l, slot, l->read));
        pthread_mutex_lock(&l->lock);
        l->read++;
        pthread_cond_signal(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static void stop_reading(dn_loader *l)
{
    if (!l->running)
        return;
    pthread_mutex_lock(&l->lock);
    l->closing = 1;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    l->running = 0;
}

/* Empties the ring and starts the thread at batch n. */
static dn_status start_reading(dn_loader *l, int64_t n)
{
    l->read = l->taken = n;
    l->closing = 0;
    l->running = pthread_create(&l->thread, NULL, read_ahead, l) == 0;
    DN_CHECK(l->running, DN_ENOMEM, "threads: found none to read ahead");
    return DN_OK;
}

/* ---- the caller ---- */

static void copy_batch(const dn_loader *l, const struct slot *slot, float *images, int32_t *labels)
{
    const size_t floats = l->image_floats;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < slot->count; i++)
        memcpy(images + (size_t)i * floats, slot->images + (size_t)i * floats,
               floats * sizeof *images);
    memcpy(labels, slot->labels, (size_t)slot->count * sizeof *labels);
}

dn_status dn_loader_load(dn_loader *l, int64_t n, float *images, int32_t *labels)
{
    const struct slot *slot = &l->slot[n % l->settings.depth];
    assert(n >= 0 && n < l->settings.end);
    if (n != l->taken) {
        stop_reading(l);
        DN_TRY(start_reading(l, n));
    }
    pthread_mutex_lock(&l->lock);
    while (l->read <= n)
        pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
    const dn_status status = dn_failure_report(&slot->failure);
    if (status == DN_OK)
        copy_batch(l, slot, images, labels);
    pthread_mutex_lock(&l->lock);
    l->taken = n + 1;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
    return status;
}

/* ---- its life ---- */

static dn_status allocate_ring(dn_loader *l)
{
    const dn_loader_settings *s = &l->settings;
    const size_t depth = (size_t)s->depth, batch = (size_t)s->sequence.batch;
    l->slot = calloc(depth, sizeof *l->slot);
    l->images = malloc(depth * batch * l->image_floats * sizeof *l->images);
    l->labels = malloc(depth * batch * sizeof *l->labels);
    l->order = s->shuffle ? malloc((size_t)s->source->count * sizeof *l->order) : NULL;
    DN_CHECK(l->slot && l->images && l->labels && (l->order || !s->shuffle), DN_ENOMEM,
             "memory: found none to read %zu batches of %zu images ahead", depth, batch);
    for (size_t i = 0; i < depth; i++) {
        l->slot[i].images = l->images + i * batch * l->image_floats;
        l->slot[i].labels = l->labels + i * batch;
    }
    return DN_OK;
}

dn_status dn_loader_create(dn_loader **loader, const dn_loader_settings *s)
{
    dn_status status;
    dn_loader *const l = *loader = calloc(1, sizeof *l);
    DN_CHECK(l, DN_ENOMEM, "memory: found none to read ahead");
    const dn_transform *const t = &s->transform;
    *l = (dn_loader){.settings = *s,
                     .image_floats = (size_t)t->channels * (size_t)t->height * (size_t)t->width,
                     .ordered = -1};
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    DN_TRY_OR_DONE(allocate_ring(l));
    DN_TRY_OR_DONE(start_reading(l, s->begin));
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
    stop_reading(l);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    dn_workspace_free(&l->workspace);
    free(l->slot);
    free(l->images);
    free(l->labels);
    free(l->order);
    free(l);
    *loader = NULL;
}
