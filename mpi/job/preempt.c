/* Signals and the time limit; see preempt.h. */
#include "job/preempt.h"

#include <math.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What a handler can reach is global: the last signal caught, 0 before. */
static volatile sig_atomic_t caught;

static const double spare_seconds = 2; /* for agreeing, and for the processes' end */

static void note(int signal)
{
    caught = signal;
}

/* seconds = what a text as Slurm takes it means. */
static dn_status parse(const char *text, double *seconds)
{
    const char *dash = strchr(text, '-'), *time = dash ? dash + 1 : text;
    unsigned part[3] = {0};
    int end = 0;
    const int parts =
        sscanf(time, "%9u%n:%9u%n:%9u%n", &part[0], &end, &part[1], &end, &part[2], &end);
    const int is_whole = parts >= 1 && time[end] == '\0' && (!dash || parts == 3);
    const int days = dash ? (int)strspn(text, "0123456789") : 0; /* digits */
    DN_CHECK(is_whole && time + strspn(time, "0123456789:") == time + end &&
                 (!dash || (days > 0 && text + days == dash)),
             DN_EINVAL, "--time-limit: found '%s', expected MINUTES, MM:SS, HH:MM:SS or D-HH:MM:SS",
             text);
    *seconds = part[0];
    for (int i = 1; i < parts; i++)
        *seconds = 60 * *seconds + part[i];
    if (parts == 1)
        *seconds *= 60;
    *seconds += dash ? 86400.0 * atof(text) : 0;
    return DN_OK;
}

dn_status dn_preempt_open(dn_preempt *stop, const char *text, double start)
{
    const char *job_end = getenv("SLURM_JOB_END_TIME"); /* seconds since 1970 */
    double seconds = 0;
    *stop = (dn_preempt){.limit = INFINITY};
    if (text[0] != '\0') {
        DN_TRY(parse(text, &seconds));
        stop->limit = start + seconds;
    } else if (job_end != NULL && atof(job_end) > 0) {
        stop->limit = omp_get_wtime() + atof(job_end) - (double)(time(NULL) + 1);
    }
    const struct sigaction again = {.sa_handler = note, .sa_flags = SA_RESTART};
    const struct sigaction once = {.sa_handler = note, .sa_flags = SA_RESTART | SA_RESETHAND};
    sigaction(SIGTERM, &again, NULL);
    sigaction(SIGUSR1, &again, NULL);
    sigaction(SIGINT, &once, NULL);
    return DN_OK;
}

int dn_preempt_reason(const dn_preempt *stop)
{
    if (caught != 0)
        return caught;
    const double needed = spare_seconds + 2 * (stop->longest_step + stop->longest_saving);
    return omp_get_wtime() + needed > stop->limit ? DN_PREEMPT_TIME : 0;
}

const char *dn_preempt_name(int reason)
{
    return reason == SIGTERM   ? "SIGTERM"
           : reason == SIGUSR1 ? "SIGUSR1"
           : reason == SIGINT  ? "SIGINT"
                               : "the time limit";
}
