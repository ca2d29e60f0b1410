/*
 * What the watch's start and end (watch.c) and its thread (watch_thread.c) share.
 */
#ifndef DN_HEARTBEAT_STATE_H
#define DN_HEARTBEAT_STATE_H

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "job/heartbeat.h"

/* What watches tell each other; the kinds are the thread's. */
typedef struct dn_heartbeat_message {
    int32_t kind, operation;
    int64_t step;
    double seconds; /* at the operation */
} dn_heartbeat_message;

/* What is known of a rank at the other end of a connection. */
typedef struct dn_heartbeat_peer {
    int is_deaf;               /* its buffer is full: nothing more is sent */
    double heard;              /* when, on this process's clock */
    dn_heartbeat_message last; /* ALIVE */
    dn_heartbeat_message incoming;
    size_t have; /* bytes of `incoming` */
} dn_heartbeat_peer;

struct dn_heartbeat {
    int rank, size;
    double deadline, period;     /* seconds */
    struct pollfd *line;         /* (size + 1) connections by rank: of rank 0 to all others, of the
                                    others to rank 0; fd -1: none, or it said goodbye. The last is
                                    the bell, rung to end the thread */
    dn_heartbeat_peer *peer;     /* (size) */
    char (*host)[DN_HOST_BYTES]; /* (size) */
    int has_thread;
    double warned, woke; /* when: last warned of a stall; found that it had been stopped itself */
    pthread_t thread;
    _Atomic int64_t step;
    _Atomic int operation;
    _Atomic double since;  /* of the operation */
    char record[PATH_MAX]; /* lost.json; valid once has_record */
    atomic_int has_record;
};

/* Gives signs of life and judges the peers, which are connected, until the bell is rung; ends the
 * process when a rank is lost. `watch` is the dn_heartbeat. Takes two signals: SIGURG and SIGALRM.
 */
void *dn_heartbeat_thread(void *watch);

#endif
