/*
 * The watch over a job's start: until the heartbeat stands nobody would notice a rank that is
 * stopped, or that could not start, and all others wait for it in MPI_Init, where no signal is
 * acted on either.
 */
#ifndef DN_START_WATCH_H
#define DN_START_WATCH_H

#include <pthread.h>

typedef struct dn_start_watch {
    double seconds;   /* that a start may take, those not counted in which this process was stopped;
                         0: any time */
    const char *rank; /* as the launcher calls this one; "0" without one. Not owned */
    int has_ended;    /* an eventfd */
    int has_thread;
    pthread_t thread;
} dn_start_watch;

/* Starts a thread that ends the process with a line, unless dn_start_watch_end is called in time:
 * with DN_EXIT_LOST, where the first rank's line does for all, or some seconds after an urgent
 * signal (preempt.h), with DN_EXIT_AGAIN. Not collective. */
void dn_start_watch_begin(dn_start_watch *watch, const char *rank, double seconds);
void dn_start_watch_end(dn_start_watch *watch);

#endif
