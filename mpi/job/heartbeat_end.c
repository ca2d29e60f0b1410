/*
 * Ends a process whose job lost a rank, and reports the loss; see heartbeat.h. The heartbeat's
 * thread first stops all other threads, once. As they may hold locks, it allocates nothing from
 * then on.
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
#include "dn/program.h"
#include "job/preempt.h"

enum { RECORD_SECONDS = 2 }; /* for lost.json, whose file system may be lost as well */

static const double stop_seconds = 2; /* from a peer's end in a stopping job to this process's */

/* Signal handler: stops the thread for good; ends the process if lost.json takes too long or the
 * launcher wants it to end. */
void dn_heartbeat_park(int signal)
{
    if (signal != DN_PARK_SIGNAL)
        _exit(DN_EXIT_LOST);
    for (;;)
        pause();
}

/* Stops all threads but the caller: otherwise MPI, when it sees connections close, would end the
 * process with its own exit status. */
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

/* The reporter is rank 0, or if that is lost the lowest rank on another host, since ranks of one
 * host often end together. A process that had itself been stopped does not report: the others have
 * given it up. */
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

/* Prints one line to standard error, and writes lost.json if the run's folder is known. */
static void report_loss(dn_heartbeat *hb, int rank, const char *reason)
{
    const dn_peer *lost = &hb->peer[rank];
    const char *operation = dn_operation_name(lost->last.operation);
    const char *path = atomic_load(&hb->record);
    /* All ranks are in the same step; what the peer said of it may be older. */
    const int64_t own = atomic_load(&hb->activity->step);
    const int64_t step = own > lost->last.step ? own : lost->last.step;
    char text[1024];
    int size = snprintf(text, sizeof text,
                        "dn_dist: rank %d on host %s was lost in step %" PRId64
                        ", last heard of during %s: %s\n",
                        rank, lost->host, step, operation, reason);
    /* If this fails (a full disk, a launcher that ended), lost.json still has it. */
    const ssize_t said = write(STDERR_FILENO, text, (size_t)size);
    (void)said;
    if (!path)
        return;
    size = snprintf(text, sizeof text,
                    "{\"rank\": %d, \"host\": \"%s\", \"step\": %" PRId64
                    ", \"operation\": \"%s\", \"reason\": \"%s\"}\n",
                    rank, lost->host, step, operation, reason);
    /* If hosts were cut off from each other both sides report: rank 0's report wins. */
    const int how = hb->rank == 0 ? O_TRUNC : O_EXCL;
    alarm(RECORD_SECONDS);
    const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | how, 0666);
    if (file >= 0 && write(file, text, (size_t)size) == size)
        close(file);
}

/* Ends the process when the other threads are stopped. */
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

/* Ends a process that found a silent rank but is not the reporter. At the first exit mpirun tells
 * all others to end and wakes stopped ones, so the reporter, which may find the silence a period
 * later, has to exit first. */
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
    for (int r = 0; r < hb->lines; r++)
        others += hb->line[r].fd >= 0 && r != silent && now - hb->peer[r].heard > hb->deadline / 2;
    if (others > 0)
        snprintf(more, sizeof more, "; %d more ranks are as silent", others);
    /* A host whose kernel acknowledges what was sent is up, though the process may be stopped. */
    const int host_answers =
        ioctl(hb->line[silent].fd, SIOCOUTQ, &unread) == 0 && unread < (int)(2 * sizeof(dn_beat));
    snprintf(reason, sizeof reason, "no sign of life for %.0f s, its host %s%s",
             now - hb->peer[silent].heard, host_answers ? "answers" : "does not answer", more);
    if (!is_reporter(hb))
        end_after_report(hb);
    dn_heartbeat_end_as_lost(hb, silent, reason);
}

/* Only its parent knows why a process ended. But the kernel counts the processes of a cgroup that
 * it kills for lack of memory, and ranks of a host usually share a cgroup. */
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

/* A peer's process ended without a goodbye. If the job was told to stop, the launcher killed the
 * rank as part of that; unless memory ran out, after which the launcher tells the others to stop,
 * too. As this process's main thread may wait for the peer forever, it ends as well, a little
 * later. */
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
