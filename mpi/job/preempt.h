/*
 * Preemption: the job is asked to end early, by SIGTERM, SIGHUP, SIGINT, SIGUSR1, SIGUSR2, SIGXCPU
 * (batch systems' warnings, and `ulimit -t`) or a time limit.
 *
 * A signal is only noted; the ranks tell each other in every step whether one is preempted, save
 * after it and end with DN_STOPPED. A second SIGINT ends the process at once. The time limit counts
 * from the process's start and acts as a signal does, early enough for one more step and one
 * checkpoint.
 *
 * SIGUSR1, SIGUSR2 and SIGXCPU announce an end, the other signals may begin it: mpirun kills its
 * ranks a second after SIGTERM, that of Open MPI 5 a quarter of one. They are urgent; a bell, a
 * descriptor that becomes readable, wakes who must act before the step has ended
 * (training/rescue.h). Not collective.
 */
#ifndef DN_PREEMPT_H
#define DN_PREEMPT_H

#include "dn/status.h"

/* Why: a signal's number, or one of these: the SIGTERM that mpirun sends when it is itself told to
 * end, and the time limit. */
enum { DN_PREEMPT_MPIRUN = 500, DN_PREEMPT_TIME = 1000 };

typedef struct dn_preempt {
    double limit;                        /* omp_get_wtime's seconds; infinite: none */
    double longest_step, longest_saving; /* seconds; the caller keeps them up to date */
} dn_preempt;

/* Catches the signals, but SIGHUP where it is ignored, as nohup does; ignores SIGPIPE, as the end
 * of who reads the output is not the end of the run. Before MPI starts, and once more, as it may
 * have handlers of its own, by dn_preempt_open. */
void dn_preempt_catch(void);

/* Catches the signals. The limit is `text` after `start` (omp_get_wtime's seconds); where the text
 * is empty, the end of the Slurm job that this process runs in, if any, unless it was over before:
 * a job's that a shell outlived. DN_EINVAL. */
dn_status dn_preempt_open(dn_preempt *preempt, const char *text, double start);

/* Ignores SIGHUP where the process was started so, whatever a library has made of it; before it
 * begins again, too. */
void dn_preempt_keep_hangup(void);

/* 0, or why this process should end now. */
int dn_preempt_reason(const dn_preempt *preempt);

/* 1 once an urgent signal came; also from other threads. */
int dn_preempt_is_urgent(void);

/* Readable from then on; -1 where the system gave none. */
int dn_preempt_bell(void);

/* mpirun of Open MPI 5 passes on nothing once it was told to end: after the bell, what this process
 * prints goes where mpirun's own output does. */
void dn_preempt_take_streams(void);

/* What it stopped on: "a request (SIGUSR1)", or "the time limit". */
const char *dn_preempt_name(int reason);

#endif
