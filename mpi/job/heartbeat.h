/*
 * The heartbeat detects lost ranks, so that no rank waits forever for one.
 *
 * Every process has one small thread. TCP connections from each rank to rank 0, independent of MPI,
 * carry heartbeats both ways, usually once a second, with the step and the operation of the main
 * thread (activity.h). The connection of a killed process closes at once; a stopped process or a
 * host that is cut off becomes silent. Rank 0 then tells the others; the loss of rank 0 is detected
 * by every rank itself.
 *
 * When a rank is lost, one survivor prints a line that names it and writes lost.json into the run's
 * folder, and all survivors exit with DN_EXIT_LOST, whatever their main threads wait for. After an
 * urgent signal (preempt.h) a peer's end is part of the stop: survivors exit two seconds later,
 * with DN_EXIT_AGAIN.
 *
 * A main thread without progress in a live process only causes a warning, since slow work is
 * legitimate. But if all ranks wait for MPI messages and none has arrived on any for the deadline,
 * two of them cannot reach each other, and the job ends in the same way.
 */
#ifndef DN_HEARTBEAT_H
#define DN_HEARTBEAT_H

#include "job/comm.h"

typedef struct dn_heartbeat dn_heartbeat;

/* Starts the heartbeat with rank 0's `deadline`: the seconds of silence after which a rank is lost.
 * *heartbeat is NULL if none is needed (one rank, or deadline 0) or, with a warning, if ranks
 * cannot reach rank 0. Uses the signals SIGURG and SIGALRM. Collective. */
void dn_heartbeat_start(dn_heartbeat **heartbeat, const dn_comm *comm, double deadline);

/* Says goodbye, so that this rank's end is not taken for a loss, and stops the thread. Call it
 * after MPI_Finalize, which waits for all ranks. Does nothing if *heartbeat is NULL. Not
 * collective. */
void dn_heartbeat_stop(dn_heartbeat **heartbeat);

/* Sets the folder for lost.json; later calls have no effect. Rank 0 removes the file of an earlier
 * loss. Not collective. */
void dn_heartbeat_record(const dn_comm *comm, const char *folder);

#endif
