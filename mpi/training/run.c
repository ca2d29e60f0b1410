/* The steps of a run, its epochs, checkpoints and end; see run.h. */
#include "training/run.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "dn/rng.h"
#include "job/heartbeat.h"
#include "job/timeline.h"

/* ---- the steps ---- */

static dn_status open_loader(dn_run *r)
{
    const dn_run_settings *s = &r->settings;
    const int own = r->step.last - r->step.first;
    r->sequence = (dn_sequence){.first = r->step.first,
                                .last = r->step.last,
                                .virtual_ranks = r->step.virtual_ranks,
                                .batch = s->batch_size,
                                .steps = s->steps_per_epoch};
    return dn_loader_create(&r->loader,
                            &(dn_loader_settings){.source = &r->train.images,
                                                  .sequence = r->sequence,
                                                  .begin = r->done * own,
                                                  .end = s->last * own,
                                                  .shuffle = 1,
                                                  .augment = s->augment,
                                                  .seed = s->seed,
                                                  .depth = DN_READ_AHEAD * r->step.team.count});
}

/* Virtual rank `virtual_rank`'s batch of the next step. */
static dn_status load_batch(void *user, int virtual_rank, float *images, int32_t *labels)
{
    const dn_run *r = user;
    const int first = r->step.first, own = r->step.last - first;
    return dn_loader_load(r->loader, r->done * own + virtual_rank - first, images, labels);
}

/* Keeps the first failure that rank 0 meets between checkpoints, so that no work is lost to it. */
static void remember(dn_run *r, dn_status status)
{
    if (status == DN_OK || r->failure != DN_OK)
        return;
    r->failure = status;
    snprintf(r->reason, sizeof r->reason, "%s", dn_message());
}

/* The next step; the training step itself is dn_step_run (step.c). */
static dn_status train_step(dn_run *r, dn_step_result *result)
{
    const dn_run_settings *s = &r->settings;
    const int64_t epoch = r->done / s->steps_per_epoch;
    const double rate = dn_learning_rate(&r->rate, r->done);
    dn_optimizer_settings optimizer = s->optimizer;
    optimizer.rate = rate;
    DN_TRY(dn_step_run(&r->step,
                       &(dn_pass){.seed = s->seed,
                                  .step = (uint64_t)r->done,
                                  .label_smoothing = s->label_smoothing},
                       &optimizer, load_batch, r, result));
    r->done++;
    const dn_step_metrics metrics = {.epoch = epoch + 1,
                                     .step = r->done,
                                     .loss = result->loss,
                                     .correct = result->correct,
                                     .images = (int64_t)s->batch_size * r->step.virtual_ranks,
                                     .lr = rate};
    remember(r, dn_metrics_step(r->metrics, &metrics));
    return DN_OK;
}

/* ---- epochs, checkpoints, the end ---- */

/* Compares the ranks' weights; *hash is what they all have. */
static dn_status common_hash(const dn_run *r, uint64_t *hash)
{
    *hash = dn_net_hash(r->net);
    return dn_comm_same_hash(r->comm, *hash, "weights");
}

/* What rank 0 remembered, on all ranks. */
static dn_status agree_on_failure(const dn_run *r)
{
    return dn_comm_agree(r->comm,
                         r->failure == DN_OK ? DN_OK : dn_fail(r->failure, "%s", r->reason));
}

/* Starts a checkpoint; how its writing went is known when the next one starts. */
static dn_status save(dn_run *r)
{
    dn_heartbeat_doing(r->comm->heartbeat, DN_SAVING);
    dn_checkpoint_path(r->saved, sizeof r->saved, r->folder, r->done);
    r->state.step = r->done;
    r->state.schedule_state = r->rate.state;
    const double start = omp_get_wtime();
    DN_TRY(common_hash(r, &r->state.hash));
    remember(r, dn_saver_start(r->saver, &r->state));
    const double seconds = fmax(omp_get_wtime() - start, dn_saver_longest(r->saver));
    r->stop.longest_saving = fmax(r->stop.longest_saving, seconds);
    const dn_status status = agree_on_failure(r);
    dn_timeline_add(r->comm->timeline, DN_SPAN_SAVE, r->done, 0, start, omp_get_wtime());
    return status;
}

/* The numbers of a virtual rank's images in this step, all or the first and the last. */
static void list_examples(const dn_run *r, int virtual_rank, char *text, size_t size)
{
    const size_t images = (size_t)r->train.images.count;
    uint32_t *order = malloc(images * sizeof *order);
    if (order == NULL) {
        snprintf(text, size, " (no memory to order them)");
        return;
    }
    dn_random_permutation(order, images, r->settings.seed,
                          (uint64_t)(r->done / r->settings.steps_per_epoch));
    const uint32_t *example = order + dn_sequence_position(&r->sequence, r->done, virtual_rank);
    const int batch = r->settings.batch_size;
    size_t used = 0;
    for (int i = 0; i < batch && used + 1 < size; i++) {
        if (batch > 12 && i == 8) {
            i = batch - 2;
            used += (size_t)snprintf(text + used, size - used, " ...");
        }
        used += (size_t)snprintf(text + used, size - used, " %" PRIu32, example[i]);
    }
    free(order);
}

