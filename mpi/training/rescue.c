/* The thread that saves the state after the last step; see rescue.h. */
#include "training/rescue.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "job/preempt.h"

enum {
    GRACE_MILLISECONDS = 100, /* for the step and its checkpoint; mpirun may leave 250 */
    WATCH_MILLISECONDS = 10   /* between two looks at the child */
};

struct dn_rescue {
    pthread_t thread;
    int has_thread, end; /* an eventfd that ends it */
    pthread_mutex_t changing;
    dn_saver *saver;
    dn_claim *claim;     /* under `changing` */
    dn_checkpoint state; /* under `changing` */
    int is_swapped;      /* the same: dn_rescue_swapped */
};

/* Reports a child that crashes, which prints nothing itself: it may lack pages that MPI registered.
 */
static void watch(pid_t child, int64_t step, struct pollfd *end)
{
    int ending = 0;
    if (child <= 0)
        return;
    while (waitpid(child, &ending, WNOHANG) == 0 && poll(end, 1, WATCH_MILLISECONDS) == 0)
        ;
    if (WIFSIGNALED(ending))
        dn_warn("the state after step %" PRId64 " is not saved yet, the process that was to save "
                "it crashed (%s): see \"Forks and RDMA\" in docs/cluster.md",
                step, strsignal(WTERMSIG(ending)));
}

static void *await_bell(void *user)
{
    dn_rescue *r = user;
    pid_t child = 0;
    struct pollfd line[] = {{.fd = r->end, .events = POLLIN},
                            {.fd = dn_preempt_bell(), .events = POLLIN}};
    while (poll(line, 2, -1) < 0 && errno == EINTR)
        ;
    dn_preempt_take_streams();
    if (line[0].revents || poll(line, 1, GRACE_MILLISECONDS) != 0)
        return NULL;
    pthread_mutex_lock(&r->changing);
    if (dn_claim_keep(r->claim) == DN_OK)
        child = dn_saver_rescue(r->saver, &r->state, r->is_swapped);
    else
        dn_warn("%s", dn_message());
    const int64_t step = r->state.step;
    pthread_mutex_unlock(&r->changing);
    watch(child, step, line);
    return NULL;
}

void dn_rescue_start(dn_rescue **rescue, dn_saver *saver, dn_claim *claim,
                     const dn_checkpoint *state)
{
    dn_rescue *const r = *rescue = calloc(1, sizeof *r);
    if (r) {
        r->saver = saver;
        r->claim = claim;
        r->state = *state;
        r->end = eventfd(0, EFD_CLOEXEC);
        pthread_mutex_init(&r->changing, NULL);
        r->has_thread = r->end >= 0 && dn_preempt_start_thread(&r->thread, await_bell, r);
    }
    if (!r || !r->has_thread) {
        dn_warn(
            "cannot start a thread: a kill in a step loses the steps since the last checkpoint");
        dn_rescue_stop(rescue);
    }
}

void dn_rescue_stop(dn_rescue **rescue)
{
    dn_rescue *const r = *rescue;
    if (!r)
        return;
    if (r->has_thread) {
        eventfd_write(r->end, 1);
        pthread_join(r->thread, NULL);
    }
    if (r->end >= 0)
        close(r->end);
    pthread_mutex_destroy(&r->changing);
    free(r);
    *rescue = NULL;
}

void dn_rescue_hold(dn_rescue *r)
{
    if (r)
        pthread_mutex_lock(&r->changing);
}

void dn_rescue_release(dn_rescue *r, int64_t step)
{
    if (!r)
        return;
    r->state.step = step;
    pthread_mutex_unlock(&r->changing);
}

void dn_rescue_swapped(dn_rescue *r, int is_swapped)
{
    if (r)
        r->is_swapped = is_swapped;
}

void dn_rescue_measured(dn_rescue *r, int64_t step)
{
    if (r)
        r->state.average_step = step;
}

void dn_rescue_observed(dn_rescue *r, const dn_schedule_state *schedule,
                        const dn_monitor_state *monitor, const dn_epoch_sums *epoch_sums)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->changing);
    r->state.schedule_state = *schedule;
    r->state.monitor = *monitor;
    r->state.epoch_sums = *epoch_sums;
    pthread_mutex_unlock(&r->changing);
}
