/* The watchdog's thread; see start_watch.h. */
#include "job/start_watch.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dn/program.h"
#include "job/comm.h"
#include "job/preempt.h"

enum {
    SLICE = 1000, /* milliseconds; a stop of this process counts as at most one slice */
    LATER = 400,  /* milliseconds by which rank 1 ends later than rank 0, and the others later than
                     rank 1 */
    REQUESTED = 5000 /* milliseconds that MPI may take to start after an urgent signal */
};

static void say(const dn_start_watch *watch, const char *what)
{
    dn_host host;
    char text[256];
    dn_own_host(host);
    const int size =
        snprintf(text, sizeof text, "dn_dist: rank %s on host %s: %s\n", watch->rank, host, what);
    const ssize_t said = write(STDERR_FILENO, text, (size_t)size);
    (void)said;
}

static _Noreturn void end_on_request(const dn_start_watch *watch)
{
    say(watch, "stopped on a request while MPI started; run again");
    _exit(DN_EXIT_AGAIN);
}

/* The first process to end prints the reason: the launcher then sends the others a signal. */
static _Noreturn void end_as_lost(const dn_start_watch *watch)
{
    char why[128];
    snprintf(why, sizeof why,
             "not all ranks have started within %.0f s: one is stopped, could not start, "
             "or cannot be reached",
             watch->seconds);
    if (!dn_preempt_is_urgent())
        say(watch, why);
    _exit(DN_EXIT_LOST);
}

/* Polls `fds` until the limit: returns what poll returned, 0 at the limit. */
static int poll_in_slices(const dn_start_watch *watch, struct pollfd *fds, nfds_t count)
{
    if (watch->seconds <= 0)
        return poll(fds, count, -1);
    int found = 0;
    for (double left = 1000 * watch->seconds; found == 0 && left > 0; left -= SLICE)
        found = poll(fds, count, left < SLICE ? (int)left : SLICE);
    return found;
}

static void *wait_for_start(void *start_watch)
{
    const dn_start_watch *watch = start_watch;
    const int rank = atoi(watch->rank), later = LATER * (rank < 2 ? rank : 2);
    struct pollfd ended_or_bell[] = {{.fd = watch->has_ended, .events = POLLIN},
                                     {.fd = dn_preempt_bell(), .events = POLLIN}};
    const int found = poll_in_slices(watch, ended_or_bell, 2);
    if (found > 0 && poll(ended_or_bell, 1, REQUESTED) == 0)
        end_on_request(watch);
    if (found == 0 && poll(ended_or_bell, 1, later) == 0)
        end_as_lost(watch);
    return NULL;
}

void dn_start_watch_begin(dn_start_watch *watch, const char *rank, double seconds)
{
    *watch =
        (dn_start_watch){.rank = rank, .seconds = seconds, .has_ended = eventfd(0, EFD_CLOEXEC)};
    watch->has_thread =
        watch->has_ended >= 0 && dn_preempt_start_thread(&watch->thread, wait_for_start, watch);
}

void dn_start_watch_end(dn_start_watch *watch)
{
    if (watch->has_thread) {
        eventfd_write(watch->has_ended, 1);
        pthread_join(watch->thread, NULL);
    }
    close(watch->has_ended);
}
