/*
 * The heartbeat: no rank waits for ever for one that is gone.
 *
 * Every process has one small thread with a TCP connection of its own, independent of MPI: from
 * each rank to rank 0. Both ends send a sign of life four times a second or oftener, with the step
 * and the operation their main thread is at (activity.h). A killed process's connection ends at
 * once; a stopped one, or one cut off, falls silent. Rank 0 then tells the others. Who finds rank 0
 * gone knows by itself.
 *
 * When a rank is lost, one survivor prints one line that names it and writes it to lost.json in the
 * run's folder, and all survivors end with DN_EXIT_LOST, whatever their main threads are waiting
 * for. Where an urgent signal came before (preempt.h), a peer's end is a part of the stop:
 * survivors end two seconds later, with DN_EXIT_AGAIN. A main thread that gets nowhere while its
 * process is alive is named in a warning, no more: slow work is legitimate. But where all ranks
 * wait for messages of MPI's and for the deadline none has come on any, the job ends in the same
 * way: two of them cannot reach each other.
 */
#ifndef DN_HEARTBEAT_H
#define DN_HEARTBEAT_H

#include "job/comm.h"

typedef struct dn_heartbeat dn_heartbeat;

/* Starts it, with rank 0's `deadline`: seconds of silence after which a rank is lost. *heartbeat is
 * NULL where none is needed (one rank, deadline 0) or, with a warning, where ranks cannot reach
 * rank 0; dn_heartbeat_stop accepts that. Takes two signals: SIGURG and SIGALRM. Collective. */
void dn_heartbeat_start(dn_heartbeat **heartbeat, const dn_comm *comm, double deadline);

/* Says goodbye, so that nobody takes this rank's end for a loss. After MPI's end, which waits for
 * all ranks. Not collective. */
void dn_heartbeat_stop(dn_heartbeat **heartbeat);

/* Names the folder for lost.json, of which the first is kept; rank 0 removes one of an earlier
 * loss. Not collective. */
void dn_heartbeat_record(const dn_comm *comm, const char *folder);

#endif
