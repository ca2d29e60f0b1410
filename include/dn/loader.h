/*
 * Reads ahead: I/O threads fill a ring with the next batches while the caller computes.
 *
 * The batches of a loader have numbers, and what batch n holds follows from n alone; so a loader
 * may begin anywhere, any batch may be loaded again, and it does not matter which thread reads an
 * image, or how many there are. Batches are handed over in order, each with its own failure if it
 * has one: that of its first bad image.
 *
 * The threads are plain ones that may run on any core of the rank, beside OpenMP threads that fill
 * all of them: reading a decoded image is less than a thousandth of a training step's work on it,
 * decoding a JPEG a few hundredths of a large net's, and OpenMP's dynamic schedules absorb that.
 */
#ifndef DN_LOADER_H
#define DN_LOADER_H

#include "dn/source.h"

/* Batches in a ring for each net that computes: one that is ready and one that is being read. */
enum { DN_READ_AHEAD = 2 };

/*
 * Which images a batch holds. An epoch has `steps` steps of virtual_ranks x batch images; in each,
 * one rank loads the batches of the virtual ranks [first, last). Batch n is virtual rank
 * first + n % (last - first)'s of step n / (last - first), counted from the run's first.
 */
typedef struct dn_sequence {
    int first, last, virtual_ranks;
    int batch; /* images */
    int64_t steps;
} dn_sequence;

/* Where in its epoch's order virtual rank `virtual_rank`'s images of a step begin. */
int64_t dn_sequence_position(const dn_sequence *sequence, int64_t step, int virtual_rank);

typedef struct dn_loader_settings {
    const dn_source *source; /* not owned */
    dn_sequence sequence;
    int64_t begin, end; /* reads the batches [begin, end), unless it is asked for earlier ones */
    int shuffle;        /* 1: each epoch in dn_random_order's; 0: in stored order */
    int64_t window;     /* of that order; 0: the whole split */
    dn_transform transform;
    uint64_t seed; /* of the order */
    int depth;     /* batches in the ring */
    int threads;   /* that read */
} dn_loader_settings;

typedef struct dn_loader dn_loader;

/* Starts the threads, which read from `begin` on. Memory: `depth` batches in fp32, with `shuffle`
 * 4 bytes an image of the split, and a workspace a thread. The caller owns it. DN_ENOMEM, also
 * where the system does not grant the threads. */
dn_status dn_loader_create(dn_loader **loader, const dn_loader_settings *settings);

/*
 * images(count, channels, height, width), as the transform makes them, and labels(count) = batch n,
 * where count is the sequence's `batch`, or what is left of the split. Waits until it is read,
 * copies it with OpenMP's threads, and gives its place to the next one. Any n but the one after the
 * last loaded starts the threads anew there. On failure, of one of its images or as
 * dn_loader_create, the arrays stay as they were. One thread calls it.
 */
dn_status dn_loader_load(dn_loader *loader, int64_t n, float *images, int32_t *labels);

/* Seconds that all calls of dn_loader_load so far waited for a batch. */
double dn_loader_waited(const dn_loader *loader);

/* Ends the threads after the image that each is reading. Sets *loader to NULL and accepts NULL
 * inside. */
void dn_loader_destroy(dn_loader **loader);

#endif
