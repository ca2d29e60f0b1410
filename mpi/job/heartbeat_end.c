/*
 * The ends of a process whose job lost a rank, and the line about it; see heartbeat.h. The thread
 * parks the others first, once, as they may hold locks: from there on it allocates nothing.
 */
#include "job/heartbeat_parts.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "dn/limits.h"
#include "job/preempt.h"

enum { RECORD_SECONDS = 2 }; /* for lost.json: its file system may be what was lost */

static const double stop_seconds = 2; /* from a peer's end in a job that stops to this process's */

/* A handler: stops the thread for good, or the process when lost.json takes too long or the
 * launcher wants it to end. */
void dn_heartbeat_park(int signal)
{
    if (signal != DN_PARK_SIGNAL)
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
            syscall(SYS_tgkill, getpid(), thread, DN_PARK_SIGNAL);
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
    const dn_peer *lost = &hb->peer[rank];
    const char *operation = dn_operation_name(lost->last.operation);
    const char *path = atomic_load(&hb->record);
    /* Ranks keep step; the peer's word of it may be older. */
    const int64_t own = atomic_load(&hb->activity->step);
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

/* The others are parked. */
static _Noreturn void end_parked(dn_heartbeat *hb, int rank, const char *reason)
{
    if (hb->rank == 0)
        dn_heartbeat_send(hb, DN_BEAT_LOST, omp_get_wtime());
    if (reason)
        report_loss(hb, rank, reason);
    _exit(DN_EXIT_LOST);
}

_Noreturn void dn_heartbeat_end_as_lost(dn_heartbeat *hb, int rank, const char *reason)
{
    const int reports = is_reporter(hb);
    park_others();
    end_parked(hb, rank, reports ? reason : NULL);
}

/* Of who finds silence and does not report it: no process has ended yet. At the first end mpirun
 * tells all others to end, and wakes who was stopped; the reporter, who may find the silence a
 * period later, has to be first. */
static _Noreturn void end_after_report(dn_heartbeat *hb)
{
    signal(SIGTERM, dn_heartbeat_park);
    park_others();
    usleep((useconds_t)(3e6 * hb->period));
    end_parked(hb, 0, NULL);
}

_Noreturn void dn_heartbeat_end_as_silent(dn_heartbeat *hb, int silent, double now)
{
    char reason[256], more[64] = "";
    int others = 0, unread = 0;
    for (int r = 0; r < hb->size; r++)
        others += hb->line[r].fd >= 0 && r != silent && now - hb->peer[r].heard > hb->deadline / 2;
    if (others > 0)
        snprintf(more, sizeof more, "; %d more ranks are as silent", others);
    /* A host whose kernel takes in what was sent is there, though the process may be stopped. */
    const int host_answers =
        ioctl(hb->line[silent].fd, SIOCOUTQ, &unread) == 0 && unread < (int)(2 * sizeof(dn_beat));
    snprintf(reason, sizeof reason, "no sign of life for %.0f s, its host %s%s",
             now - hb->peer[silent].heard, host_answers ? "answers" : "does not answer", more);
    if (!is_reporter(hb))
        end_after_report(hb);
    dn_heartbeat_end_as_lost(hb, silent, reason);
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
void dn_heartbeat_end_of_peer(dn_heartbeat *hb, int rank, const char *error, double now)
{
    char reason[256];
    if (error)
        snprintf(reason, sizeof reason, "%s", error);
    else
        explain_end(hb, rank, reason, sizeof reason);
    if (!dn_preempt_is_urgent() || dn_limit_kills("") > hb->oom_kills)
        dn_heartbeat_end_as_lost(hb, rank, reason);
    close(hb->line[rank].fd);
    hb->line[rank].fd = -1;
    hb->end = fmin(hb->end, now + stop_seconds);
}

_Noreturn void dn_heartbeat_end_with(int status)
{
    park_others();
    _exit(status);
}
