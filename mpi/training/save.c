/* The checkpoints of a run, and its end after a failure; see run_parts.h. */
#include "training/run_parts.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>

#include "dn/run_folder.h"
#include "job/timeline.h"
#include "training/rescue.h"

void dn_run_update_rescue(const dn_run *r)
{
    const dn_epoch_sums sums = dn_metrics_epoch_sums(r->metrics);
    dn_rescue_observed(r->step.settings.rescue, &r->rate.state, &r->monitor.state, &sums);
}

void dn_run_warn_unrecorded(dn_status status)
{
    if (status != DN_OK)
        dn_warn("%s; training continues", dn_message());
}

dn_status dn_run_hash(dn_run *r)
{
    if (r->hashed == r->done)
        return DN_OK;
    r->state.hash = dn_net_hash(r->net);
    DN_TRY(dn_comm_same_hash(r->comm, r->state.hash, "weights"));
    r->hashed = r->done;
    return DN_OK;
}

/* Rank 0, before it saves: makes sure that the folder is there and this run's; recreates it if it
 * was deleted or moved. Fails if another run has taken it. */
static dn_status renew_folder(dn_run *r)
{
    dn_rescue *const rescue = r->step.settings.rescue;
    dn_rescue_hold(rescue);
    const dn_status status = dn_claim_keep(&r->claim);
    dn_rescue_release(rescue, r->done);
    DN_TRY(status);
    dn_run_warn_unrecorded(dn_metrics_keep(r->metrics));
    return DN_OK;
}

dn_status dn_run_save(dn_run *r)
{
    const double start = omp_get_wtime();
    dn_note_operation(r->comm->activity, DN_SAVING);
    dn_checkpoint_path(r->state.path, sizeof r->state.path, r->folder, r->done);
    r->state.step = r->saved = r->done;
    r->state.schedule_state = r->rate.state;
    r->state.monitor = r->monitor.state;
    r->state.epoch_sums = dn_metrics_epoch_sums(r->metrics);
    DN_TRY(dn_run_hash(r));
    dn_status status = r->comm->rank == 0 ? renew_folder(r) : DN_OK;
    if (status == DN_OK)
        status = dn_saver_start(r->saver, &r->state);
    dn_failure_keep(&r->failure, status);
    r->state.is_best = 0;
    const double seconds = fmax(omp_get_wtime() - start, dn_saver_longest(r->saver));
    r->preempt.longest_saving = fmax(r->preempt.longest_saving, seconds);
    status = dn_comm_agree(r->comm, dn_failure_report(&r->failure));
    dn_timeline_add(r->comm->timeline, DN_SPAN_SAVE, r->done, 0, start, omp_get_wtime());
    return status;
}

dn_status dn_run_finish_saving(dn_run *r)
{
    dn_failure_keep(&r->failure, dn_saver_wait(r->saver));
    return dn_comm_agree(r->comm, dn_failure_report(&r->failure));
}

dn_status dn_run_save_failed(dn_run *r, const char *what, int64_t step, dn_status status,
                             const char *state)
{
    dn_failure failure = {0};
    dn_failure_keep(&failure, status);
    dn_status saved = dn_run_save(r);
    if (saved == DN_OK)
        saved = dn_run_finish_saving(r);
    return dn_fail(
        status, "%s %" PRId64 ": %s; %s is %s %s", what, step, failure.message, state,
        saved == DN_OK ? "in" : "not saved:", saved == DN_OK ? r->state.path : dn_message());
}

enum { WAY_SIZE = PATH_MAX + 32 };

/* Rank 0: sets aside the checkpoints of the diverged step; way = the checkpoint from which another
 * learning rate can be tried. */
static dn_status set_aside_diverged(dn_run *r, char way[WAY_SIZE])
{
    dn_checkpoint_file *file;
    dn_checkpoint state;
    if (dn_saver_wait(r->saver) != DN_OK) /* a checkpoint of this step may be in progress */
        dn_warn("%s", dn_message());
    DN_TRY(renew_folder(r));
    if (r->done > 0)
        DN_TRY(dn_run_set_aside(r->folder, r->done - 1));
    DN_TRY(dn_checkpoint_open_newest(&file, r->folder, r->done, &state));
    dn_checkpoint_close(&file);
    snprintf(way, WAY_SIZE, ", from %s", state.path[0] ? state.path : "the start");
    return DN_OK;
}

dn_status dn_run_report_divergence(dn_run *r)
{
    char way[WAY_SIZE] = "";
    dn_failure failure = {0};
    dn_failure_keep(&failure, DN_EDIVERGED);
    if (r->comm->rank == 0 && set_aside_diverged(r, way) != DN_OK)
        dn_warn("%s", dn_message());
    return dn_fail(DN_EDIVERGED,
                   "%s; nothing was saved; the learning rate was %g: try a smaller --lr%s",
                   failure.message, dn_learning_rate(&r->rate, r->done), way);
}
