/*
 * The watch: no rank waits for ever for one that is gone.
 *
 * Every process has one small thread with a TCP connection of its own, independent of MPI: from
 * each rank to rank 0. Both ends send a sign of life four times a second or oftener, with the step
 * and the operation their main thread is at. A killed process's connection ends at once; a stopped
 * one, or one cut off, falls silent. Rank 0 then tells the others. Who finds rank 0 gone knows by
 * itself.
 *
 * When a rank is lost, one survivor prints one line that names it and writes it to lost.json in the
 * run's folder, and all survivors end with DN_EXIT_LOST, whatever their main threads are waiting
 * for. A main thread that gets nowhere while its process is alive is named in a warning, no more:
 * slow work is legitimate.
 */
#ifndef DN_HEARTBEAT_H
#define DN_HEARTBEAT_H

#include "job/comm.h"

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

typedef struct dn_heartbeat dn_heartbeat;

/* Starts the watch, with `deadline` seconds of silence after which a rank is lost. *watch is NULL
 * where it is not needed (one rank, deadline 0) or, with a warning, where ranks cannot reach rank
 * 0; the functions below accept that. Collective. */
void dn_heartbeat_start(dn_heartbeat **watch, const dn_comm *comm, double deadline);

/* Says goodbye, so that nobody takes this rank's end for a loss. After MPI's end, which waits for
 * all ranks. Not collective. */
void dn_heartbeat_stop(dn_heartbeat **watch);

/* Where the calling rank is; steps count from 1. Cheap: a look at the clock and a few stores.
 * Not collective. */
void dn_heartbeat_step(dn_heartbeat *watch, int64_t step);
void dn_heartbeat_doing(dn_heartbeat *watch, dn_operation operation);

/* Names the folder for lost.json; rank 0 removes one of an earlier loss. Not collective. */
void dn_heartbeat_record(const dn_comm *comm, const char *folder);

#endif
