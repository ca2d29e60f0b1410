/* The thread that waits for the end of a job's start (start_watch.h). */
#include "job/start_watch.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "job/comm.h"
#include "job/preempt.h"

enum { LATER = 400 }; /* milliseconds after rank 0 that rank 1 speaks, and after it another */

static int is_over(const dn_start_watch *watch, double milliseconds)
{
    struct pollfd end = {.fd = watch->has_ended, .events = POLLIN};
    return poll(&end, 1, (int)milliseconds) != 0;
}

static void say_why(const dn_start_watch *watch)
{
    char host[DN_HOST_BYTES], text[256];
    dn_own_host(host);
    const int size = snprintf(text, sizeof text,
                              "dn_dist: rank %s on host %s: not all ranks have come for %.0f s "
                              "since the start: one is stopped, could not start, or cannot be "
                              "reached\n",
                              watch->rank, host, watch->seconds);
    const ssize_t said = write(STDERR_FILENO, text, (size_t)size);
    (void)said;
}

/* The first that ends says why: the launcher then tells the others to stop. */
static void *wait_for_start(void *start_watch)
{
    const dn_start_watch *watch = start_watch;
    const int rank = atoi(watch->rank);
    if (is_over(watch, 1000 * watch->seconds) || is_over(watch, LATER * (rank < 2 ? rank : 2)))
        return NULL;
    if (!dn_preempt_is_urgent())
        say_why(watch);
    _exit(DN_EXIT_LOST);
}

void dn_start_watch_begin(dn_start_watch *watch, const char *rank, double seconds)
{
    sigset_t all, old;
    *watch = (dn_start_watch){.rank = rank};
    if (seconds <= 0)
        return;
    watch->has_ended = eventfd(0, EFD_CLOEXEC);
    watch->seconds = watch->has_ended >= 0 ? seconds : 0;
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (watch->seconds > 0 && pthread_create(&watch->thread, NULL, wait_for_start, watch) != 0)
        watch->seconds = 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void dn_start_watch_end(dn_start_watch *watch)
{
    if (watch->seconds <= 0)
        return;
    eventfd_write(watch->has_ended, 1);
    pthread_join(watch->thread, NULL);
    close(watch->has_ended);
}
