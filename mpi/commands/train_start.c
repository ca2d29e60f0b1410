/* Finds and loads what a run starts from, its own checkpoint or the weights of --init-from, and
 * sends it to all ranks; see train_parts.h. */
#include "commands/train_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands/from_options.h"
#include "commands/init_from.h"
#include "commands/trained.h"
#include "dn/file.h"
#include "dn/run_folder.h"

static const double slow_disk = 20e6; /* bytes/s */

/* Finds the checkpoint to resume from, in the folder one of a step below `limit`, and reads its
 * configuration. Locks the folder before it looks there. Rank 0. */
static dn_status find_checkpoint(dn_run *r, const char *resume, int64_t limit)
{
    const int is_auto = strcmp(resume, "auto") == 0;
    if (!is_auto && strcmp(resume, "none") != 0) {
        char runs[DN_RUNS_TEXT];
        DN_CHECK(
            access(resume, F_OK) == 0, DN_ENOENT,
            "--resume: found no file '%s', expected auto, none, a checkpoint or a run's folder",
            resume);
        if (!dn_is_folder(resume))
            return dn_checkpoint_open(&r->from, resume, &r->state);
        DN_TRY(dn_checkpoint_open_newest(&r->from, resume, INT64_MAX, &r->state));
        DN_CHECK(r->from, DN_ENOENT,
                 "--resume %s: found no checkpoint-STEP.h5, expected the folder of a run%s", resume,
                 dn_runs_there(resume, runs));
        return DN_OK;
    }
    DN_TRY(dn_claim_take(&r->claim, r->folder));
    if (!is_auto)
        return DN_OK;
    const dn_status status = dn_checkpoint_open_newest(&r->from, r->folder, limit, &r->state);
    DN_CHECK(status == DN_OK, status, "%s%s", dn_message(),
             status == DN_ECORRUPT ? " (--resume none starts anew)" : "");
    DN_CHECK(r->from || limit == INT64_MAX, DN_ECORRUPT,
             "%s: found no checkpoint before step %" PRId64
             ", whose is not readable (--resume none "
             "starts anew)",
             r->folder, limit);
    return DN_OK;
}

/* A run that starts has the model of --init-from unless one was given. */
static dn_status take_model(const dn_run *r, dn_options *o)
{
    if (o->init_from[0] == '\0' || dn_options_given(o, "model"))
        return DN_OK;
    DN_TRY(DN_ON_RANK_0(r->comm, dn_init_model(o)));
    dn_comm_broadcast(r->comm, o->model, sizeof o->model);
    return DN_OK;
}

/* A run that resumes keeps its data unless others were given. */
static dn_status take_folder(const dn_run *r, dn_options *o)
{
    if (r->state.folder[0] == '\0' || dn_options_given(o, "data"))
        return DN_OK;
    DN_TRY(DN_ON_RANK_0(r->comm, dn_learnt_folder(&r->state)));
    strcpy(o->data, r->state.folder);
    return DN_OK;
}

dn_status dn_train_find_start(dn_run *r, dn_options *o, int64_t limit, dn_options *recorded)
{
    const int is_named = o->out[0] || o->recipe[0]; /* the folder, whatever the model */
    DN_TRY(is_named ? DN_OK : take_model(r, o));
    DN_TRY(dn_options_folder(o, r->folder, sizeof r->folder)); /* the same on all ranks */
    DN_TRY(DN_ON_RANK_0(r->comm, find_checkpoint(r, o->resume, limit)));
    dn_comm_broadcast(r->comm, &r->state, sizeof r->state);
    if (r->state.path[0] == '\0')
        return is_named ? take_model(r, o) : DN_OK;
    recorded->given = 0;
    DN_TRY(dn_comm_agree(r->comm, dn_options_resume(recorded, &r->state)));
    DN_TRY(dn_comm_agree(r->comm, dn_options_resume(o, &r->state)));
    DN_TRY(take_folder(r, o));
    /* The folder may be named after the model, which is known only now. */
    DN_TRY(dn_options_folder(o, r->folder, sizeof r->folder));
    return DN_ON_RANK_0(r->comm, dn_claim_take(&r->claim, r->folder));
}

/* The averaged weights start as the weights. */
static void begin_average(dn_run *r)
{
    const dn_view net = dn_net_view(r->net);
    float *const average = r->step.optimizer.average;
    memcpy(average, net.parameters, net.parameter_count * sizeof *average);
    memcpy(average + net.parameter_count, net.running, net.running_count * sizeof *average);
}

