/*
 * The watch's thread: signs of life, judgement, and the end of a job that lost a rank (watch.h).
 *
 * The thread reads everything that has arrived before it judges, so a process that was itself
 * asleep does not accuse others. Signs of life do not wake rank 0's: there may be thousands a
 * second.
 */
#include "job/heartbeat_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/sockios.h>

enum {
    RECORD_SECONDS = 2, /* for lost.json: its file system may be what was lost */
    PARK = SIGURG /* the signal that parks a thread; ignored by default, used by nobody here */
};

typedef enum kind { ALIVE = 1, GOODBYE, LOST } kind; /* of a message */

static const char *const operation_names[] = {"the start",  "reading of data",      "forward",
                                              "backward",   "the sum of gradients", "update",
                                              "evaluation", "checkpoint",           "the end"};

static dn_heartbeat_message own_state(dn_heartbeat *w, kind what, double time)
{
    return (dn_heartbeat_message){.kind = what,
                                  .operation = atomic_load(&w->operation),
                                  .step = atomic_load(&w->step),
                                  .seconds = time - atomic_load(&w->since)};
}

static void tell_all(dn_heartbeat *w, kind what)
{
    const dn_heartbeat_message m = own_state(w, what, omp_get_wtime());
    for (int r = 0; r < w->size; r++) {
        const int line = w->line[r].fd;
        if (line >= 0 && !w->peer[r].is_deaf)
            w->peer[r].is_deaf = send(line, &m, sizeof m, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof m;
    }
}

/* ---- the end of a job that lost a rank ---- */

/* A handler: stops the thread for good, or the process when lost.json takes too long. */
static void stop_here(int signal)
{
    if (signal == SIGALRM)
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
static int is_speaker(const dn_heartbeat *w)
{
    if (omp_get_wtime() - w->woke < 2 * w->period)
        return 0;
    int speaker = w->rank == 0 ? 0 : 1;
    while (speaker > 0 && speaker < w->size - 1 && strcmp(w->host[speaker], w->host[0]) == 0)
        speaker++;
    return w->rank == speaker;
}

static void write_record(dn_heartbeat *w, int rank, const char *reason)
{
    char text[1024];
    if (!atomic_load(&w->has_record))
        return;
    const int size = snprintf(text, sizeof text,
                              "{\"rank\": %d, \"host\": \"%s\", \"step\": %" PRId64
                              ", \"operation\": \"%s\", \"reason\": \"%s\"}\n",
                              rank, w->host[rank], w->peer[rank].last.step,
                              operation_names[w->peer[rank].last.operation], reason);
    /* Where hosts were cut apart, each side has a speaker: rank 0's word counts. */
    const int how = w->rank == 0 ? O_TRUNC : O_EXCL;
    alarm(RECORD_SECONDS);
    const int file = open(w->record, O_WRONLY | O_CREAT | O_CLOEXEC | how, 0666);
    if (file >= 0 && write(file, text, (size_t)size) == size)
        close(file);
}

static _Noreturn void end_job(dn_heartbeat *w, int rank, const char *reason)
{
    dn_heartbeat_message *last = &w->peer[rank].last;
    char line[1024];
    const int64_t own_step = atomic_load(&w->step); /* ranks keep step; the peer's may be older */
    park_others();
    if (w->rank == 0)
        tell_all(w, LOST);
    if (is_speaker(w)) {
        last->step = own_step > last->step ? own_step : last->step;
        const int size =
            snprintf(line, sizeof line,
                     "dn_dist: rank %d on host %s was lost in step %" PRId64
                     ", last heard of during %s: %s\n",
                     rank, w->host[rank], last->step, operation_names[last->operation], reason);
        if (write(STDERR_FILENO, line, (size_t)size) == size)
            write_record(w, rank, reason);
    }
    _exit(DN_EXIT_LOST);
}

/* A host whose kernel takes in what was sent to it is there, though the process may be stopped. */
static int host_answers(int line)
{
    int unread = 0;
    return ioctl(line, SIOCOUTQ, &unread) == 0 && unread < (int)(2 * sizeof(dn_heartbeat_message));
}

static _Noreturn void end_in_silence(dn_heartbeat *w, int silent, double time)
{
    char reason[256];
    int others = 0;
    for (int r = 0; r < w->size; r++)
        others += w->line[r].fd >= 0 && r != silent && time - w->peer[r].heard > w->deadline / 2;
    int used = snprintf(reason, sizeof reason, "no sign of life for %.0f s, its host %s",
                        time - w->peer[silent].heard,
                        host_answers(w->line[silent].fd) ? "answers" : "does not answer");
    if (others > 0)
        snprintf(reason + used, sizeof reason - (size_t)used, "; %d more ranks are as silent",
                 others);
    end_job(w, silent, reason);
}

/* ---- what peers say ---- */

static void take_message(dn_heartbeat *w, int rank, const dn_heartbeat_message *m, double time)
{
    w->peer[rank].heard = time;
    if (m->kind == LOST) {
        park_others();
        _exit(DN_EXIT_LOST);
    }
    if (m->kind == GOODBYE) {
        close(w->line[rank].fd);
        w->line[rank].fd = -1;
    } else if (m->operation >= 0 && m->operation <= DN_ENDING) {
        w->peer[rank].last = *m;
    }
}

static void read_peer(dn_heartbeat *w, int rank, double time)
{
    dn_heartbeat_peer *p = &w->peer[rank];
    while (w->line[rank].fd >= 0) {
        const ssize_t got = recv(w->line[rank].fd, (char *)&p->incoming + p->have,
                                 sizeof p->incoming - p->have, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            char reason[256];
            snprintf(reason, sizeof reason, "its process ended%s%s", got < 0 ? ": " : "",
                     got < 0 ? strerror(errno) : "");
            end_job(w, rank, reason);
        }
        p->have += (size_t)got;
        if (p->have == sizeof p->incoming) {
            p->have = 0;
            take_message(w, rank, &p->incoming, time);
        }
    }
}

/* ---- judgement ---- */

/* Warns of the main thread that has been at one thing for longest, when that is past the deadline:
 * the others wait for it. Rank 0's affair. */
static void warn_of_stall(dn_heartbeat *w, double time)
{
    dn_heartbeat_message longest = own_state(w, ALIVE, time);
    int rank = 0;
    for (int r = 0; r < w->size; r++) {
        const dn_heartbeat_peer *p = &w->peer[r];
        const double seconds = p->last.seconds + time - p->heard;
        if (w->line[r].fd >= 0 && p->last.kind == ALIVE && seconds > longest.seconds) {
            longest = p->last;
            longest.seconds = seconds;
            rank = r;
        }
    }
    if (longest.seconds < w->deadline || time - w->warned < w->deadline)
        return;
    w->warned = time;
    dn_warn("rank %d on host %s has been at %s, step %" PRId64 ", for %.0f s", rank, w->host[rank],
            operation_names[longest.operation], longest.step, longest.seconds);
}

static void judge(dn_heartbeat *w, double time)
{
    for (int r = 0; r < w->size; r++)
        if (w->line[r].fd >= 0 && time - w->peer[r].heard > w->deadline - w->period)
            end_in_silence(w, r, time);
    if (w->rank == 0)
        warn_of_stall(w, time);
}

static void begin(dn_heartbeat *w, double time)
{
    for (int r = 0; r < w->size; r++)
        w->peer[r].heard = time;
    sigaction(PARK, &(struct sigaction){.sa_handler = stop_here}, NULL);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = stop_here}, NULL);
}

void *dn_heartbeat_thread(void *watch)
{
    dn_heartbeat *w = watch;
    double beat = omp_get_wtime();
    begin(w, beat);
    while (!w->line[w->size].revents) {
        const double start = omp_get_wtime();
        poll(w->line, (nfds_t)w->size + 1, beat > start ? (int)((beat - start) * 1000) + 1 : 0);
        const double time = omp_get_wtime();
        if (time - start > w->deadline / 2) /* this process was stopped itself */
            w->woke = time;
        for (int r = 0; r < w->size; r++) {
            if (w->woke == time)
                w->peer[r].heard = time;
            if (w->line[r].revents || time >= beat)
                read_peer(w, r, time);
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
