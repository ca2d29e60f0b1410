/* The watch's start and end, and what it is told by the main thread; see heartbeat.h. */
#include "job/heartbeat_state.h"

#include <math.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "job/heartbeat_link.h"

static const double longest_period = 0.25; /* seconds between two signs of life */

static dn_status create(dn_heartbeat **result, const dn_comm *comm, double deadline)
{
    dn_heartbeat *w = *result = calloc(1, sizeof *w);
    DN_CHECK(w, DN_ENOMEM, "out of memory");
    w->rank = comm->rank;
    w->size = comm->size;
    w->deadline = deadline;
    w->period = deadline / 10 < longest_period ? deadline / 10 : longest_period;
    w->since = omp_get_wtime();
    w->woke = -INFINITY;
    w->line = calloc((size_t)w->size + 1, sizeof *w->line);
    w->peer = calloc((size_t)w->size, sizeof *w->peer);
    w->host = calloc((size_t)w->size, sizeof *w->host);
    for (int r = 0; w->line && r < w->size; r++)
        w->line[r] = (struct pollfd){.fd = -1, .events = w->rank == 0 ? POLLRDHUP : POLLIN};
    if (w->line)
        w->line[w->size] = (struct pollfd){.fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN};
    DN_CHECK(w->line && w->line[w->size].fd >= 0 && w->peer && w->host, DN_ENOMEM, "out of memory");
    memcpy(w->host, comm->host, (size_t)w->size * sizeof *w->host);
    return DN_OK;
}

/* The thread gets no signals: they are the main thread's. */
static dn_status start_thread(dn_heartbeat *w)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    w->has_thread = pthread_create(&w->thread, NULL, dn_heartbeat_thread, w) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    DN_CHECK(w->has_thread, DN_ENOMEM, "cannot start its thread");
    return DN_OK;
}

/* All ranks come by each call of MPI here, whatever failed before. */
static dn_status start(dn_heartbeat **result, const dn_comm *comm, double deadline)
{
    dn_invitation invitation = {0};
    int listener = -1;
    dn_status status = DN_OK;
    DN_TRY(dn_comm_agree(comm, create(result, comm, deadline)));
    dn_heartbeat *w = *result;
    if (w->rank == 0)
        status = dn_heartbeat_listen(&listener, &invitation);
    dn_comm_broadcast(comm, &invitation, sizeof invitation, 0);
    if (status == DN_OK && w->rank == 0)
        status = dn_heartbeat_accept(listener, &invitation, w->line, w->size);
    else if (status == DN_OK)
        status = dn_heartbeat_connect(&w->line[0].fd, &invitation, w->rank,
                                      strcmp(w->host[w->rank], w->host[0]) == 0);
    if (listener >= 0)
        close(listener);
    DN_TRY(dn_comm_agree(comm, status));
    return dn_comm_agree(comm, start_thread(w));
}

void dn_heartbeat_start(dn_heartbeat **result, const dn_comm *comm, double deadline)
{
    *result = NULL;
    if (comm->size == 1 || deadline <= 0)
        return;
    if (start(result, comm, deadline) != DN_OK) {
        dn_warn("ranks that fall silent will not be noticed, the watch cannot start: %s",
                dn_message());
        dn_heartbeat_stop(result);
    }
}

void dn_heartbeat_stop(dn_heartbeat **result)
{
    dn_heartbeat *w = *result;
    if (!w)
        return;
    if (w->has_thread) {
        eventfd_write(w->line[w->size].fd, 1);
        pthread_join(w->thread, NULL);
    }
    for (int i = 0; w->line && i <= w->size; i++)
        if (w->line[i].fd >= 0)
            close(w->line[i].fd);
    free(w->line);
    free(w->peer);
    free(w->host);
    free(w);
    *result = NULL;
}

void dn_heartbeat_step(dn_heartbeat *w, int64_t step)
{
    if (w)
        atomic_store(&w->step, step);
}

void dn_heartbeat_doing(dn_heartbeat *w, dn_operation operation)
{
    if (!w)
        return;
    atomic_store(&w->operation, (int)operation);
    atomic_store(&w->since, omp_get_wtime());
}

void dn_heartbeat_record(const dn_comm *comm, const char *folder)
{
    char path[PATH_MAX];
    dn_heartbeat *w = comm->heartbeat;
    snprintf(path, sizeof path, "%s/lost.json", folder);
    if (comm->rank == 0)
        unlink(path);
    if (w && !atomic_load(&w->has_record)) {
        memcpy(w->record, path, sizeof path);
        atomic_store(&w->has_record, 1);
    }
}
