/*
 * What the watch's start and end (watch.c) and its thread (watch_thread.c) share.
 */
#ifndef DN_WATCH_STATE_H
#define DN_WATCH_STATE_H

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "watch.h"

/* What watches tell each other; the kinds are the thread's. */
typedef struct dn_watch_message {
    int32_t kind, operation;
    int64_t step;
    double seconds; /* at the operation */
} dn_watch_message;

/* A rank at the other end of a connection: of rank 0 all others, of the others rank 0. */
typedef struct dn_watch_peer {
    int rank, socket;      /* -1: it said goodbye */
    int is_deaf;           /* its buffer is full: nothing more is sent */
    double heard;          /* when, on this process's clock */
    dn_watch_message last; /* ALIVE */
    size_t have;           /* bytes of `incoming` */
    union {
        dn_watch_message whole;
        char bytes[sizeof(dn_watch_message)];
    } incoming;
} dn_watch_peer;

struct dn_watch {
    int rank, size, peers;
    double deadline, period;     /* seconds */
    dn_watch_peer *peer;         /* (peers) */
    struct pollfd *poll;         /* (peers + 1): theirs, and the bell */
    char (*host)[DN_HOST_BYTES]; /* (size) */
    int bell;                    /* rung to end the thread */
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
 * process when a rank is lost. `watch` is the dn_watch. Takes two signals: SIGURG and SIGALRM. */
void *dn_watch_thread(void *watch);

#endif
