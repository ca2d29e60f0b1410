/*
 * The heartbeat's thread: sends signs of life, checks those of the peers, ends a job that lost a
 * rank. And the main thread's side: start, end, and what it notes for the thread (heartbeat.h).
 *
 * The thread reads everything that has arrived before it checks, so a process that was itself
 * stopped does not accuse others. Signs of life do not wake rank 0's: there may be thousands a
 * second. The thread calls nothing of MPI; once it has parked the other threads, which may hold
 * locks, it allocates nothing.
 */
#include "job/heartbeat.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "dn/claim.h"
#include "dn/limits.h"
#include "job/preempt.h"

enum {
    RECORD_SECONDS = 2, /* for lost.json: its file system may be what was lost */
    PARK = SIGURG /* the signal that parks a thread; ignored by default, used by nobody here */
};

static const double longest_period = 0.25; /* seconds between two signs of life */
static const double stop_seconds = 2; /* from a peer's end in a job that stops to this process's */

static const char *const operation_names[] = {"the start",  "reading of data",      "forward",
                                              "backward",   "the sum of gradients", "update",
                                              "evaluation", "checkpoint",           "the end"};

typedef enum message_kind { ALIVE = 1, GOODBYE, LOST } message_kind;

typedef struct message {
    int32_t kind, operation;
    int64_t step;
    double seconds; /* at the operation */
} message;

/* What is known of a rank at the other end of a connection. */
typedef struct peer {
    char host[DN_HOST_BYTES];
    int is_full;         /* its buffer: nothing more is sent */
    double heard, since; /* when, on this process's clock: it last spoke; its operation began */
    message last;        /* ALIVE */
    message incoming;
    size_t have; /* bytes of `incoming` */
} peer;

struct dn_heartbeat {
    int rank, size;
    double deadline, period; /* seconds */
    double warned, woke; /* when: last warned of a stall; found that it had been stopped itself */
    double end;          /* when this process ends, its job having stopped; infinite before */
    double oom_kills;    /* of this process's cgroup, at the start */
    int has_thread;
    pthread_t thread;
    _Atomic int64_t step;
    _Atomic int operation;
    _Atomic double since;   /* of the operation */
    _Atomic(char *) record; /* the path of lost.json; NULL: none yet */
    struct pollfd *line;    /* (size + 1) connections by rank, fd -1: none, or it said goodbye. The
                               last is an eventfd that ends the thread */
    peer peer[];            /* (size) */
};

static message own_state(dn_heartbeat *hb, message_kind kind, double now)
{
    return (message){.kind = kind,
                     .operation = atomic_load(&hb->operation),
                     .step = atomic_load(&hb->step),
                     .seconds = now - atomic_load(&hb->since)};
}

