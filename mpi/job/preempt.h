/*
 * Preemption: a request to end the job early, by SIGTERM, SIGHUP, SIGINT, SIGUSR1, SIGUSR2, SIGXCPU
 * (warnings of batch systems, and `ulimit -t`) or a time limit.
 *
 * The handler only records the signal. In every step the ranks agree on whether one of them is
 * preempted; after that step they save and end with DN_STOPPED. A second SIGINT ends the process at
 * once. The time limit counts from the process's start and acts like a signal, early enough for one
 * more step and a checkpoint.
 *
 * SIGUSR1, SIGUSR2 and SIGXCPU announce an end in advance. After the other signals the process may
 * be killed soon (mpirun kills its ranks one second after SIGTERM, that of Open MPI 5 after a
 * quarter), so they are urgent: the bell, a file descriptor, becomes readable and wakes threads
 * that must act before the step ends (training/rescue.h). Not collective.
 */
#ifndef DN_PREEMPT_H
#define DN_PREEMPT_H

#include <pthread.h>

#include "dn/status.h"

/* The reason is a signal's number or one of these: the SIGTERM that mpirun sends when it was itself
 * told to end, and the time limit. */
enum { DN_PREEMPT_MPIRUN = 500, DN_PREEMPT_TIME = 1000 };

typedef struct dn_preempt {
    double limit;                        /* seconds of omp_get_wtime; infinite: none */
    double longest_step, longest_saving; /* seconds; the caller keeps them up to date */
} dn_preempt;

/* Installs the handlers, except for SIGHUP if it is ignored, as under nohup. Ignores SIGPIPE, as
 * the run outlives the reader of its output. Call it before MPI starts; dn_preempt_open does it
 * again, as MPI may install its own handlers. */
void dn_preempt_catch(void);

/* Installs the handlers and sets the limit: the time `text` after `start` (in seconds of
 * omp_get_wtime). If the text is empty it is the end of this process's Slurm job, if any; an end in
 * the past, inherited from a job that is over, and one that is no number are ignored with a
 * warning. DN_EINVAL. */
dn_status dn_preempt_open(dn_preempt *preempt, const char *text, double start);

/* Ignores SIGHUP again if the process was started so, as a library may have installed a handler.
 * Also called before execv. */
void dn_preempt_keep_hangup(void);

/* The reason why this process should end now, or 0. */
int dn_preempt_reason(const dn_preempt *preempt);

/* 1 after an urgent signal. Any thread may call it. */
int dn_preempt_is_urgent(void);

/* The descriptor that is readable after an urgent signal; -1 if none could be created. */
int dn_preempt_bell(void);

/* Redirects this process's output to mpirun's own. To be called after the bell, as mpirun of Open
 * MPI 5 forwards nothing once it was told to end. */
void dn_preempt_take_streams(void);

/* Starts a thread that handles no signals, which the main thread does. Returns 1 on success. */
int dn_preempt_start_thread(pthread_t *thread, void *run(void *), void *user);

/* The reason as messages have it: "a request (SIGUSR1)" or "the time limit". */
const char *dn_preempt_name(int reason);

#endif
