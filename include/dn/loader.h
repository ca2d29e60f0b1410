/*
 * The data loader: I/O threads read the next batches ahead into a ring while the caller computes.
 *
 * Batches are numbered, and the content of batch n is a function of n alone. So a loader may begin
 * anywhere, any batch may be loaded again, and neither the number of threads nor their schedule
 * matters. Batches are delivered in order, each with the failure of its first bad image, if any.
 *
 * The threads are not pinned: they may run on any core of the rank, alongside the OpenMP threads
 * that occupy all of them. Reading a decoded image takes less than a thousandth of its training
 * step, decoding a JPEG a few hundredths for a large net; OpenMP's dynamic schedules absorb that.
 * Not collective.
 */
#ifndef DN_LOADER_H
#define DN_LOADER_H

#include "dn/source.h"

/* Batches in a ring per computing net: one that is ready and one that is being read. */
enum { DN_READ_AHEAD = 2 };

/*
 * Which images a batch holds. An epoch has `steps` steps of virtual_ranks x batch images. In each
 * step, one rank loads the batches of the virtual ranks [first, end): batch n belongs to virtual
 * rank first + n % (end - first) of step n / (end - first), counted from the start of the run.
 */
typedef struct dn_sequence {
    int first, end, virtual_ranks;
    int batch; /* images */
    int64_t steps;
} dn_sequence;

/* Position in the epoch's order of the first image of a virtual rank's batch in a step. */
int64_t dn_sequence_position(const dn_sequence *sequence, int64_t step, int virtual_rank);

typedef struct dn_loader_settings {
    const dn_source *source; /* not owned */
    dn_sequence sequence;
    int64_t begin, end; /* reads batches [begin, end) ahead, and earlier ones on request */
    int shuffle;        /* 1: epochs in dn_random_order's order; 0: in stored order */
    int64_t window;     /* of dn_random_order; 0: the whole split */
    /* Each batch is read `crops` times in a row: batch n has the images of batch n / crops of the
     * sequence, transformed by transforms[n % crops]. Their outputs have one shape. */
    const dn_transform *transforms; /* (crops), not owned */
    int crops;                      /* >= 1 */
    uint64_t seed;                  /* of the order */
    int depth;                      /* batches in the ring */
    int threads;                    /* I/O threads */
} dn_loader_settings;

typedef struct dn_loader dn_loader;

/* Creates a loader and starts its threads, which read from batch `begin` on. Memory: `depth`
 * batches in fp32, a workspace per thread and, with `shuffle`, 4 bytes per image of the split. The
 * caller frees it with dn_loader_destroy. Errors: DN_ENOMEM (also if the system does not grant the
 * threads). */
dn_status dn_loader_create(dn_loader **loader, const dn_loader_settings *settings);

/*
 * images(count, channels, height, width) and labels(count) = batch n after the transform, where
 * count is the sequence's `batch` or what is left of the split. Waits until the batch is read,
 * copies it with OpenMP threads, and releases its place in the ring. Any n other than the one after
 * the last loaded restarts the threads at n. Only one thread may call it. Errors: those of its
 * first bad image, or as dn_loader_create; the arrays are unchanged.
 */
dn_status dn_loader_load(dn_loader *loader, int64_t n, float *images, int32_t *labels);

/* Seconds that all calls of dn_loader_load have waited for a batch so far. */
double dn_loader_waited(const dn_loader *loader);

/* Stops each thread after the image that it is reading, frees *loader, which may be NULL, and sets
 * it to NULL. */
void dn_loader_destroy(dn_loader **loader);

#endif
