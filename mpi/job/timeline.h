/*
 * A trace of what every rank does when, in Chrome's trace format: JSON that chrome://tracing and
 * Perfetto show as one process for each rank, with rows for computation, waiting and communication.
 *
 * Spans are kept in memory, the first DN_TIMELINE_SPANS of each rank, and written by rank 0 at the
 * end. A NULL timeline records nothing.
 */
#ifndef DN_TIMELINE_H
#define DN_TIMELINE_H

#include <stdint.h>

#include "job/comm.h"

typedef enum dn_span {
    DN_SPAN_LOAD,       /* the wait for a batch, and its copy; its number is the virtual rank */
    DN_SPAN_FORWARD,    /* the virtual rank */
    DN_SPAN_BACKWARD,   /* the virtual rank */
    DN_SPAN_UPDATE,     /* the step */
    DN_SPAN_EVALUATE,   /* the step */
    DN_SPAN_SAVE,       /* the step */
    DN_SPAN_WAIT,       /* the step */
    DN_SPAN_STATISTICS, /* the number of doubles of a virtual rank */
    DN_SPAN_BUCKET,     /* the bucket */
    DN_SPANS
} dn_span;

enum { DN_TIMELINE_SPANS = 1 << 16 };

typedef struct dn_timeline dn_timeline;

/* *timeline = a timeline that rank 0 will write to `path`, or NULL if that is empty. Its time 0 is
 * now, on all ranks. Errors: as dn_file_check_kind, DN_EIO, DN_ENOMEM. Collective. */
dn_status dn_timeline_create(dn_timeline **timeline, const dn_comm *comm, const char *path);

/* Records a span, in seconds of omp_get_wtime. `slot` is 0 unless several spans of a kind overlap;
 * each slot has its own row. To be called by one thread. Not collective. */
void dn_timeline_add(dn_timeline *timeline, dn_span span, int64_t number, int slot, double start,
                     double end);

/* Writes the file if `status`, that of the command, is DN_OK or DN_STOPPED; otherwise an earlier
 * trace is kept. Frees the timeline and sets *timeline to NULL, even after a failure; does nothing
 * if that is NULL. Returns `status`, or DN_EIO if that is DN_OK. Collective. */
dn_status dn_timeline_close(dn_timeline **timeline, dn_status status);

#endif
