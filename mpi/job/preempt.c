/* Signal handlers and the time limit; see preempt.h. */
#include "job/preempt.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "dn/words.h"
#include "job/launcher.h"

/* Global, as handlers use them: the reason by the last signal caught (0 before), whether one was
 * urgent, the eventfd of the bell, and mpirun's process. The first two are lock-free atomics, as
 * handlers write them and other threads read them. */
static _Atomic int caught, is_urgent;
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "signal handlers store integers");
static int bell = -1;
static pid_t mpirun = -1;

static const double spare_seconds = 2; /* for agreement, and for ending the processes */

/* Read before libraries are initialised: UCX, which Open MPI 5 is linked to, installs a handler for
 * SIGHUP then, which would hide that `nohup` ignores it. */
static int ignores_hangup;

static void note_hangup(void)
{
    struct sigaction hangup;
    ignores_hangup = sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler == SIG_IGN;
}

static void (*const before_libraries)(void)
    __attribute__((section(".preinit_array"), used)) = note_hangup;

void dn_preempt_keep_hangup(void)
{
    if (ignores_hangup)
        signal(SIGHUP, SIG_IGN);
}

static void note_signal(int signal, siginfo_t *info, void *context)
{
    const int error = errno;
    (void)context;
    caught = signal == SIGTERM && info->si_pid == mpirun ? DN_PREEMPT_MPIRUN : signal;
    if (signal == SIGTERM || signal == SIGINT || signal == SIGHUP) {
        is_urgent = 1;
        eventfd_write(bell, 1);
    }
    errno = error;
}

/* *seconds = the value of a time in Slurm's format. */
static dn_status parse_time(const char *text, double *seconds)
{
    unsigned d = 0, h = 0, m = 0, s = 0;
    int end = 0;
    const char *dash = strchr(text, '-');
    if (dash) {
        sscanf(text, "%9u-%9u%n:%9u%n:%9u%n", &d, &h, &end, &m, &end, &s, &end);
    } else if (sscanf(text, "%9u:%9u:%9u%n", &h, &m, &s, &end) < 3) {
        h = s = 0;
        sscanf(text, "%9u%n:%9u%n", &m, &end, &s, &end);
    }
    /* At most one dash, and neither signs nor spaces, which sscanf would accept. */
    DN_CHECK(end > 0 && text[end] == '\0' && text[strspn(text, "0123456789:-")] == '\0' &&
                 (!dash || (dash > text && !strchr(dash + 1, '-'))),
             DN_EINVAL,
             "--time-limit: found '%s', expected MINUTES, MM:SS, HH:MM:SS, D-HH, D-HH:MM or "
             "D-HH:MM:SS",
             text);
    *seconds = 86400.0 * d + 3600.0 * h + 60.0 * m + s;
    return DN_OK;
}

void dn_preempt_catch(void)
{
    const struct sigaction again = {.sa_sigaction = note_signal,
                                    .sa_flags = SA_RESTART | SA_SIGINFO};
    const struct sigaction once = {.sa_sigaction = note_signal,
                                   .sa_flags = SA_RESTART | SA_SIGINFO | SA_RESETHAND};
    mpirun = dn_mpirun();
    if (bell < 0)
        bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sigaction(SIGTERM, &again, NULL);
    sigaction(SIGUSR1, &again, NULL);
    sigaction(SIGUSR2, &again, NULL);
    sigaction(SIGXCPU, &again, NULL);
    if (caught != SIGINT)
        sigaction(SIGINT, &once, NULL);
    if (!ignores_hangup)
        sigaction(SIGHUP, &again, NULL);
    dn_preempt_keep_hangup();
    signal(SIGPIPE, SIG_IGN);
}

/* The end of the Slurm job as seconds of omp_get_wtime; infinite without one. */
static double job_limit(void)
{
    const char *const text = getenv("SLURM_JOB_END_TIME"); /* seconds since 1970; 0: no end */
    const int64_t now = time(NULL);
    int64_t end = 0;
    if (text && text[0] && !dn_parse_whole(text, 0, INT64_MAX, &end))
        dn_warn("SLURM_JOB_END_TIME: found '%.64s', expected seconds since 1970; it is ignored",
                text);
    else if (end > 0 && end <= now)
        dn_warn("SLURM_JOB_END_TIME: found %s, which is in the past, so it is ignored", text);
    return end > now ? omp_get_wtime() + (double)(end - now - 1) : INFINITY;
}

dn_status dn_preempt_open(dn_preempt *preempt, const char *text, double start)
{
    double seconds = 0;
    *preempt = (dn_preempt){.limit = INFINITY};
    if (text[0] == '\0') {
        preempt->limit = job_limit();
    } else {
        DN_TRY(parse_time(text, &seconds));
        preempt->limit = start + seconds;
    }
    dn_preempt_catch();
    return DN_OK;
}

int dn_preempt_reason(const dn_preempt *preempt)
{
    if (caught != 0)
        return caught;
    const double needed = spare_seconds + 2 * (preempt->longest_step + preempt->longest_saving);
    return omp_get_wtime() + needed > preempt->limit ? DN_PREEMPT_TIME : 0;
}

int dn_preempt_is_urgent(void)
{
    return is_urgent;
}

int dn_preempt_bell(void)
{
    return bell;
}

void dn_preempt_take_streams(void)
{
    const int is_cut_off = caught == DN_PREEMPT_MPIRUN && dn_mpirun_is_prrte();
    for (int stream = STDOUT_FILENO; is_cut_off && stream <= STDERR_FILENO; stream++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)mpirun, stream);
        const int file = open(path, O_WRONLY | O_APPEND | O_NOCTTY | O_CLOEXEC);
        dup2(file, stream); /* fails without effect if there is none */
        close(file);
    }
}

int dn_preempt_start_thread(pthread_t *thread, void *run(void *), void *user)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const int is_started = pthread_create(thread, NULL, run, user) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return is_started;
}

const char *dn_preempt_name(int reason)
{
    return reason == SIGTERM             ? "a request (SIGTERM)"
           : reason == SIGUSR1           ? "a request (SIGUSR1)"
           : reason == SIGUSR2           ? "a request (SIGUSR2)"
           : reason == SIGXCPU           ? "a request (SIGXCPU)"
           : reason == SIGINT            ? "a request (SIGINT)"
           : reason == SIGHUP            ? "a request (SIGHUP)"
           : reason == DN_PREEMPT_MPIRUN ? "a request (Ctrl-C, SIGTERM or SIGHUP to mpirun)"
                                         : "the time limit";
}
