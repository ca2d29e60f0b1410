/* The watch's start and end, and what it is told by the main thread; see watch.h. */
#include "watch_state.h"

#include <math.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "watch_link.h"

static const double longest_period = 0.25; /* seconds between two signs of life */

static dn_status create(dn_watch **result, const dn_comm *comm, double deadline)
{
    dn_watch *w = *result = calloc(1, sizeof *w);
    DN_CHECK(w, DN_ENOMEM, "out of memory");
    w->rank = comm->rank;
    w->size = comm->size;
    w->deadline = deadline;
    w->period = deadline / 10 < longest_period ? deadline / 10 : longest_period;
    w->peers = comm->rank == 0 ? comm->size - 1 : 1;
    w->since = omp_get_wtime();
    w->woke = -INFINITY;
    w->bell = eventfd(0, EFD_CLOEXEC);
    w->peer = calloc((size_t)w->peers, sizeof *w->peer);
    w->poll = calloc((size_t)w->peers + 1, sizeof *w->poll);
    w->host = calloc((size_t)w->size, sizeof *w->host);
    for (int i = 0; w->peer && i < w->peers; i++)
        w->peer[i] = (dn_watch_peer){.rank = comm->rank == 0 ? i + 1 : 0, .socket = -1};
    DN_CHECK(w->bell >= 0 && w->peer && w->poll && w->host, DN_ENOMEM, "out of memory");
    return DN_OK;
}

/* Connects this rank with its peers, by the invitation that rank 0 broadcast. */
static dn_status connect_peers(dn_watch *w, int listener, const dn_invitation *invitation)
{
    if (w->rank > 0)
        return dn_watch_connect(&w->peer[0].socket, invitation, w->rank,
                                strcmp(w->host[w->rank], w->host[0]) == 0);
    int *socket = malloc((size_t)w->size * sizeof *socket);
    DN_CHECK(socket, DN_ENOMEM, "out of memory");
    const dn_status status = dn_watch_accept(listener, invitation, socket, w->size);
    for (int i = 0; i < w->peers; i++)
        w->peer[i].socket = socket[i + 1];
    free(socket);
    return status;
}

/* The thread gets no signals: they are the main thread's. */
static dn_status start_thread(dn_watch *w)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    w->has_thread = pthread_create(&w->thread, NULL, dn_watch_thread, w) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    DN_CHECK(w->has_thread, DN_ENOMEM, "cannot start its thread");
    return DN_OK;
}

/* All ranks come by each call of MPI here, whatever failed before. */
static dn_status start(dn_watch **result, const dn_comm *comm, double deadline)
{
    dn_invitation invitation = {0};
    int listener = -1;
    DN_TRY(dn_comm_agree(comm, create(result, comm, deadline)));
    dn_watch *w = *result;
    memcpy(w->host, comm->host, (size_t)w->size * sizeof *w->host);
    dn_status status = w->rank == 0 ? dn_watch_listen(&listener, &invitation) : DN_OK;
    dn_comm_broadcast(comm, &invitation, sizeof invitation, 0);
    if (status == DN_OK)
        status = connect_peers(w, listener, &invitation);
    if (listener >= 0)
        close(listener);
    DN_TRY(dn_comm_agree(comm, status));
    return dn_comm_agree(comm, start_thread(w));
}

void dn_watch_start(dn_watch **result, const dn_comm *comm, double deadline)
{
    *result = NULL;
    if (comm->size == 1 || deadline <= 0)
        return;
    if (start(result, comm, deadline) != DN_OK) {
        dn_warn("ranks that fall silent will not be noticed, the watch cannot start: %s",
                dn_message());
        dn_watch_stop(result);
    }
}

void dn_watch_stop(dn_watch **result)
{
    dn_watch *w = *result;
    if (!w)
        return;
    if (w->has_thread) {
        eventfd_write(w->bell, 1);
        pthread_join(w->thread, NULL);
    }
    for (int i = 0; w->peer && i < w->peers; i++)
        if (w->peer[i].socket >= 0)
            close(w->peer[i].socket);
    if (w->bell >= 0)
        close(w->bell);
    free(w->peer);
    free(w->poll);
    free(w->host);
    free(w);
    *result = NULL;
}

void dn_watch_step(dn_watch *w, int64_t step)
{
    if (w)
        atomic_store(&w->step, step);
}

void dn_watch_doing(dn_watch *w, dn_operation operation)
{
    if (!w)
        return;
    atomic_store(&w->operation, (int)operation);
    atomic_store(&w->since, omp_get_wtime());
}

void dn_watch_record(const dn_comm *comm, const char *folder)
{
    char path[PATH_MAX];
    dn_watch *w = comm->watch;
    snprintf(path, sizeof path, "%s/lost.json", folder);
    if (comm->rank == 0)
        unlink(path);
    if (w && !atomic_load(&w->has_record)) {
        memcpy(w->record, path, sizeof path);
        atomic_store(&w->has_record, 1);
    }
}
