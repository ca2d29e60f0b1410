/*
 * The watch's thread: signs of life, judgement, and the end of a job that lost a rank (watch.h).
 *
 * Rank 0 has all other ranks for peers, each other rank has rank 0. The thread reads everything
 * that has arrived before it judges, so a process that was itself asleep does not accuse others.
 * Signs of life do not wake rank 0's: there may be thousands a second.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
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
#include <time.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "watch_link.h"

enum {
    RECORD_SECONDS = 2, /* for lost.json: its file system may be what was lost */
    PARK = SIGURG /* the signal that parks a thread; ignored by default, used by nobody here */
};

static const char *const operation_names[] = {"the start",  "reading of data",      "forward",
                                              "backward",   "the sum of gradients", "update",
                                              "evaluation", "checkpoint",           "the end"};

static const double longest_period = 0.25; /* seconds between two signs of life */

typedef enum kind { ALIVE = 1, GOODBYE, LOST } kind;

typedef struct message {
    int32_t kind, operation;
    int64_t step;
    double seconds; /* at the operation */
} message;

typedef struct peer {
    int rank, socket; /* -1: it said goodbye */
    int is_deaf;      /* its buffer is full: nothing more is sent */
    double heard;     /* when, on this process's clock */
    message last;     /* ALIVE */
    size_t have;      /* bytes of `incoming` */
    union {
        message whole;
        char bytes[sizeof(message)];
    } incoming;
} peer;

