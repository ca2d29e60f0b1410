/* What the files of the heartbeat share: heartbeat.c has its thread and the main thread's side,
 * heartbeat_link.c makes the connections, heartbeat_stall.c looks for who gets nowhere, and
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

enum { DN_PARK_SIGNAL = SIGURG }; /* parks a thread; ignored by default, used by nobody here */

/* A sign of life, or the last one. */
typedef enum dn_beat_kind { DN_BEAT_ALIVE = 1, DN_BEAT_GOODBYE, DN_BEAT_LOST } dn_beat_kind;

typedef struct dn_beat {
    int32_t kind, operation;
    int64_t step;
    double seconds;  /* at the operation */
    double waited;   /* seconds since the last message of MPI's; negative: it waits for none */
    int64_t partner; /* from or to which rank the next one is; -1: not known */
} dn_beat;

/* What is known of a rank at the other end of a connection. */
typedef struct dn_peer {
    char host[DN_HOST_BYTES];
    int is_full;         /* its buffer: nothing more is sent */
    double heard, since; /* when, on this process's clock: it last spoke; its operation began */
    dn_beat last;        /* DN_BEAT_ALIVE */
    dn_beat incoming;
    size_t have; /* bytes of `incoming` */
} dn_peer;

struct dn_heartbeat {
    int rank, size;
    double deadline, period; /* seconds */
    double warned, woke; /* when: last warned of a stall; found that it had been stopped itself */
    double end;          /* when this process ends, its job having stopped; infinite before */
    double oom_kills;    /* of this process's cgroup, at the start */
    int has_thread;
    pthread_t thread;
    dn_activity *activity;  /* the communicator's */
    _Atomic(char *) record; /* the path of lost.json; NULL: none yet */
    struct pollfd *line;    /* (size + 1) connections by rank, fd -1: none, or it said goodbye. The
                               last is an eventfd that ends the thread */
    dn_peer peer[];         /* (size) */
};

/* The connections: line[r].fd, all -1 before, = rank 0's to each other rank r, and on the others
 * line[0].fd = the one to rank 0. The caller closes what is not -1, also after a failure. DN_EIO on
 * all ranks where one finds no way to rank 0. Collective. */
dn_status dn_heartbeat_connect(const dn_comm *comm, struct pollfd *line);

/* Sends this process's state to all that are connected. */
void dn_heartbeat_send(dn_heartbeat *hb, dn_beat_kind kind, double now);

/* The ends of the process, all in the thread. A rank was lost: one survivor reports it, with the
 * reason; one has fallen silent, at `now`; a connection has closed, `error` of the system where it
 * was none of the peer's making, or NULL. The last returns where the job was told to stop. */
_Noreturn void dn_heartbeat_end_as_lost(dn_heartbeat *hb, int rank, const char *reason);
_Noreturn void dn_heartbeat_end_as_silent(dn_heartbeat *hb, int silent, double now);
void dn_heartbeat_end_of_peer(dn_heartbeat *hb, int rank, const char *error, double now);
_Noreturn void dn_heartbeat_end_with(int status); /* and nothing said */

/* The handler of the heartbeat's two signals. */
void dn_heartbeat_park(int signal);

/* Rank 0's look at the ranks that are alive: ends the job where all wait for each other, warns of
 * who gets nowhere at something else. */
void dn_heartbeat_check_stall(dn_heartbeat *hb, double now);

/* What an operation is called in messages. */
const char *dn_operation_name(int operation);

#endif