/* Rank 0 reads the weights to resume or start from into its net. */
static dn_status read_weights(dn_run *r, const dn_options *o)
{
    if (r->from) {
        DN_TRY(dn_checkpoint_load(r->from, r->net, &r->step.optimizer));
        dn_info("resumed from %s at step %" PRId64, r->state.path, r->state.step);
    } else if (o->init_from[0] != '\0') {
        DN_TRY(dn_init_from(r->net, o, dn_shards_manifest(r->train.shards)));
    }
    if (r->step.optimizer.average != NULL && r->state.path[0] == '\0')
        begin_average(r);
    dn_checkpoint_close(&r->from);
    return DN_OK;
}

/* Broadcasts rank 0's weights and optimizer state. */
static void share_state(dn_run *r)
{
    const size_t parameters = dn_net_view(r->net).parameter_count * sizeof(float);
    const size_t states = r->step.optimizer.floats * sizeof(float);
    dn_share_weights(r->comm, r->net);
    dn_comm_broadcast(r->comm, r->step.optimizer.vectors, states);
    r->done = r->state.step;
    /* An estimate until a checkpoint has been timed. */
    r->preempt.longest_saving = (double)(parameters + states) / slow_disk;
}

dn_status dn_train_load_start(dn_run *r, const dn_options *o, int64_t *limit)
{
    const dn_status status = DN_ON_RANK_0(r->comm, read_weights(r, o));
    if (status == DN_ECORRUPT && r->state.path[0] && strcmp(o->resume, "auto") == 0) {
        dn_warn("the newest checkpoint is skipped: %s", dn_message());
        *limit = r->state.step;
    }
    DN_TRY(status);
    share_state(r);
    return DN_OK;
}

/* ---- the best epoch ---- */

/* 1 if the file is the checkpoint of the run's best epoch. Rank 0. */
static int is_of_best(const dn_run *r, const char *path)
{
    const dn_monitor_state *const m = &r->monitor.state;
    dn_checkpoint_file *file;
    dn_checkpoint c;
    const dn_status status = dn_checkpoint_open(&file, path, &c);
    dn_checkpoint_close(&file);
    return status == DN_OK && c.step == (int64_t)m->best_epoch * r->rate.steps_per_epoch &&
           c.monitor.best_epoch == m->best_epoch && c.monitor.best == m->best;
}

/* Returns 1 on success. A copy, as `from` may be on another file system. */
static int copy_best(const dn_run *r, const char *from, const char *best)
{
    uint8_t *bytes = NULL;
    size_t size;
    dn_status status = dn_file_load(from, &bytes, &size);
    if (status == DN_OK)
        status = dn_file_write(best, bytes, size);
    free(bytes);
    if (status == DN_OK)
        dn_info("best epoch so far, %g: %s, a copy of %s", r->monitor.state.best_epoch, best, from);
    else
        dn_warn("%s", dn_message());
    return status == DN_OK;
}

/* 1 if the folder has the best epoch's checkpoint. Rank 0. */
static int has_best(const dn_run *r, int is_auto)
{
    char best[PATH_MAX], beside[PATH_MAX + sizeof DN_CHECKPOINT_BEST];
    const char *const from = r->state.path, *const name = strrchr(from, '/');
    snprintf(beside, sizeof beside, "%.*s" DN_CHECKPOINT_BEST, name ? (int)(name + 1 - from) : 0,
             from);
    if (dn_join_path(best, r->folder, DN_CHECKPOINT_BEST) != DN_OK)
        return 0;
    const int is_there = access(best, F_OK) == 0 || errno != ENOENT;
    if (is_there && (is_auto || is_of_best(r, best)))
        return 1;
    if (is_of_best(r, from))
        return copy_best(r, from, best);
    return is_of_best(r, beside) ? copy_best(r, beside, best) : is_there;
}

void dn_train_find_best(dn_run *r, int is_auto)
{
    if (r->monitor.state.best_epoch == 0 ||
        dn_comm_max(r->comm, r->comm->rank == 0 && has_best(r, is_auto)))
        return;
    dn_info("no " DN_CHECKPOINT_BEST " in %s: a new best epoch is searched for, after epoch %g",
            r->folder, r->monitor.state.epochs);
    r->monitor.state.best_epoch = 0;
}
