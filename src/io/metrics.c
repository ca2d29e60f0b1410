/*
 * metrics.jsonl (encoded by jansson) and the progress line; see include/dn/metrics.h.
 *
 * Two tallies run along: one since the last interval object, one since the last epoch object.
 */
#include "dn/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/file.h"
#include "progress.h"

static const double redraw_seconds = 0.1;

typedef struct tally {
    double start; /* seconds of omp_get_wtime */
    double loss;  /* summed over images */
    int64_t correct, images;
} tally;

struct dn_metrics {
    dn_metrics_settings settings;
    char path[PATH_MAX];
    FILE *file;
    dn_progress progress;
    double start, last_draw, last_step_end;
    int64_t first_step; /* of this process, 0 before it */
    dn_step_metrics step;
    tally interval, epoch;
};

static void tally_add(tally *t, const dn_step_metrics *step)
{
    t->loss += step->loss * (double)step->images;
    t->correct += step->correct;
    t->images += step->images;
}

static double tally_loss(const tally *t)
{
    return t->loss / (double)t->images;
}

static double tally_top1(const tally *t)
{
    return 100 * (double)t->correct / (double)t->images;
}

static double tally_speed(const tally *t, double end)
{
    return (double)t->images / fmax(end - t->start, 1e-9);
}

/* ---- the file ---- */

static dn_status file_failure(const dn_metrics *metrics)
{
    return dn_fail(DN_EIO, "%s: cannot write: %s", metrics->path, strerror(errno));
}

/* Cuts the file after its last newline. */
static dn_status drop_partial_line(const dn_metrics *metrics)
{
    if (fseeko(metrics->file, 0, SEEK_END) != 0)
        return file_failure(metrics);
    const off_t size = ftello(metrics->file);
    off_t keep = size;
    for (; keep > 0; keep--) {
        fseeko(metrics->file, keep - 1, SEEK_SET);
        if (fgetc(metrics->file) == '\n')
            break;
    }
    fseeko(metrics->file, 0, SEEK_END); /* between reading and writing, C asks for a seek */
    if (keep != size && ftruncate(fileno(metrics->file), keep) != 0)
        return file_failure(metrics);
    return DN_OK;
}

/* JSON has no NaN and no infinity. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* Appends the object as one line, and releases it. */
static dn_status write_object(dn_metrics *metrics, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_REAL_PRECISION(9)) : NULL;
    json_decref(object);
    DN_CHECK(text, DN_ENOMEM, "%s: out of memory", metrics->path);
    const int written = fprintf(metrics->file, "%s\n", text) >= 0 && fflush(metrics->file) == 0;
    free(text);
    return written ? DN_OK : file_failure(metrics);
}

static void hash_text(uint64_t hash, char text[17])
{
    snprintf(text, 17, "%016" PRIx64, hash);
}

/* ---- progress ---- */

static void duration_text(double seconds, char *text, size_t size)
{
    const long long s = (long long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, size, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, size, "%lld:%02lld", s / 60, s % 60);
}

/* Time left, from the steps this process has done and the time they took, evaluations included. */
static double time_left(const dn_metrics *metrics)
{
    const int64_t done = metrics->step.step - metrics->first_step + 1;
    const int64_t todo = metrics->settings.last_step - metrics->step.step;
    return todo > 0 ? (omp_get_wtime() - metrics->start) / (double)done * (double)todo : 0;
}

/* "epoch 3/300 " and "120/780 loss ...", between which stands a bar or the word step. */
static void progress_text(const dn_metrics *metrics, const tally *t, char head[64], char tail[160])
{
    const int64_t per_epoch = metrics->settings.steps_per_epoch, step = metrics->step.step;
    const double speed = tally_speed(t, metrics->last_step_end);
    char left[32];
    duration_text(time_left(metrics), left, sizeof left);
    snprintf(head, 64, "epoch %" PRId64 "/%" PRId64 " ", metrics->step.epoch,
             metrics->settings.epochs);
    snprintf(tail, 160, "%" PRId64 "/%" PRId64 " loss %.3f top-1 %.1f%% %.*f images/s %s left",
             (step - 1) % per_epoch + 1, per_epoch, tally_loss(t), tally_top1(t),
             speed < 100 ? 2 : 0, speed, left);
}

static void draw_line(dn_metrics *metrics)
{
    char head[64], tail[160];
    const int64_t per_epoch = metrics->settings.steps_per_epoch;
    const double share = (double)((metrics->step.step - 1) % per_epoch + 1) / (double)per_epoch;
    progress_text(metrics, &metrics->epoch, head, tail);
    dn_progress_draw(&metrics->progress, head, share, tail);
}

/* ---- the three kinds ---- */

static dn_status write_interval(dn_metrics *metrics, int show)
{
    char head[64], tail[160], line[256];
    const tally *t = &metrics->interval;
    const double end = metrics->last_step_end;
    if (show) {
        progress_text(metrics, t, head, tail);
        snprintf(line, sizeof line, "%sstep %s", head, tail);
        dn_progress_print(&metrics->progress, line);
    }
    json_t *object =
        json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "kind", "interval", "epoch",
                  (json_int_t)metrics->step.epoch, "step", (json_int_t)metrics->step.step, "loss",
                  number(tally_loss(t)), "top1", number(tally_top1(t)), "images_per_s",
                  number(tally_speed(t, end)), "lr", number(metrics->step.lr), "seconds",
                  number(end - t->start));
    metrics->interval = (tally){.start = end};
    return write_object(metrics, object);
}

