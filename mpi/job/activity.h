/*
 * What a rank's main thread is doing: recorded by the code that does it, read by the heartbeat's
 * thread (heartbeat.h). A note costs a clock read and a few stores; any thread may call these
 * functions. Not collective.
 */
#ifndef DN_ACTIVITY_H
#define DN_ACTIVITY_H

#include <omp.h>
#include <stdatomic.h>
#include <stdint.h>

typedef enum dn_operation {
    DN_STARTING,
    DN_READING_DATA,
    DN_FORWARD,
    DN_BACKWARD,
    DN_SUMMING,
    DN_UPDATING,
    DN_EVALUATING,
    DN_SAVING,
    DN_ENDING
} dn_operation;

/* Times are omp_get_wtime's seconds. */
typedef struct dn_activity {
    _Atomic int64_t step; /* from 1 */
    _Atomic int operation;
    _Atomic double since; /* of the operation */
    _Atomic int waits;    /* 1: the main thread waits for MPI messages and has nothing else to do */
    _Atomic int partner;  /* rank that sends or receives the next one; -1: not known */
    _Atomic double moved; /* when the last message arrived, or the wait began */
} dn_activity;

static inline void dn_note_step(dn_activity *activity, int64_t step)
{
    atomic_store(&activity->step, step);
}

static inline void dn_note_operation(dn_activity *activity, dn_operation operation)
{
    atomic_store(&activity->operation, (int)operation);
    atomic_store(&activity->since, omp_get_wtime());
}

static inline void dn_note_wait(dn_activity *activity, int waits)
{
    atomic_store(&activity->moved, omp_get_wtime());
    atomic_store(&activity->waits, waits);
}

static inline void dn_note_message(dn_activity *activity)
{
    atomic_store(&activity->moved, omp_get_wtime());
}

static inline void dn_note_partner(dn_activity *activity, int partner)
{
    atomic_store(&activity->partner, partner);
}

#endif
