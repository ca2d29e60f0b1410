/* Shared by the heartbeat's files: heartbeat.c has the thread and the functions of the main thread,
 * heartbeat_link.c makes the connections, heartbeat_stall.c finds ranks without progress, and
 * heartbeat_end.c ends a job that lost a rank. */
#ifndef DN_HEARTBEAT_PARTS_H
#define DN_HEARTBEAT_PARTS_H

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "job/heartbeat.h"

enum {
    DN_PARK_SIGNAL = SIGURG
}; /* stops a thread for good; ignored by default, not used elsewhere */

/* A heartbeat, a goodbye, or the order to exit as a rank was lost. */
typedef enum dn_beat_kind { DN_BEAT_ALIVE = 1, DN_BEAT_GOODBYE, DN_BEAT_LOST } dn_beat_kind;

typedef struct dn_beat {
    int32_t kind, operation;
    int64_t step;
    double seconds;  /* since the operation began */
    double waited;   /* seconds since the last MPI message; negative: it waits for none */
    int64_t partner; /* rank that sends or receives the next one; -1: not known */
} dn_beat;

/* The rank at the other end of a connection. */
typedef struct dn_peer {
    dn_host host;
    int is_full;         /* its socket buffer is full: nothing more is sent */
    double heard, since; /* when it was last heard; when its operation began */
    dn_beat last;        /* the last DN_BEAT_ALIVE */
    dn_beat incoming;
    size_t have; /* bytes of `incoming` received */
} dn_peer;

struct dn_heartbeat {
    int rank, size;
    int lines;               /* most connections of this rank: size on rank 0, else 1 */
    double deadline, period; /* seconds */
    double warned, woke;     /* when it last warned of a stall; when it last resumed after a stop */
    double end;              /* when this process exits after a stop; infinite before */
    double oom_kills;        /* of this process's cgroup, at the start */
    int has_thread;
    pthread_t thread;
    dn_activity *activity;  /* the communicator's */
    _Atomic(char *) record; /* path of lost.json; NULL: none yet */
    struct pollfd *line; /* (lines + 1) connections by rank, fd -1 if none or after a goodbye; the
                            last is an eventfd that ends the thread */
    dn_peer peer[];      /* (size) */
};

/* Makes the connections: on rank 0, line[r].fd to each other rank r; on the others, line[0].fd to
 * rank 0. All are -1 before; the caller closes those that are not, even after a failure. DN_EIO on
 * all ranks if one cannot connect to rank 0. Collective. */
dn_status dn_heartbeat_connect(const dn_comm *comm, struct pollfd *line);

/* Sends this process's state on all connections. */
void dn_heartbeat_send(dn_heartbeat *hb, dn_beat_kind kind, double now);

/* End the process; all are called by the heartbeat's thread. `rank` was lost for `reason`, which
 * one survivor reports; `silent` has become silent at `now`; the connection of `rank` was closed by
 * the peer, or failed with `error` if that is not NULL (this one returns if the job was told to
 * stop). */
_Noreturn void dn_heartbeat_end_as_lost(dn_heartbeat *hb, int rank, const char *reason);
_Noreturn void dn_heartbeat_end_as_silent(dn_heartbeat *hb, int silent, double now);
void dn_heartbeat_end_of_peer(dn_heartbeat *hb, int rank, const char *error, double now);
_Noreturn void dn_heartbeat_end_with(int status); /* without a message */

/* The handler of the heartbeat's two signals. */
void dn_heartbeat_park(int signal);

/* Rank 0: ends the job if all live ranks wait for each other, else warns of a rank without
 * progress. */
void dn_heartbeat_check_stall(dn_heartbeat *hb, double now);

/* The name of an operation in messages. */
const char *dn_operation_name(int operation);

#endif
