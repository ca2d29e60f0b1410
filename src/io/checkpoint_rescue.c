/* A child that saves the state of a process that may be killed at any moment; see
 * include/dn/checkpoint.h. */
#include "checkpoint_saver.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_file.h"
#include "dn/child.h"

enum { CHILD_SECONDS = 600 }; /* then the child gives up */

/* Writes the net's own vectors, which nothing in a child changes. */
static dn_status write_rescued(dn_saver *s, const char *path)
{
    char *bytes;
    size_t count = 0;
    s->parameters = dn_net_view(s->net).parameters;
    s->running = dn_net_view(s->net).running;
    s->vectors = s->optimizer->vectors;
    s->state.hash = dn_net_hash(s->net);
    DN_TRY(dn_saver_check_finite(s));
    DN_TRY(dn_saver_build(s, &bytes, &count));
    DN_TRY(dn_saver_write(path, DN_RESCUED, bytes, count));
    if (s->keep > 0)
        dn_checkpoint_prune(s->folder, "", s->state.step + 1, s->keep);
    return DN_OK;
}

/* Reports what was saved. mpirun may have ended, and this process's standard error with it: then
 * the user looks at mpirun's own. */
static void say_rescued(const char *line, int launcher)
{
    if (dprintf(STDERR_FILENO, "%s", line) < 0 && launcher >= 0)
        dprintf(launcher, "%s", line);
}

static _Noreturn void save_as_child(dn_saver *s, const dn_checkpoint *state, int is_swapped,
                                    const char *path, int launcher)
{
    char line[PATH_MAX + 256];
    const dn_view net = dn_net_view(s->net);
    dn_optimizer_state optimizer = *s->optimizer;
    const int is_best_missing = s->report != DN_NO_FAILURE && s->state.is_best;
    alarm(CHILD_SECONDS);
    s->state = *state;
    if (is_best_missing) /* its write failed, and is not repeated here: a later epoch is the best */
        s->state.monitor.best_epoch = 0;
    if (is_swapped)
        dn_optimizer_swap_average(&optimizer, &net, 1);
    const dn_status status = write_rescued(s, path);
    snprintf(line, sizeof line,
             "dn_dist: the running step may be cut off: the state after step %" PRId64
             " is %s %s\n",
             state->step,
             status == DN_OK ? "saved in" : "not saved:", status == DN_OK ? path : dn_message());
    say_rescued(line, launcher);
    _exit(status != DN_OK);
}

pid_t dn_saver_rescue(dn_saver *s, const dn_checkpoint *state, int is_swapped)
{
    char path[PATH_MAX], launcher[64];
    dn_checkpoint_path(path, sizeof path, s->folder, state->step);
    if (s->written == state->step || strcmp(path, state->path) == 0)
        return 0;
    snprintf(launcher, sizeof launcher, "/proc/%d/fd/2", (int)getppid());
    pthread_mutex_lock(&s->library);
    const pid_t child = dn_child_detach();
    if (child == 0)
        save_as_child(s, state, is_swapped, path,
                      open(launcher, O_WRONLY | O_APPEND | O_NOCTTY | O_CLOEXEC));
    pthread_mutex_unlock(&s->library);
    if (child < 0)
        dn_warn("the running step may be cut off, and no process can start that saves the state "
                "after step %" PRId64 ": %s",
                state->step, strerror(errno));
    return child;
}
