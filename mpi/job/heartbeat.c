/*
 * The heartbeat's thread, which sends heartbeats and checks those of the peers, and the functions
 * that start and stop it; see heartbeat.h.
 *
 * The thread reads everything that has arrived before it checks, so that a process that was itself
 * stopped does not accuse others. Heartbeats do not wake rank 0's thread, as there may be thousands
 * a second. The thread does not call MPI.
 */
#include "job/heartbeat_parts.h"

#include <errno.h>
#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dn/claim.h"
#include "dn/limits.h"
#include "dn/program.h"
#include "job/preempt.h"

static const double usual_period = 1;  /* seconds between two heartbeats */
static const double most_beats = 4000; /* a second, to rank 0 and as many from it */

static dn_beat own_state(dn_heartbeat *hb, dn_beat_kind kind, double now)
{
    dn_activity *const own = hb->activity;
    return (dn_beat){.kind = kind,
                     .operation = atomic_load(&own->operation),
                     .step = atomic_load(&own->step),
                     .seconds = now - atomic_load(&own->since),
                     .waited = atomic_load(&own->waits) ? now - atomic_load(&own->moved) : -1,
                     .partner = atomic_load(&own->partner)};
}

void dn_heartbeat_send(dn_heartbeat *hb, dn_beat_kind kind, double now)
{
    const dn_beat m = own_state(hb, kind, now);
    for (int r = 0; r < hb->lines; r++) {
        const int line = hb->line[r].fd;
        if (line >= 0 && !hb->peer[r].is_full)
            hb->peer[r].is_full = send(line, &m, sizeof m, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof m;
    }
}

/* ---- messages, and checks ---- */

static void handle_message(dn_heartbeat *hb, int rank, const dn_beat *m, double now)
{
    hb->peer[rank].heard = now;
    if (m->kind == DN_BEAT_LOST)
        dn_heartbeat_end_with(DN_EXIT_LOST);
    if (m->kind == DN_BEAT_GOODBYE) {
        close(hb->line[rank].fd);
        hb->line[rank].fd = -1;
    } else if (m->operation >= 0 && m->operation <= DN_ENDING && m->partner < hb->size) {
        hb->peer[rank].last = *m;
        hb->peer[rank].since = now - m->seconds;
    }
}

static void read_peer(dn_heartbeat *hb, int rank, double now)
{
    dn_peer *p = &hb->peer[rank];
    while (hb->line[rank].fd >= 0) {
        const ssize_t got = recv(hb->line[rank].fd, (char *)&p->incoming + p->have,
                                 sizeof p->incoming - p->have, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            const int is_over = got == 0 || errno == ECONNRESET;
            dn_heartbeat_end_of_peer(hb, rank, is_over ? NULL : strerror(errno), now);
            return;
        }
        p->have += (size_t)got;
        if (p->have == sizeof p->incoming) {
            p->have = 0;
            handle_message(hb, rank, &p->incoming, now);
        }
    }
}

/* Rank 0's check of all ranks, itself included. */
static void look_at_all(dn_heartbeat *hb, double now)
{
    const dn_beat own = own_state(hb, DN_BEAT_ALIVE, now);
    handle_message(hb, 0, &own, now);
    dn_heartbeat_check_stall(hb, now);
}

/* The thread; ends the process when a rank is lost. */
static void *keep_beating(void *heartbeat)
{
    dn_heartbeat *hb = heartbeat;
    double beat = omp_get_wtime();
    for (int r = 0; r < hb->lines; r++)
        hb->peer[r].heard = hb->peer[r].since = beat;
    while (!hb->line[hb->lines].revents) {
        const double start = omp_get_wtime(), next = fmin(beat, hb->end);
        const int wait = next > start ? (int)((next - start) * 1000) + 1 : 0;
        if (poll(hb->line, (nfds_t)hb->lines + 1, wait) < 0 && errno != EINTR) {
            dn_warn_here("rank %d sends and checks no more heartbeats: poll: %s", hb->rank,
                         strerror(errno));
            break;
        }
        const double now = omp_get_wtime();
        if (now - beat > hb->deadline / 2 - hb->period) { /* this process had been stopped itself */
            hb->woke = now;
            dn_note_message(hb->activity);
        }
        for (int r = 0; r < hb->lines; r++) {
            if (hb->woke == now)
                hb->peer[r].heard = now;
            if (hb->line[r].revents || now >= beat)
                read_peer(hb, r, now);
        }
        if (now >= hb->end)
            dn_heartbeat_end_with(DN_EXIT_AGAIN);
        if (now < beat)
            continue;
        for (int r = 0; r < hb->lines; r++)
            if (hb->line[r].fd >= 0 && now - hb->peer[r].heard > hb->deadline - hb->period)
                dn_heartbeat_end_as_silent(hb, r, now);
        if (hb->rank == 0)
            look_at_all(hb, now);
        dn_heartbeat_send(hb, DN_BEAT_ALIVE, now);
        beat = now + hb->period;
    }
    dn_heartbeat_send(hb, DN_BEAT_GOODBYE, omp_get_wtime());
    return NULL;
}

/* ---- the main thread's side ---- */

static dn_status create_heartbeat(dn_heartbeat **result, const dn_comm *comm, double deadline)
{
    dn_heartbeat *hb = *result = calloc(1, sizeof *hb + (size_t)comm->size * sizeof hb->peer[0]);
    DN_CHECK(hb, DN_ENOMEM, "out of memory");
    hb->rank = comm->rank;
    hb->size = comm->size;
    hb->lines = comm->rank == 0 ? comm->size : 1;
    hb->deadline = deadline;
    hb->period = fmin(deadline / 10, fmax(usual_period, comm->size / most_beats));
    hb->end = INFINITY;
    hb->oom_kills = dn_limit_kills("");
    hb->activity = comm->activity;
    dn_note_operation(hb->activity, DN_STARTING);
    hb->line = calloc((size_t)hb->lines + 1, sizeof *hb->line);
    DN_CHECK(hb->line, DN_ENOMEM, "out of memory");
    for (int r = 0; r < hb->size; r++)
        memcpy(hb->peer[r].host, comm->host[r], DN_HOST_BYTES);
    for (int r = 0; r < hb->lines; r++)
        hb->line[r] = (struct pollfd){.fd = -1, .events = hb->rank == 0 ? POLLRDHUP : POLLIN};
    struct pollfd *const end = &hb->line[hb->lines];
    *end = (struct pollfd){.fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN};
    DN_CHECK(end->fd >= 0, DN_EIO, "no event counter: %s", strerror(errno));
    return DN_OK;
}

static dn_status start_beating(dn_heartbeat *hb)
{
    signal(DN_PARK_SIGNAL, dn_heartbeat_park);
    signal(SIGALRM, dn_heartbeat_park);
    hb->has_thread = dn_preempt_start_thread(&hb->thread, keep_beating, hb);
    DN_CHECK(hb->has_thread, DN_ENOMEM, "cannot start its thread");
    return DN_OK;
}

static void end_thread(dn_heartbeat *hb)
{
    if (hb->has_thread) {
        eventfd_write(hb->line[hb->lines].fd, 1);
        pthread_join(hb->thread, NULL);
        hb->has_thread = 0;
    }
}

void dn_heartbeat_start(dn_heartbeat **result, const dn_comm *comm, double deadline)
{
    *result = NULL;
    dn_comm_broadcast(comm, &deadline, sizeof deadline);
    if (comm->size == 1 || deadline <= 0)
        return;
    /* Every rank makes all MPI calls here, whatever failed before. */
    dn_status status = dn_comm_agree(comm, create_heartbeat(result, comm, deadline));
    if (status == DN_OK)
        status = dn_heartbeat_connect(comm, (*result)->line);
    if (status == DN_OK)
        status = dn_comm_agree(comm, start_beating(*result));
    if (status != DN_OK) {
        dn_warn("ranks that fall silent will not be noticed, the heartbeat cannot start: %s",
                dn_message());
        if (*result)
            end_thread(*result);
        dn_comm_agree(comm, DN_OK); /* after it no thread would take this end for a loss */
        dn_heartbeat_stop(result);
    }
}

void dn_heartbeat_stop(dn_heartbeat **heartbeat)
{
    dn_heartbeat *hb = *heartbeat;
    if (!hb)
        return;
    end_thread(hb);
    for (int i = 0; hb->line && i <= hb->lines; i++)
        if (hb->line[i].fd >= 0)
            close(hb->line[i].fd);
    free(hb->record);
    free(hb->line);
    free(hb);
    *heartbeat = NULL;
}

void dn_heartbeat_record(const dn_comm *comm, const char *folder)
{
    char *path = NULL;
    if (asprintf(&path, "%s/" DN_LOST_NAME, folder) < 0)
        return;
    if (comm->rank == 0)
        unlink(path);
    if (comm->heartbeat && !atomic_load(&comm->heartbeat->record))
        atomic_store(&comm->heartbeat->record, path);
    else
        free(path);
}
