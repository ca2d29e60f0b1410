/*
 * What every rank does when, written as a Chrome trace: JSON that chrome://tracing and Perfetto
 * show, a process for each rank, with rows for computation, waiting and communication.
 *
 * Spans are kept in memory, at most DN_TIMELINE_SPANS a rank from the beginning on, and written by
 * rank 0 at the end. A NULL timeline records nothing.
 */
#ifndef DN_TIMELINE_H
#define DN_TIMELINE_H

#include <stdint.h>

#include "job/comm.h"

typedef enum dn_span {
    DN_SPAN_LOAD,       /* wait for a batch, and its copy; number: the virtual rank */
    DN_SPAN_FORWARD,    /* the virtual rank */
    DN_SPAN_BACKWARD,   /* the virtual rank */
    DN_SPAN_UPDATE,     /* the step */
    DN_SPAN_EVALUATE,   /* the step */
    DN_SPAN_SAVE,       /* the step */
    DN_SPAN_WAIT,       /* the step */
    DN_SPAN_STATISTICS, /* the doubles that a virtual rank gives */
    DN_SPAN_BUCKET,     /* the bucket */
    DN_SPANS
} dn_span;

enum { DN_TIMELINE_SPANS = 1 << 16 };

typedef struct dn_timeline dn_timeline;

/* Starts a timeline that rank 0 will write to `path`, NULL where that is empty; time 0 is now, the
 * same on all ranks. DN_EIO, DN_ENOMEM. Collective. */
dn_status dn_timeline_create(dn_timeline **timeline, const dn_comm *comm, const char *path);

/* Records a span, in omp_get_wtime's seconds; `slot` is 0 but where several of a kind overlap, each
 * in a row of its own. Called by one thread. Not collective. */
void dn_timeline_add(dn_timeline *timeline, dn_span span, int64_t number, int slot, double start,
                     double end);

/* Writes the file, unless the command ended with a failure, `status`: an earlier trace stays then;
 * one of a run that was stopped is written. Frees the timeline and sets it to NULL, also after a
 * failure; accepts NULL inside. Returns `status`, or DN_EIO where that is DN_OK. Collective. */
dn_status dn_timeline_close(dn_timeline **timeline, dn_status status);

#endif