struct dn_watch {
    int rank, size, peers;
    double deadline, period;     /* seconds */
    peer *peer;                  /* (peers) */
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

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static message own_state(dn_watch *w, kind what, double time)
{
    return (message){.kind = what,
                     .operation = atomic_load(&w->operation),
                     .step = atomic_load(&w->step),
                     .seconds = time - atomic_load(&w->since)};
}

static void tell_all(dn_watch *w, kind what)
{
    const message m = own_state(w, what, now());
    for (int i = 0; i < w->peers; i++) {
        peer *p = &w->peer[i];
        if (p->socket >= 0 && !p->is_deaf)
            p->is_deaf = send(p->socket, &m, sizeof m, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof m;
    }
}

/* ---- the end of a job that lost a rank ---- */

static void park(int signal)
{
    (void)signal;
    for (;;)
        pause();
}

static void end_late(int signal)
{
    (void)signal;
    _exit(DN_EXIT_LOST);
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
static int is_speaker(const dn_watch *w)
{
    if (now() - w->woke < 2 * w->period)
        return 0;
    int speaker = w->rank == 0 ? 0 : 1;
    while (speaker > 0 && speaker < w->size - 1 && strcmp(w->host[speaker], w->host[0]) == 0)
        speaker++;
    return w->rank == speaker;
}

static void write_record(dn_watch *w, const peer *p, const char *reason)
{
    char text[1024];
    if (!atomic_load(&w->has_record))
        return;
    const int size = snprintf(text, sizeof text,
                              "{\"rank\": %d, \"host\": \"%s\", \"step\": %" PRId64
                              ", \"operation\": \"%s\", \"reason\": \"%s\"}\n",
                              p->rank, w->host[p->rank], p->last.step,
                              operation_names[p->last.operation], reason);
    /* Where hosts were cut apart, each side has a speaker: rank 0's word counts. */
    const int how = w->rank == 0 ? O_TRUNC : O_EXCL;
    alarm(RECORD_SECONDS);
    const int file = open(w->record, O_WRONLY | O_CREAT | O_CLOEXEC | how, 0666);
    if (file >= 0 && write(file, text, (size_t)size) == size)
        close(file);
}

static _Noreturn void end_job(dn_watch *w, peer *p, const char *reason)
{
    char line[1024];
    const int64_t own_step = atomic_load(&w->step); /* ranks keep step; the peer's may be older */
    park_others();
    if (w->rank == 0)
        tell_all(w, LOST);
    if (is_speaker(w)) {
        p->last.step = own_step > p->last.step ? own_step : p->last.step;
        const int size = snprintf(line, sizeof line,
                                  "dn_dist: rank %d on host %s was lost in step %" PRId64
                                  ", last heard of during %s: %s\n",
                                  p->rank, w->host[p->rank], p->last.step,
                                  operation_names[p->last.operation], reason);
        if (write(STDERR_FILENO, line, (size_t)size) == size)
            write_record(w, p, reason);
    }
    _exit(DN_EXIT_LOST);
}

/* A host whose kernel takes in what was sent to it is there, though the process may be stopped. */
static int host_answers(const peer *p)
{
    int unread = 0;
    return ioctl(p->socket, SIOCOUTQ, &unread) == 0 && unread < (int)(2 * sizeof(message));
}

static _Noreturn void end_in_silence(dn_watch *w, peer *silent, double time)
{
    char reason[256];
    int others = 0;
    for (int i = 0; i < w->peers; i++)
        others += w->peer[i].socket >= 0 && &w->peer[i] != silent &&
                  time - w->peer[i].heard > w->deadline / 2;
    int used = snprintf(reason, sizeof reason, "no sign of life for %.0f s, its host %s",
                        time - silent->heard, host_answers(silent) ? "answers" : "does not answer");
    if (others > 0)
        snprintf(reason + used, sizeof reason - (size_t)used, "; %d more ranks are as silent",
                 others);
    end_job(w, silent, reason);
}

/* ---- what peers say ---- */

static void take_message(dn_watch *w, peer *p, const message *m, double time)
{
    p->heard = time;
    if (m->kind == LOST) {
        park_others();
        _exit(DN_EXIT_LOST);
    }
    if (m->kind == GOODBYE) {
        close(p->socket);
        p->socket = w->poll[p - w->peer].fd = -1;
    } else if (m->operation >= 0 && m->operation <= DN_ENDING) {
        p->last = *m;
    }
}

static void read_peer(dn_watch *w, peer *p, double time)
{
    while (p->socket >= 0) {
        const ssize_t got = recv(p->socket, p->incoming.bytes + p->have,
                                 sizeof p->incoming - p->have, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            char reason[256];
            snprintf(reason, sizeof reason, "its process ended%s%s", got < 0 ? ": " : "",
                     got < 0 ? strerror(errno) : "");
            end_job(w, p, reason);
        }
        p->have += (size_t)got;
        if (p->have == sizeof p->incoming) {
            p->have = 0;
            take_message(w, p, &p->incoming.whole, time);
        }
    }
}

/* ---- judgement ---- */

/* Warns of the main thread that has been at one thing for longest, when that is past the deadline:
 * the others wait for it. Rank 0's affair. */
static void warn_of_stall(dn_watch *w, double time)
{
    message longest = own_state(w, ALIVE, time);
    int rank = 0;
    for (int i = 0; i < w->peers; i++) {
        const peer *p = &w->peer[i];
        const double seconds = p->last.seconds + time - p->heard;
        if (p->socket >= 0 && p->last.kind == ALIVE && seconds > longest.seconds) {
            longest = p->last;
            longest.seconds = seconds;
            rank = p->rank;
        }
    }
    if (longest.seconds < w->deadline || time - w->warned < w->deadline)
        return;
    w->warned = time;
    dn_warn("rank %d on host %s has been at %s, step %" PRId64 ", for %.0f s", rank, w->host[rank],
            operation_names[longest.operation], longest.step, longest.seconds);
}

static void judge(dn_watch *w, double time)
{
    for (int i = 0; i < w->peers; i++)
        if (w->peer[i].socket >= 0 && time - w->peer[i].heard > w->deadline - w->period)
            end_in_silence(w, &w->peer[i], time);
    if (w->rank == 0)
        warn_of_stall(w, time);
}

static void *watch(void *user)
{
    dn_watch *w = user;
    double beat = now();
    while (!w->poll[w->peers].revents) {
        const double begin = now();
        poll(w->poll, (nfds_t)w->peers + 1, beat > begin ? (int)((beat - begin) * 1000) + 1 : 0);
        const double time = now();
        if (time - begin > w->deadline / 2) /* this process was stopped itself */
            w->woke = time;
        for (int i = 0; i < w->peers; i++) {
            if (w->woke == time)
                w->peer[i].heard = time;
            if (w->poll[i].revents || time >= beat)
                read_peer(w, &w->peer[i], time);
        }
        if (time < beat)
            continue;
        judge(w, time);
        tell_all(w, ALIVE);
        beat = time + w->period;
    }
    tell_all(w, GOODBYE);
    return NULL;
}

/* ---- start and stop ---- */

static dn_status create(dn_watch **result, const dn_comm *comm, double deadline)
{
    dn_watch *w = *result = calloc(1, sizeof *w);
    DN_CHECK(w, DN_ENOMEM, "out of memory");
    w->rank = comm->rank;
    w->size = comm->size;
    w->deadline = deadline;
    w->period = deadline / 10 < longest_period ? deadline / 10 : longest_period;
    w->peers = comm->rank == 0 ? comm->size - 1 : 1;
    w->since = now();
    w->woke = -INFINITY;
    w->bell = eventfd(0, EFD_CLOEXEC);
    w->peer = calloc((size_t)w->peers, sizeof *w->peer);
    w->poll = calloc((size_t)w->peers + 1, sizeof *w->poll);
    w->host = calloc((size_t)w->size, sizeof *w->host);
    for (int i = 0; w->peer && i < w->peers; i++)
        w->peer[i] = (peer){.rank = comm->rank == 0 ? i + 1 : 0, .socket = -1};
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
    const double time = now();
    for (int i = 0; i < w->peers; i++) {
        w->peer[i].heard = time;
        w->poll[i] =
            (struct pollfd){.fd = w->peer[i].socket, .events = w->rank == 0 ? POLLRDHUP : POLLIN};
    }
    w->poll[w->peers] = (struct pollfd){.fd = w->bell, .events = POLLIN};
    sigaction(PARK, &(struct sigaction){.sa_handler = park}, NULL);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = end_late}, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    w->has_thread = pthread_create(&w->thread, NULL, watch, w) == 0;
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
    dn_comm_host(w->host[w->rank]);
    DN_MPI(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, w->host, DN_HOST_BYTES, MPI_BYTE,
                         comm->world));
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
    atomic_store(&w->since, now());
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
