/*
 * The data loader; see include/dn/loader.h.
 *
 * Batch n is read into slot n % depth, at most `depth` batches ahead of `taken`, the batch that the
 * caller will ask for next. Threads take images one by one from the open batch; if none is open, a
 * thread opens the next one. From then on a slot belongs to the threads until its last image is
 * read, and then to the caller until `taken` has passed it. To begin elsewhere, the threads are
 * restarted.
 */
#include "dn/loader.h"

#include <assert.h>
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dn/rng.h"

struct slot {
    int64_t batch; /* batch in this slot */
    const dn_transform *transform;
    int64_t epoch, position;     /* of its first image */
    int count, handed_out, read; /* images: in the batch, handed out to threads, read */
    int failed;                  /* index of the first that failed; count: none */
    dn_failure failure;          /* its failure */
    uint32_t *index;             /* (batch) indices of the images in the split */
    float *images;               /* (batch, channels, height, width) */
    int32_t *labels;             /* (batch) */
};

struct reader {
    dn_loader *loader;
    pthread_t thread;
    dn_transform_memory memory;
};

struct dn_loader {
    dn_loader_settings settings;
    size_t image_floats;
    struct slot *slot;     /* (depth) */
    struct reader *reader; /* (settings.threads) */
    uint32_t *index;       /* of all slots */
    float *images;         /* of all slots */
    int32_t *labels;       /* of all slots */
    uint32_t *order;       /* the order of epoch `ordered`; NULL: stored order */
    int64_t ordered;
    double waited; /* by the caller, seconds */
    int running;   /* threads */

    pthread_mutex_t lock;        /* protects what follows, and the slots except their images */
    pthread_cond_t room, filled; /* signalled to the threads, to the caller */
    int64_t next, taken;         /* next batch to open; next batch of the caller */
    struct slot *open;           /* NULL: all its images are handed out */
    int closing;
};

int64_t dn_sequence_position(const dn_sequence *s, int64_t step, int virtual_rank)
{
    return ((step % s->steps) * s->virtual_ranks + virtual_rank) * s->batch;
}

/* ---- the threads ---- */

/* Sets which images batch n holds. */
static void open_batch(dn_loader *l, int64_t n)
{
    const dn_loader_settings *const s = &l->settings;
    const dn_sequence *const q = &s->sequence;
    const int own = q->end - q->first;
    struct slot *const slot = l->open = &l->slot[n % s->depth];
    const int64_t images = n / s->crops; /* the batch of the sequence */
    slot->batch = n;
    slot->transform = &s->transforms[n % s->crops];
    slot->epoch = images / own / q->steps;
    slot->position = dn_sequence_position(q, images / own, q->first + (int)(images % own));
    const int64_t left = s->source->count - slot->position;
    slot->count = slot->failed = left < q->batch ? (int)left : q->batch;
    slot->handed_out = slot->read = 0;
    slot->failure.status = DN_OK;
    if (l->order && l->ordered != slot->epoch) {
        dn_random_order(l->order, (size_t)s->source->count, (size_t)s->window, s->seed,
                        (uint64_t)slot->epoch);
        l->ordered = slot->epoch;
    }
    for (int i = 0; i < slot->count; i++) {
        const int64_t at = slot->position + i;
        slot->index[i] = l->order ? l->order[at] : (uint32_t)at;
    }
}

/* The slot of the next image to read, *image its index in the batch; waits for room. NULL: the end.
 */
static struct slot *take_image(dn_loader *l, int *image)
{
    const dn_loader_settings *const s = &l->settings;
    while (!l->closing && !l->open)
        if (l->next < s->end && l->next < l->taken + s->depth)
            open_batch(l, l->next++);
        else
            pthread_cond_wait(&l->room, &l->lock);
    struct slot *const slot = l->open;
    if (l->closing)
        return NULL;
    *image = slot->handed_out++;
    if (slot->handed_out == slot->count)
        l->open = NULL;
    return slot;
}

static dn_status read_image(struct reader *r, const struct slot *slot, int image)
{
    const dn_loader *const l = r->loader;
    const dn_source *const source = l->settings.source;
    const dn_request request = {
        .index = slot->index[image], .epoch = slot->epoch, .position = slot->position + image};
    slot->labels[image] = source->labels[request.index];
    return source->read(source, &request, slot->transform, &r->memory,
                        slot->images + (size_t)image * l->image_floats);
}

/* Records that an image was read or failed; of several failures that of the batch's first image is
 * kept. */
static void end_image(dn_loader *l, struct slot *slot, int image, dn_status status)
{
    if (status != DN_OK && image < slot->failed) {
        slot->failed = image;
        slot->failure.status = DN_OK;
        dn_failure_keep(&slot->failure, status);
    }
    if (++slot->read == slot->count)
        pthread_cond_signal(&l->filled);
}