/* Saves and waits until that is written. */
static dn_status save_now(dn_run *r)
{
    DN_TRY(save(r));
    remember(r, dn_saver_wait(r->saver));
    return agree_on_failure(r);
}

/* After a step that failed, and updated nothing: saves the state before it and says what is known;
 * of one that diverged, the images of the virtual rank where it did. */
static dn_status keep_failed(dn_run *r, dn_status failure, int virtual_rank)
{
    char reason[1024], examples[256] = " none by itself", kept[PATH_MAX + 16];
    char images[PATH_MAX + 300] = "";
    snprintf(reason, sizeof reason, "%s", dn_message());
    if (failure == DN_EDIVERGED) {
        if (virtual_rank >= 0)
            list_examples(r, virtual_rank, examples, sizeof examples);
        snprintf(images, sizeof images, "; its images of %s, counted from 0:%s", r->settings.data,
                 examples);
    }
    const int is_saved = save_now(r) == DN_OK;
    snprintf(kept, sizeof kept, "%s %s",
             is_saved ? "in" : "not saved:", is_saved ? r->saved : dn_message());
    return dn_fail(failure,
                   "step %" PRId64 ": %s%s; nothing was updated, the state before the step is %s",
                   r->done + 1, reason, images, kept);
}

static dn_status end_epoch(dn_run *r)
{
    const int64_t epoch = r->done / r->settings.steps_per_epoch;
    const int every = r->settings.eval_every;
    dn_epoch_metrics metrics = {0};
    const int is_due = every > 0 && (epoch % every == 0 || r->done == r->settings.last);
    if (is_due || dn_rate_awaits(&r->rate, epoch)) {
        const double start = omp_get_wtime();
        const dn_status status = dn_evaluate(r->comm, r->net, &r->test.images, &r->stop, &metrics);
        if (status != DN_OK && status != DN_STOPPED)
            return status;
        if (status == DN_OK)
            dn_rate_observe(&r->rate, epoch, metrics.test_loss);
        dn_timeline_add(r->comm->timeline, DN_SPAN_EVALUATE, r->done, 0, start, omp_get_wtime());
    }
    DN_TRY(common_hash(r, &metrics.weights_hash));
    remember(r, dn_metrics_epoch(r->metrics, &metrics));
    return DN_OK;
}

static dn_status end_run(dn_run *r)
{
    const int64_t per_epoch = r->settings.steps_per_epoch;
    dn_end_metrics end = {.epoch = (r->done + per_epoch - 1) / per_epoch,
                          .step = r->done,
                          .checkpoint = r->saved[0] ? r->saved : r->state.path};
    DN_TRY(common_hash(r, &end.weights_hash));
    remember(r, dn_saver_wait(r->saver));
    DN_TRY(agree_on_failure(r));
    return dn_comm_agree(r->comm, dn_metrics_end(r->metrics, &end));
}

/* Saves, unless that was just done, and ends the run before its last step. */
static dn_status stop_run(dn_run *r, int reason)
{
    if (r->saved[0] == '\0' || r->state.step != r->done)
        DN_TRY(save(r));
    DN_TRY(end_run(r));
    return dn_fail(DN_STOPPED, "stopped on %s at step %" PRId64 "; run again to go on",
                   dn_preempt_name(reason), r->done);
}

/* Why to stop is agreed on in every step, and after what takes long between steps. */
static int agree_to_stop(const dn_run *r)
{
    return dn_comm_max(r->comm, dn_preempt_reason(&r->stop));
}

static dn_status run_steps(dn_run *r)
{
    const int64_t last = r->settings.last, every = r->settings.checkpoint_every;
    if (dn_rate_awaits(&r->rate, r->done / r->settings.steps_per_epoch))
        DN_TRY(end_epoch(r)); /* whose evaluation the run was stopped in */
    dn_step_result result = {.stop = agree_to_stop(r)};
    while (r->done < last && result.stop == 0) {
        const dn_status status = train_step(r, &result);
        if (status != DN_OK)
            return keep_failed(r, status, result.culprit);
        const int epoch_ends = r->done % r->settings.steps_per_epoch == 0;
        if (epoch_ends)
            DN_TRY(end_epoch(r));
        if (epoch_ends || r->done == last || (every > 0 && r->done % every == 0))
            DN_TRY(save(r));
        if (epoch_ends)
            result.stop = agree_to_stop(r);
    }
    return r->done < last ? stop_run(r, result.stop) : end_run(r);
}

dn_status dn_run_to_end(dn_run *r)
{
    DN_TRY(dn_comm_agree(r->comm, open_loader(r)));
    const dn_status status = run_steps(r);
    dn_loader_destroy(&r->loader);
    return status;
}
