/*
 * Reading ahead; see include/dn/loader.h.
 *
 * One lock guards the ring. Under it a thread claims the next image, in order: of batch `next`,
 * which must be less than `depth` ahead of `taken`, the batch that the caller asks for next. It
 * reads into the batch's slot without the lock. A batch is ready when all its images were claimed
 * and read; its slot, n % depth, is free when the caller has copied it.
 */
#include "dn/loader.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dn/rng.h"

struct slot {
    int count, unread; /* images of its batch; those that are not yet read */
    dn_failure failure;
    float *images;   /* (batch, channels, height, width) */
    int32_t *labels; /* (batch) */
};

struct dn_loader {
    dn_loader_settings settings;
    dn_transform transform;
    size_t image_floats;
    float *images;   /* of all slots */
    int32_t *labels; /* of all slots */
    uint32_t *order; /* epoch `ordered`'s; NULL: stored order */
    int64_t ordered;
    struct slot *slot; /* (depth) */

    pthread_mutex_t lock; /* of what follows, of the slots but for the images, and of the order */
    pthread_cond_t work, progress; /* the threads wait for one, the caller for the other */
    int64_t taken, next;
    int image;   /* the next of batch `next` to claim */
    int reading; /* threads that are */
    int closing;

    int threads; /* that were started */
    pthread_t *thread;
};

/* What a thread reads. */
struct claim {
    struct slot *slot;
    int image; /* in the batch */
    dn_request request;
};

int64_t dn_sequence_position(const dn_sequence *s, int64_t step, int virtual_rank)
{
    return ((step % s->steps) * s->virtual_ranks + virtual_rank) * s->batch;
}

/* The request for the first image of batch n. */
static dn_request first_request(const dn_loader *l, int64_t n)
{
    const dn_sequence *s = &l->settings.sequence;
    const int own = s->last - s->first;
    const int64_t position = dn_sequence_position(s, n / own, s->first + (int)(n % own));
    return (dn_request){.epoch = n / own / s->steps, .position = position};
}

/* ---- the threads ---- */

/* The order of the batch's epoch and its empty slot. */
static void open_batch(dn_loader *l, struct slot *slot, const dn_request *first)
{
    const int64_t left = l->settings.source->count - first->position;
    const int batch = l->settings.sequence.batch;
    slot->count = slot->unread = left < batch ? (int)left : batch;
    slot->failure.status = DN_OK;
    if (l->order != NULL && l->ordered != first->epoch) {
        l->ordered = first->epoch;
        dn_random_permutation(l->order, (size_t)l->settings.source->count, l->settings.seed,
                              (uint64_t)first->epoch);
    }
}

/* Claims the next image, if there is a place for it. */
static int claim_image(dn_loader *l, struct claim *claim)
{
    if (l->next >= l->settings.end || l->next >= l->taken + l->settings.depth)
        return 0;
    struct slot *slot = &l->slot[l->next % l->settings.depth];
    dn_request request = first_request(l, l->next);
    if (l->image == 0)
        open_batch(l, slot, &request);
    request.position += l->image;
    request.index = l->order != NULL ? l->order[request.position] : request.position;
    *claim = (struct claim){.slot = slot, .image = l->image, .request = request};
    slot->labels[l->image] = l->settings.source->labels[request.index];
    l->reading++;
    if (++l->image == slot->count) {
        l->next++;
        l->image = 0;
    }
    return 1;
}

static void *read_ahead(void *user)
{
    dn_loader *l = user;
    const dn_source *source = l->settings.source;
    struct claim c;
    pthread_mutex_lock(&l->lock);
    while (!l->closing) {
        if (!claim_image(l, &c)) {
            pthread_cond_wait(&l->work, &l->lock);
            continue;
        }
        pthread_mutex_unlock(&l->lock);
        float *to = c.slot->images + (size_t)c.image * l->image_floats;
        const dn_status status = source->read(source, &c.request, &l->transform, to);
        pthread_mutex_lock(&l->lock);
        dn_failure_keep(&c.slot->failure, status);
        l->reading--;
        if (--c.slot->unread == 0 || l->reading == 0)
            pthread_cond_signal(&l->progress);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- the caller ---- */

/* Forgets what is in the ring; the threads begin anew at batch n. */
static void seek(dn_loader *l, int64_t n)
{
    l->next = l->settings.end; /* nothing more is claimed */
    while (l->reading > 0)
        pthread_cond_wait(&l->progress, &l->lock);
    l->image = 0;
    l->next = l->taken = n;
    pthread_cond_broadcast(&l->work);
}

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
    struct slot *slot = &l->slot[n % l->settings.depth];
    assert(n >= 0 && n < l->settings.end);
    pthread_mutex_lock(&l->lock);
    if (n != l->taken)
        seek(l, n);
    while (l->next <= n || slot->unread > 0)
        pthread_cond_wait(&l->progress, &l->lock);
    pthread_mutex_unlock(&l->lock);
    const dn_status status = dn_failure_report(&slot->failure);
    if (status == DN_OK)
        copy_batch(l, slot, images, labels);
    pthread_mutex_lock(&l->lock);
    l->taken = n + 1;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    return status;
}

/* ---- its life ---- */

static dn_status allocate_ring(dn_loader *l)
{
    const dn_loader_settings *s = &l->settings;
    const size_t batch = (size_t)s->sequence.batch, depth = (size_t)s->depth;
    const size_t images = (size_t)s->source->count;
    l->images = malloc(depth * batch * l->image_floats * sizeof *l->images);
    l->labels = malloc(depth * batch * sizeof *l->labels);
    l->slot = calloc(depth, sizeof *l->slot);
    l->thread = calloc((size_t)s->threads, sizeof *l->thread);
    l->order = s->shuffle ? malloc(images * sizeof *l->order) : NULL;
    DN_CHECK(l->images && l->labels && l->slot && l->thread && (l->order || !s->shuffle), DN_ENOMEM,
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
    *l = (dn_loader){.settings = *s,
                     .transform = dn_transform_of(&s->source->info, s->augment, s->seed),
                     .image_floats = dn_image_values(&s->source->info),
                     .ordered = -1,
                     .taken = s->begin,
                     .next = s->begin};
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->progress, NULL);
    DN_TRY_OR_DONE(allocate_ring(l));
    for (; l->threads < s->threads; l->threads++)
        if (pthread_create(&l->thread[l->threads], NULL, read_ahead, l) != 0)
            DN_TRY_OR_DONE(dn_fail(DN_ENOMEM, "threads: found %d to read ahead, expected %d",
                                   l->threads, s->threads));
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
    pthread_mutex_lock(&l->lock);
    l->closing = 1;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->threads; i++)
        pthread_join(l->thread[i], NULL);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->progress);
    pthread_mutex_destroy(&l->lock);
    free(l->images);
    free(l->labels);
    free(l->order);
    free(l->slot);
    free(l->thread);
    free(l);
    *loader = NULL;
}