static void send_to_all(dn_heartbeat *hb, message_kind kind)
{
    const message m = own_state(hb, kind, omp_get_wtime());
    for (int r = 0; r < hb->size; r++) {
        const int line = hb->line[r].fd;
        if (line >= 0 && !hb->peer[r].is_full)
            hb->peer[r].is_full = send(line, &m, sizeof m, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof m;
    }
}

/* ---- the end of a job that lost a rank ---- */

/* A handler: stops the thread for good, or the process when lost.json takes too long or the
 * launcher wants it to end. */
static void park(int signal)
{
    if (signal != PARK)
        _exit(DN_EXIT_LOST);
    for (;;)
        pause();
}

/* Stops all threads but the caller: when MPI sees connections close, it would end the process with
 * a status of its own. */
static void park_others(void)
{
    DIR *tasks = opendir("/proc/self/task");
    const pid_t own = (pid_t)syscall(SYS_gettid);
    for (const struct dirent *entry; tasks && (entry = readdir(tasks));) {
        const int thread = atoi(entry->d_name);
        if (thread > 0 && thread != own)
            syscall(SYS_tgkill, getpid(), thread, PARK);
    }
}

/* Of the survivors: rank 0, or when that is lost the lowest rank on another host, since ranks of
 * one host often end together. Who was stopped itself finds that others have given it up. */
static int is_reporter(const dn_heartbeat *hb)
{
    if (omp_get_wtime() - hb->woke < 2 * hb->period)
        return 0;
    int reporter = hb->rank == 0 ? 0 : 1;
    while (reporter > 0 && reporter < hb->size - 1 &&
           strcmp(hb->peer[reporter].host, hb->peer[0].host) == 0)
        reporter++;
    return hb->rank == reporter;
}

/* One line on standard error, and lost.json where the run's folder is known. */
static void report_loss(dn_heartbeat *hb, int rank, const char *reason)
{
    const peer *lost = &hb->peer[rank];
    const char *operation = operation_names[lost->last.operation];
    const char *path = atomic_load(&hb->record);
    const int64_t own = atomic_load(&hb->step); /* ranks keep step; the peer's may be older */
    const int64_t step = own > lost->last.step ? own : lost->last.step;
    char text[1024];
    int size = snprintf(text, sizeof text,
                        "dn_dist: rank %d on host %s was lost in step %" PRId64
                        ", last heard of during %s: %s\n",
                        rank, lost->host, step, operation, reason);
    /* Where nobody takes it (a full disk, a launcher that ended), lost.json still says it. */
    const ssize_t said = write(STDERR_FILENO, text, (size_t)size);
    (void)said;
    if (!path)
        return;
    size = snprintf(text, sizeof text,
                    "{\"rank\": %d, \"host\": \"%s\", \"step\": %" PRId64
                    ", \"operation\": \"%s\", \"reason\": \"%s\"}\n",
                    rank, lost->host, step, operation, reason);
    /* Where hosts were cut apart, each side reports: rank 0's word counts. */
    const int how = hb->rank == 0 ? O_TRUNC : O_EXCL;
    alarm(RECORD_SECONDS);
    const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | how, 0666);
    if (file >= 0 && write(file, text, (size_t)size) == size)
        close(file);
}

static _Noreturn void end_as_lost(dn_heartbeat *hb, int rank, const char *reason)
{
    const int reports = is_reporter(hb);
    park_others();
    if (hb->rank == 0)
        send_to_all(hb, LOST);
    if (reports)
        report_loss(hb, rank, reason);
    _exit(DN_EXIT_LOST);
}

/* Of who finds silence and does not report it: no process has ended yet. At the first end mpirun
 * tells all others to end, and wakes who was stopped; the reporter, who may find the silence a
 * period later, has to be first. */
static void let_report(const dn_heartbeat *hb)
{
    signal(SIGTERM, park);
    park_others();
    usleep((useconds_t)(3e6 * hb->period));
}

static _Noreturn void end_as_silent(dn_heartbeat *hb, int silent, double now)
{
    char reason[256], more[64] = "";
    int others = 0, unread = 0;
    for (int r = 0; r < hb->size; r++)
        others += hb->line[r].fd >= 0 && r != silent && now - hb->peer[r].heard > hb->deadline / 2;
    if (others > 0)
        snprintf(more, sizeof more, "; %d more ranks are as silent", others);
    /* A host whose kernel takes in what was sent is there, though the process may be stopped. */
    const int host_answers =
        ioctl(hb->line[silent].fd, SIOCOUTQ, &unread) == 0 && unread < (int)(2 * sizeof(message));
    snprintf(reason, sizeof reason, "no sign of life for %.0f s, its host %s%s",
             now - hb->peer[silent].heard, host_answers ? "answers" : "does not answer", more);
    if (!is_reporter(hb))
        let_report(hb);
    end_as_lost(hb, silent, reason);
}

/* Why a process ended is for its parent to know. But the kernel counts what it kills for memory in
 * a cgroup, and ranks of a host commonly share theirs. */
static void explain_end(const dn_heartbeat *hb, int rank, char *text, size_t size)
{
    const int is_here = strcmp(hb->peer[rank].host, hb->peer[hb->rank].host) == 0;
    const int is_killed = is_here && dn_limit_kills("") > hb->oom_kills;
    snprintf(text, size, "its process ended%s",
             is_killed
                 ? ", probably killed (signal 9) for want of memory: the kernel has killed for "
                   "that in this cgroup since the start"
                 : "");
}

