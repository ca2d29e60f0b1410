/*
 * A watchdog for the start of a job. Until the heartbeat runs, a rank that is stopped or could not
 * start would not be noticed: all others would wait for it in MPI_Init, where signals are not acted
 * on either.
 */
#ifndef DN_START_WATCH_H
#define DN_START_WATCH_H

#include <pthread.h>

typedef struct dn_start_watch {
    double seconds;   /* longest start, without the time in which this process was stopped; 0: no
                         limit */
    const char *rank; /* this process's rank by the launcher, or "0"; not owned */
    int has_ended;    /* an eventfd, signalled by dn_start_watch_end */
    int has_thread;
    pthread_t thread;
} dn_start_watch;

/* Starts a thread that ends the process with a message unless dn_start_watch_end is called in time:
 * with DN_EXIT_LOST (the first rank's message serves for all), or some seconds after an urgent
 * signal (preempt.h) with DN_EXIT_AGAIN. Not collective. */
void dn_start_watch_begin(dn_start_watch *watch, const char *rank, double seconds);
void dn_start_watch_end(dn_start_watch *watch);

#endif