dn_status dn_metrics_step(dn_metrics *metrics, const dn_step_metrics *step)
{
    if (!metrics)
        return DN_OK;
    const double time = omp_get_wtime();
    metrics->step = *step;
    metrics->last_step_end = time;
    if (!metrics->first_step)
        metrics->first_step = step->step;
    tally_add(&metrics->interval, step);
    tally_add(&metrics->epoch, step);
    if (metrics->progress.terminal >= 0 && time - metrics->last_draw >= redraw_seconds) {
        draw_line(metrics);
        metrics->last_draw = time;
    }
    if (time - metrics->interval.start < metrics->settings.interval)
        return DN_OK;
    return write_interval(metrics, metrics->progress.terminal < 0);
}

static void print_epoch(dn_metrics *metrics, const dn_epoch_metrics *epoch)
{
    char line[512], test[128] = "", hash[17];
    const tally *t = &metrics->epoch;
    hash_text(epoch->weights_hash, hash);
    if (epoch->evaluated)
        snprintf(test, sizeof test, "  test loss %.4f  top-1 %.2f %%  top-5 %.2f %%",
                 epoch->test_loss, epoch->test_top1, epoch->test_top5);
    snprintf(line, sizeof line,
             "epoch %" PRId64 "/%" PRId64
             "  train loss %.4f  top-1 %.2f %%%s  %.1f images/s  weights %s",
             metrics->step.epoch, metrics->settings.epochs, tally_loss(t), tally_top1(t), test,
             tally_speed(t, metrics->last_step_end), hash);
    dn_progress_print(&metrics->progress, line);
}

dn_status dn_metrics_epoch(dn_metrics *metrics, const dn_epoch_metrics *epoch)
{
    if (!metrics)
        return DN_OK;
    const tally *t = &metrics->epoch;
    const double end = metrics->last_step_end, none = (double)NAN;
    char hash[17];
    hash_text(epoch->weights_hash, hash);
    print_epoch(metrics, epoch);
    json_t *object =
        json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "kind", "epoch",
                  "epoch", (json_int_t)metrics->step.epoch, "step", (json_int_t)metrics->step.step,
                  "train_loss", number(tally_loss(t)), "train_top1", number(tally_top1(t)),
                  "test_loss", number(epoch->evaluated ? epoch->test_loss : none), "test_top1",
                  number(epoch->evaluated ? epoch->test_top1 : none), "test_top5",
                  number(epoch->evaluated ? epoch->test_top5 : none), "images_per_s",
                  number(tally_speed(t, end)), "seconds", number(end - t->start), "lr",
                  number(metrics->step.lr), "weights_hash", hash);
    metrics->epoch = metrics->interval = (tally){.start = omp_get_wtime()};
    return write_object(metrics, object);
}

dn_status dn_metrics_end(dn_metrics *metrics, const dn_end_metrics *end)
{
    if (!metrics)
        return DN_OK;
    char hash[17], seconds[32], line[PATH_MAX + 128];
    if (metrics->interval.images > 0)
        DN_TRY(write_interval(metrics, 1));
    hash_text(end->weights_hash, hash);
    duration_text(omp_get_wtime() - metrics->start, seconds, sizeof seconds);
    snprintf(line, sizeof line, "ended after step %" PRId64 ", %s  weights %s  %s", end->step,
             seconds, hash, end->checkpoint ? end->checkpoint : "");
    dn_progress_print(&metrics->progress, line);
    return write_object(metrics, json_pack("{s:s, s:I, s:I, s:s, s:o, s:s?}", "kind", "end",
                                           "epoch", (json_int_t)end->epoch, "step",
                                           (json_int_t)end->step, "weights_hash", hash, "seconds",
                                           number(omp_get_wtime() - metrics->start), "checkpoint",
                                           end->checkpoint));
}

dn_status dn_metrics_create(dn_metrics **metrics, const dn_metrics_settings *settings)
{
    *metrics = NULL;
    DN_TRY(dn_make_folders(settings->folder));
    dn_metrics *const m = *metrics = calloc(1, sizeof *m);
    DN_CHECK(m, DN_ENOMEM, "metrics: out of memory");
    snprintf(m->path, sizeof m->path, "%s/metrics.jsonl", settings->folder);
    m->settings = *settings;
    m->start = m->last_step_end = m->interval.start = m->epoch.start = omp_get_wtime();
    dn_progress_open(&m->progress, settings->progress);
    m->file = fopen(m->path, "a+e");
    const dn_status status = m->file ? drop_partial_line(m) : file_failure(m);
    if (status != DN_OK)
        dn_metrics_destroy(metrics);
    return status;
}

void dn_metrics_destroy(dn_metrics **metrics)
{
    dn_metrics *m = *metrics;
    if (m && m->file)
        fclose(m->file);
    if (m)
        dn_progress_close(&m->progress);
    free(m);
    *metrics = NULL;
}