/* A peer's process ended without a goodbye. Where the job was told to stop that is a part of it:
 * the launcher kills the ranks; unless memory ran out, since the launcher then tells the others to
 * stop, too. But this one's main thread may wait for the peer for ever. */
static void end_peer(dn_heartbeat *hb, int rank, const char *reason, double now)
{
    if (!dn_preempt_is_urgent() || dn_limit_kills("") > hb->oom_kills)
        end_as_lost(hb, rank, reason);
    close(hb->line[rank].fd);
    hb->line[rank].fd = -1;
    hb->end = fmin(hb->end, now + stop_seconds);
}

static _Noreturn void end_as_stopped(void)
{
    park_others();
    _exit(DN_EXIT_AGAIN);
}

/* ---- messages, and checks ---- */

static void handle_message(dn_heartbeat *hb, int rank, const message *m, double now)
{
    hb->peer[rank].heard = now;
    if (m->kind == LOST) {
        park_others();
        _exit(DN_EXIT_LOST);
    }
    if (m->kind == GOODBYE) {
        close(hb->line[rank].fd);
        hb->line[rank].fd = -1;
    } else if (m->operation >= 0 && m->operation <= DN_ENDING) {
        hb->peer[rank].last = *m;
        hb->peer[rank].since = now - m->seconds;
    }
}

static void read_peer(dn_heartbeat *hb, int rank, double now)
{
    peer *p = &hb->peer[rank];
    while (hb->line[rank].fd >= 0) {
        const ssize_t got = recv(hb->line[rank].fd, (char *)&p->incoming + p->have,
                                 sizeof p->incoming - p->have, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            char reason[256];
            if (got == 0 || errno == ECONNRESET)
                explain_end(hb, rank, reason, sizeof reason);
            else
                snprintf(reason, sizeof reason, "%s", strerror(errno));
            end_peer(hb, rank, reason, now);
            return;
        }
        p->have += (size_t)got;
        if (p->have == sizeof p->incoming) {
            p->have = 0;
            handle_message(hb, rank, &p->incoming, now);
        }
    }
}

/* Warns of the main thread that has been at one thing for longest, when that is past the deadline:
 * the others wait for it. Rank 0's affair, which hears itself too. */
static void warn_of_stall(dn_heartbeat *hb, double now)
{
    const message own = own_state(hb, ALIVE, now);
    const peer *slowest = &hb->peer[0];
    handle_message(hb, 0, &own, now);
    for (int r = 1; r < hb->size; r++)
        if (hb->line[r].fd >= 0 && hb->peer[r].since < slowest->since)
            slowest = &hb->peer[r];
    if (now - slowest->since < hb->deadline || now - hb->warned < hb->deadline)
        return;
    hb->warned = now;
    dn_warn("rank %d on host %s has been at %s, step %" PRId64 ", for %.0f s",
            (int)(slowest - hb->peer), slowest->host, operation_names[slowest->last.operation],
            slowest->last.step, now - slowest->since);
}

/* The thread; ends the process when a rank is lost. */
static void *keep_beating(void *heartbeat)
{
    dn_heartbeat *hb = heartbeat;
    double beat = omp_get_wtime();
    for (int r = 0; r < hb->size; r++)
        hb->peer[r].heard = hb->peer[r].since = beat;
    while (!hb->line[hb->size].revents) {
        const double start = omp_get_wtime();
        poll(hb->line, (nfds_t)hb->size + 1, beat > start ? (int)((beat - start) * 1000) + 1 : 0);
        const double now = omp_get_wtime();
        if (now - beat > hb->deadline / 2 - hb->period) /* this process was stopped itself */
            hb->woke = now;
        for (int r = 0; r < hb->size; r++) {
            if (hb->woke == now)
                hb->peer[r].heard = now;
            if (hb->line[r].revents || now >= beat)
                read_peer(hb, r, now);
        }
        if (now < beat)
            continue;
        if (now >= hb->end)
            end_as_stopped();
        for (int r = 0; r < hb->size; r++)
            if (hb->line[r].fd >= 0 && now - hb->peer[r].heard > hb->deadline - hb->period)
                end_as_silent(hb, r, now);
        if (hb->rank == 0)
            warn_of_stall(hb, now);
        send_to_all(hb, ALIVE);
        beat = now + hb->period;
    }
    send_to_all(hb, GOODBYE);
    return NULL;
}