static void *read_ahead(void *user)
{
    struct reader *const r = user;
    dn_loader *const l = r->loader;
    struct slot *slot;
    int image;
    pthread_mutex_lock(&l->lock);
    while ((slot = take_image(l, &image))) {
        pthread_mutex_unlock(&l->lock);
        const dn_status status = read_image(r, slot, image);
        pthread_mutex_lock(&l->lock);
        end_image(l, slot, image, status);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static void stop_reading(dn_loader *l)
{
    pthread_mutex_lock(&l->lock);
    l->closing = 1;
    pthread_cond_broadcast(&l->room);
    pthread_mutex_unlock(&l->lock);
    while (l->running > 0)
        pthread_join(l->reader[--l->running].thread, NULL);
}

/* Empties the ring and starts the threads at batch n. */
static dn_status start_reading(dn_loader *l, int64_t n)
{
    const int threads = l->settings.threads;
    l->next = l->taken = n;
    l->open = NULL;
    l->closing = 0;
    for (int i = 0; i < l->settings.depth; i++)
        l->slot[i].batch = -1;
    while (l->running < threads && pthread_create(&l->reader[l->running].thread, NULL, read_ahead,
                                                  &l->reader[l->running]) == 0)
        l->running++;
    if (l->running == threads)
        return DN_OK;
    const int found = l->running;
    stop_reading(l);
    return dn_fail(DN_ENOMEM, "threads: found %d to read ahead, expected %d", found, threads);
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

/* Waits until all images of batch n are read. */
static void await_batch(dn_loader *l, int64_t n)
{
    const struct slot *const slot = &l->slot[n % l->settings.depth];
    const double start = omp_get_wtime();
    pthread_mutex_lock(&l->lock);
    while (slot->batch != n || slot->read < slot->count)
        pthread_cond_wait(&l->filled, &l->lock);
    pthread_mutex_unlock(&l->lock);
    l->waited += omp_get_wtime() - start;
}

dn_status dn_loader_load(dn_loader *l, int64_t n, float *images, int32_t *labels)
{
    const struct slot *const slot = &l->slot[n % l->settings.depth];
    assert(n >= 0 && n < l->settings.end);
    if (n != l->taken || l->running == 0) {
        stop_reading(l);
        DN_TRY(start_reading(l, n));
    }
    await_batch(l, n);
    const dn_status status = dn_failure_report(&slot->failure);
    if (status == DN_OK)
        copy_batch(l, slot, images, labels);
    pthread_mutex_lock(&l->lock);
    l->taken = n + 1;
    pthread_cond_broadcast(&l->room);
    pthread_mutex_unlock(&l->lock);
    return status;
}

double dn_loader_waited(const dn_loader *l)
{
    return l->waited;
}

/* ---- its life ---- */

static dn_status allocate_ring(dn_loader *l)
{
    const dn_loader_settings *s = &l->settings;
    const size_t depth = (size_t)s->depth, batch = (size_t)s->sequence.batch;
    l->slot = calloc(depth, sizeof *l->slot);
    l->reader = calloc((size_t)s->threads, sizeof *l->reader);
    l->index = malloc(depth * batch * sizeof *l->index);
    l->images = malloc(depth * batch * l->image_floats * sizeof *l->images);
    l->labels = malloc(depth * batch * sizeof *l->labels);
    l->order = s->shuffle ? malloc((size_t)s->source->count * sizeof *l->order) : NULL;
    DN_CHECK(
        l->slot && l->reader && l->index && l->images && l->labels && (l->order || !s->shuffle),
        DN_ENOMEM, "out of memory for %zu batches of %zu images that are read ahead", depth, batch);
    for (int i = 0; i < s->threads; i++)
        l->reader[i].loader = l;
    for (size_t i = 0; i < depth; i++) {
        l->slot[i].index = l->index + i * batch;
        l->slot[i].images = l->images + i * batch * l->image_floats;
        l->slot[i].labels = l->labels + i * batch;
    }
    return DN_OK;
}

dn_status dn_loader_create(dn_loader **loader, const dn_loader_settings *s)
{
    dn_status status;
    dn_loader *const l = *loader = calloc(1, sizeof *l);
    DN_CHECK(l, DN_ENOMEM, "out of memory for the data loader");
    *l = (dn_loader){
        .settings = *s, .image_floats = dn_transform_values(s->transforms), .ordered = -1};
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->room, NULL);
    pthread_cond_init(&l->filled, NULL);
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
    pthread_cond_destroy(&l->filled);
    pthread_cond_destroy(&l->room);
    pthread_mutex_destroy(&l->lock);
    for (int i = 0; l->reader && i < l->settings.threads; i++)
        dn_transform_memory_free(&l->reader[i].memory);
    free(l->reader);
    free(l->slot);
    free(l->index);
    free(l->images);
    free(l->labels);
    free(l->order);
    free(l);
    *loader = NULL;
}