/* ---- the main thread's side ---- */

static dn_status create_heartbeat(dn_heartbeat **result, const dn_comm *comm, double deadline)
{
    const size_t size = (size_t)comm->size;
    dn_heartbeat *hb = *result = calloc(1, sizeof *hb + size * sizeof hb->peer[0]);
    DN_CHECK(hb, DN_ENOMEM, "out of memory");
    hb->rank = comm->rank;
    hb->size = comm->size;
    hb->deadline = deadline;
    hb->period = fmin(deadline / 10, longest_period);
    hb->end = INFINITY;
    hb->oom_kills = dn_limit_kills("");
    hb->since = omp_get_wtime();
    hb->line = calloc(size + 1, sizeof *hb->line);
    DN_CHECK(hb->line, DN_ENOMEM, "out of memory");
    for (int r = 0; r < hb->size; r++) {
        hb->line[r] = (struct pollfd){.fd = -1, .events = hb->rank == 0 ? POLLRDHUP : POLLIN};
        memcpy(hb->peer[r].host, comm->host[r], DN_HOST_BYTES);
    }
    hb->line[size] = (struct pollfd){.fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN};
    DN_CHECK(hb->line[size].fd >= 0, DN_EIO, "no event counter: %s", strerror(errno));
    return DN_OK;
}

/* The thread gets no signals: they are the main thread's. */
static dn_status start_beating(dn_heartbeat *hb)
{
    sigset_t all, old;
    signal(PARK, park);
    signal(SIGALRM, park);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    hb->has_thread = pthread_create(&hb->thread, NULL, keep_beating, hb) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    DN_CHECK(hb->has_thread, DN_ENOMEM, "cannot start its thread");
    return DN_OK;
}

void dn_heartbeat_start(dn_heartbeat **result, const dn_comm *comm, double deadline)
{
    *result = NULL;
    if (comm->size == 1 || deadline <= 0)
        return;
    /* All ranks come by each call of MPI here, whatever failed before. */
    dn_status status = dn_comm_agree(comm, create_heartbeat(result, comm, deadline));
    if (status == DN_OK)
        status = dn_heartbeat_connect(comm, (*result)->line);
    if (status == DN_OK)
        status = dn_comm_agree(comm, start_beating(*result));
    if (status != DN_OK) {
        dn_warn("ranks that fall silent will not be noticed, the heartbeat cannot start: %s",
                dn_message());
        dn_heartbeat_stop(result);
    }
}

void dn_heartbeat_stop(dn_heartbeat **heartbeat)
{
    dn_heartbeat *hb = *heartbeat;
    if (!hb)
        return;
    if (hb->has_thread) {
        eventfd_write(hb->line[hb->size].fd, 1);
        pthread_join(hb->thread, NULL);
    }
    for (int i = 0; hb->line && i <= hb->size; i++)
        if (hb->line[i].fd >= 0)
            close(hb->line[i].fd);
    free(hb->record);
    free(hb->line);
    free(hb);
    *heartbeat = NULL;
}

void dn_heartbeat_step(dn_heartbeat *hb, int64_t step)
{
    if (hb)
        atomic_store(&hb->step, step);
}

void dn_heartbeat_doing(dn_heartbeat *hb, dn_operation operation)
{
    if (!hb)
        return;
    atomic_store(&hb->operation, (int)operation);
    atomic_store(&hb->since, omp_get_wtime());
}

void dn_heartbeat_record(const dn_comm *comm, const char *folder)
{
    char *path = NULL;
    if (asprintf(&path, "%s/" DN_LOST_NAME, folder) < 0)
        return;
    if (comm->rank == 0)
        unlink(path);
    if (comm->heartbeat)
        atomic_store(&comm->heartbeat->record, path);
    else
        free(path);
}
