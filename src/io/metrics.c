/*
 * Reports a run in metrics.jsonl and on standard output; see include/dn/metrics.h.
 *
 * Two tallies are kept: since the last interval object, and since the last epoch object.
 */
#include "dn/metrics.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/file.h"
#include "dn/json.h"
#include "dn/terminal.h"
#include "io/metrics_file.h"

#define HASH "%016" PRIx64

static const double redraw_seconds = 0.1;

typedef struct tally {
    double start;                           /* seconds of omp_get_wtime */
    double loss, data_wait, sum_wait, norm; /* summed over steps */
    int64_t correct, steps;
    int64_t before; /* steps of earlier processes, known only by loss and correct */
    double *late;   /* (ranks) seconds that others waited for each rank */
} tally;

struct dn_metrics {
    dn_metrics_settings settings;
    dn_metrics_file file;
    dn_live progress;
    double start, last_draw, last_step_end;
    int64_t steps; /* done by this process */
    int64_t step;  /* last step of the run */
    double rate;   /* its learning rate; NaN before the process's first step */
    tally interval, epoch;
    double late[]; /* (2, ranks) for the two tallies */
};

/* The epoch of the last step, from 1. */
static int64_t last_epoch(const dn_metrics *m)
{
    const int64_t per_epoch = m->settings.steps_per_epoch;
    return (m->step + per_epoch - 1) / per_epoch;
}

static void tally_add(tally *t, const dn_metrics_values *v)
{
    t->loss += v->loss;
    t->data_wait += v->data_wait;
    t->sum_wait += v->sum_wait;
    t->norm += v->norm;
    t->correct += v->correct;
    t->late[v->late_rank] += v->late_wait;
    t->steps++;
}

static void restart_tally(const dn_metrics *m, tally *t, double start)
{
    double *const late = t->late;
    memset(late, 0, (size_t)m->settings.ranks * sizeof *late);
    *t = (tally){.start = start, .late = late};
}

typedef struct summary {
    double loss, top1, speed, seconds; /* mean, percent, images/s, duration */
} summary;

static summary summarize(const dn_metrics *m, const tally *t)
{
    const double batch = (double)m->settings.images, images = (double)t->steps * batch;
    const double scored = (double)(t->before + t->steps);
    const double seconds = m->last_step_end - t->start;
    const double speed = t->steps > 0 ? images / fmax(seconds, 1e-9) : (double)NAN;
    return (summary){t->loss / scored, 100 * (double)t->correct / (scored * batch), speed, seconds};
}

/* The "run" object as a line, NULL if out of memory. Lines "key = value" of the configuration
 * become members. */
static char *run_line(const dn_metrics *m)
{
    json_t *const config = json_object();
    const char *line = m->settings.config;
    for (const char *end; *line; line = *end ? end + 1 : end) {
        end = line + strcspn(line, "\n");
        const char *const sign = memchr(line, '=', (size_t)(end - line));
        if (!sign || sign - line < 2)
            continue;
        const size_t length = (size_t)(sign - line - 1);
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)length, line);
        json_object_set_new(config, key, json_stringn(sign + 2, (size_t)(end - sign - 2)));
    }
    const dn_metrics_settings *const s = &m->settings;
    const dn_metrics_data *const d = &s->data;
    json_t *const run = json_pack(
        "{s:s,s:I,s:I,s:I,s:I,s:i,s:s*,s:o,s:{s:s,s:o,s:i,s:b,s:I,s:I,s:I}}", "kind", "run",
        "epochs", (json_int_t)s->epochs, "steps_per_epoch", (json_int_t)s->steps_per_epoch,
        "last_step", (json_int_t)s->last_step, "images", (json_int_t)s->images, "ranks", s->ranks,
        "judge", d->judge, "config", config, "data", "name", d->name, "path", dn_json_path(d->path),
        "classes", d->classes, "multi_label", d->has_sets, "train", (json_int_t)d->train,
        "validation", (json_int_t)d->validation, "test", (json_int_t)d->test);
    char *const text = json_dumps(run, 0);
    json_decref(run);
    return text;
}

/* ---- progress ---- */

enum { LINE_SIZE = 512 };

/* "epoch 3/300 [###...] 120/780 loss ..."; time spent waiting for images is shown from 5 % on. If
 * the columns are too few for a bar, "step" takes its place. The time left is extrapolated from
 * this process's steps, evaluations included. */
static void progress_line(const dn_metrics *m, const tally *t, int columns, char line[LINE_SIZE])
{
    enum { WAIT_SHOWN = 5 };
    char epoch[64], place[96], loss[32], top1[32], speed[48], wait[32] = "", left[32], end[48];
    const int64_t per_epoch = m->settings.steps_per_epoch;
    const int64_t step = (m->step - 1) % per_epoch + 1;
    const double per_step = (omp_get_wtime() - m->start) / (double)m->steps;
    const summary s = summarize(m, t);
    const double waited = 100 * t->data_wait / fmax(s.seconds, 1e-9);
    snprintf(epoch, sizeof epoch, "epoch %" PRId64 "/%" PRId64, last_epoch(m), m->settings.epochs);
    snprintf(place, sizeof place, "step %" PRId64 "/%" PRId64, step, per_epoch);
    snprintf(loss, sizeof loss, "loss %.3f", s.loss);
    snprintf(top1, sizeof top1, "%s %.1f%%", dn_top1_name(m->settings.data.has_sets), s.top1);
    snprintf(speed, sizeof speed, "%.*f images/s", s.speed < 100 ? 2 : 0, s.speed);
    if (waited >= WAIT_SHOWN)
        snprintf(wait, sizeof wait, "(%.0f%% data wait)", fmin(waited, 100));
    dn_duration_text(fmax(per_step * (double)(m->settings.last_step - m->step), 0), left);
    snprintf(end, sizeof end, "%s left", left);
    const dn_part parts[] = {{epoch, 5}, {place, 3}, {loss, 4}, {top1, 2},
                             {speed, 6}, {wait, 1},  {end, 7}};
    const int count = sizeof parts / sizeof *parts;
    dn_fit_line(line, LINE_SIZE, 0, parts, count);
    const int bar_room = columns - (int)strlen(line) + 2; /* replaces "step" */
    if (bar_room >= DN_BAR_LEAST) {
        char bar[DN_BAR_MOST + 3];
        dn_bar_text((double)step / (double)per_epoch, bar_room, bar);
        snprintf(place, sizeof place, "%s %" PRId64 "/%" PRId64, bar, step, per_epoch);
    }
    dn_fit_line(line, LINE_SIZE, columns, parts, count);
}

static void draw_line(dn_metrics *m)
{
    char line[LINE_SIZE];
    progress_line(m, &m->epoch, dn_live_columns(&m->progress), line);
    dn_live_draw(&m->progress, line);
}

__attribute__((format(printf, 2, 3))) static void print_line(dn_metrics *m, const char *format, ...)
{
    char line[LINE_SIZE + PATH_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    dn_live_print(&m->progress, line);
}

/* Writes an object of the last step; takes `values`. */
static dn_status write_object(dn_metrics *m, const char *kind, json_t *values)
{
    return dn_metrics_file_add(&m->file, kind, last_epoch(m), m->step, values);
}

/* ---- the objects ---- */

/* Adds the speed, waiting times and gradient norm of a tally. */
static void add_times(json_t *object, const dn_metrics *m, const tally *t)
{
    const summary s = summarize(m, t);
    const int is_late = m->settings.ranks > 1 && t->steps > 0;
    int late = 0;
    for (int r = 1; r < m->settings.ranks; r++)
        late = t->late[r] > t->late[late] ? r : late;
    json_object_update_new(
        object,
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "images_per_s", dn_json_number(s.speed),
                  "lr", dn_json_number(m->rate), "seconds", dn_json_number(s.seconds), "data_wait",
                  dn_json_number(t->data_wait), "sum_wait", dn_json_number(t->sum_wait),
                  "late_rank", is_late ? json_integer(late) : json_null(), "late_wait",
                  is_late ? dn_json_number(t->late[late]) : json_null()));
    if (m->settings.has_norm)
        json_object_set_new(object, "gradient_norm", dn_json_number(t->norm / (double)t->steps));
}

static dn_status end_interval(dn_metrics *m, int is_shown)
{
    char line[LINE_SIZE];
    const summary s = summarize(m, &m->interval);
    json_t *const values =
        json_pack("{s:o, s:o}", "loss", dn_json_number(s.loss), "top1", dn_json_number(s.top1));
    add_times(values, m, &m->interval);
    if (is_shown) {
        progress_line(m, &m->interval, 0, line);
        print_line(m, "%s", line);
    }
    restart_tally(m, &m->interval, m->last_step_end);
    return write_object(m, "interval", values);
}

dn_status dn_metrics_step(dn_metrics *m, int64_t step, const dn_metrics_values *v)
{
    if (!m)
        return DN_OK;
    const double time = omp_get_wtime();
    m->step = step;
    m->rate = v->rate;
    m->last_step_end = time;
    m->steps++;
    tally_add(&m->interval, v);
    tally_add(&m->epoch, v);
    if (dn_live_is_terminal(&m->progress) && time - m->last_draw >= redraw_seconds) {
        draw_line(m);
        m->last_draw = time;
    }
    if (time - m->interval.start < m->settings.interval)
        return DN_OK;
    return end_interval(m, !dn_live_is_terminal(&m->progress));
}

dn_epoch_sums dn_metrics_epoch_sums(const dn_metrics *m)
{
    if (!m)
        return (dn_epoch_sums){0};
    const tally *t = &m->epoch;
    return (dn_epoch_sums){(double)(t->before + t->steps), t->loss, (double)t->correct};
}

/* `scores` NULL: there are none. */
static void add_scores(json_t *object, const char *name, const dn_scores *scores)
{
    const dn_score_row *row;
    char key[64];
    for (int i = 0; (row = dn_score_row_get(i)) != NULL; i++) {
        if (!row->suffix)
            continue;
        snprintf(key, sizeof key, "%s_%s", name, row->suffix);
        json_object_set_new(object, key,
                            dn_json_number(scores ? dn_score_value(scores, i) : (double)NAN));
    }
}

static void add_evaluation(json_t *object, const dn_metrics_data *data, const dn_named_scores *s)
{
    add_scores(object, s->name, &s->scores);
    if (!data->has_sets || !s->class_auroc)
        return;
    char key[64];
    json_t *const classes = json_object();
    for (int c = 0; c < data->classes; c++)
        json_object_set_new(classes, data->class_names[c], dn_json_number(s->class_auroc[c]));
    snprintf(key, sizeof key, "%s_class_auroc", s->name);
    json_object_set_new(object, key, classes);
}

const char *dn_metrics_title(const char *name)
{
    static const char *const titles[][2] = {{"val", "validation"},
                                            {"ema_val", "validation (averaged weights)"},
                                            {"ema_test", "test (averaged weights)"}};
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++)
        if (strcmp(name, titles[i][0]) == 0)
            return titles[i][1];
    return name;
}

dn_status dn_metrics_epoch(dn_metrics *m, int64_t step, uint64_t weights_hash,
                           const dn_named_scores *scores, int count)
{
    if (!m)
        return DN_OK;
    char train[64] = "", test[LINE_SIZE] = "", speed[32] = "", text[DN_SCORES_TEXT];
    m->step = step;
    const summary s = summarize(m, &m->epoch);
    if (m->epoch.steps > 0) { /* none if the run was stopped before this evaluation */
        snprintf(train, sizeof train, "  train loss %.4f  %s %.2f %%", s.loss,
                 dn_top1_name(m->settings.data.has_sets), s.top1);
        snprintf(speed, sizeof speed, "  %.1f images/s", s.speed);
    }
    json_t *const values = json_pack("{s:o, s:o}", "train_loss", dn_json_number(s.loss),
                                     "train_top1", dn_json_number(s.top1));
    add_scores(values, "test", NULL);
    for (int i = 0; i < count; i++) {
        add_evaluation(values, &m->settings.data, &scores[i]);
        dn_scores_text(&scores[i].scores, m->settings.data.classes, "  ", text);
        const size_t used = strlen(test);
        snprintf(test + used, sizeof test - used, "  %s loss %.4f  %s",
                 dn_metrics_title(scores[i].name), scores[i].scores.loss, text);
    }
    print_line(m, "epoch %" PRId64 "/%" PRId64 "%s%s%s  weights " HASH, last_epoch(m),
               m->settings.epochs, train, test, speed, weights_hash);
    add_times(values, m, &m->epoch);
    json_object_set_new(values, "weights_hash", json_sprintf(HASH, weights_hash));
    const double now = omp_get_wtime();
    restart_tally(m, &m->epoch, now);
    restart_tally(m, &m->interval, now);
    return write_object(m, "epoch", values);
}

dn_status dn_metrics_test(dn_metrics *m, int64_t step, int64_t best_epoch,
                          const dn_named_scores *scores)
{
    if (!m)
        return DN_OK;
    char text[DN_SCORES_TEXT], weights[48] = "last weights";
    m->step = step;
    if (m->interval.steps > 0)
        DN_TRY(end_interval(m, 1));
    if (best_epoch > 0)
        snprintf(weights, sizeof weights, "best epoch %" PRId64, best_epoch);
    dn_scores_text(&scores->scores, m->settings.data.classes, ", ", text);
    print_line(m, "%s, %s loss %.4f, %s", weights, dn_metrics_title(scores->name),
               scores->scores.loss, text);
    json_t *const values =
        json_pack("{s:o}", "best_epoch", best_epoch > 0 ? json_integer(best_epoch) : json_null());
    add_evaluation(values, &m->settings.data, scores);
    return write_object(m, "test", values);
}

dn_status dn_metrics_end(dn_metrics *m, int64_t step, uint64_t weights_hash, const char *checkpoint,
                         const dn_metrics_best *best, const char *reason)
{
    if (!m)
        return DN_OK;
    char duration[32], by[32] = "";
    m->step = step;
    if (m->interval.steps > 0)
        DN_TRY(end_interval(m, 1));
    if (best)
        snprintf(by, sizeof by, "%s_%s", m->settings.data.judge, best->suffix);
    const double seconds = omp_get_wtime() - m->start;
    dn_duration_text(seconds, duration);
    print_line(m, "ended after step %" PRId64 ", %s  weights " HASH "  %s", step, duration,
               weights_hash, checkpoint ? checkpoint : "");
    return write_object(
        m, "end",
        json_pack("{s:o, s:o, s:o?, s:s, s:o, s:o, s:s?}", "weights_hash",
                  json_sprintf(HASH, weights_hash), "seconds", dn_json_number(seconds),
                  "checkpoint", dn_json_path(checkpoint), "reason", reason, "best_epoch",
                  best ? json_integer((json_int_t)best->epoch) : json_null(), "best",
                  dn_json_number(best ? best->value : (double)NAN), "best_by", best ? by : NULL));
}

dn_status dn_metrics_fail(dn_metrics *m, int64_t step, const char *message)
{
    if (!m)
        return DN_OK;
    m->step = step;
    if (m->interval.steps > 0)
        DN_TRY(end_interval(m, 0));
    return write_object(m, "end",
                        json_pack("{s:n, s:o, s:n, s:s, s:o}", "weights_hash", "seconds",
                                  dn_json_number(omp_get_wtime() - m->start), "checkpoint",
                                  "reason", DN_METRICS_FAILED, "error", dn_json_path(message)));
}

/* Restores the epoch's scores from a checkpoint if it has them: one saved while the run was being
 * killed may be a step ahead of them. */
static void resume_epoch(dn_metrics *m)
{
    const dn_epoch_sums *s = &m->settings.epoch_sums;
    const int64_t steps = m->settings.done % m->settings.steps_per_epoch;
    if (s->steps != (double)steps || !isfinite(s->loss) ||
        !(s->correct >= 0 && s->correct <= (double)(steps * m->settings.images)))
        return;
    m->epoch.before = steps;
    m->epoch.loss = s->loss;
    m->epoch.correct = (int64_t)s->correct;
}

dn_status dn_metrics_create(dn_metrics **metrics, const dn_metrics_settings *settings)
{
    *metrics = NULL;
    const size_t ranks = (size_t)settings->ranks;
    dn_metrics *const m = *metrics = calloc(1, sizeof *m + 2 * ranks * sizeof m->late[0]);
    DN_CHECK(m, DN_ENOMEM, "metrics: out of memory");
    m->file.file = -1;
    m->settings = *settings;
    m->rate = (double)NAN;
    m->interval.late = m->late;
    m->epoch.late = m->late + ranks;
    m->start = m->last_step_end = m->interval.start = m->epoch.start = omp_get_wtime();
    resume_epoch(m);
    dn_live_open(&m->progress, settings->progress);
    m->step = settings->done;
    char *const run = settings->config ? run_line(m) : NULL;
    json_t *change = NULL;
    dn_status status = settings->config && !run
                           ? dn_fail(DN_ENOMEM, "metrics: out of memory")
                           : dn_metrics_file_open(&m->file, settings->folder, settings->done, run,
                                                  settings->tensorboard, &change);
    free(run);
    if (status == DN_OK && change)
        status = write_object(m, "change", json_incref(change));
    json_decref(change);
    if (status != DN_OK)
        dn_metrics_destroy(metrics);
    return status;
}

dn_status dn_metrics_complete(const dn_metrics_settings *settings, uint64_t weights_hash,
                              const char *checkpoint, const dn_metrics_best *best,
                              const char *reason)
{
    char path[PATH_MAX];
    dn_metrics *m = NULL;
    DN_TRY(dn_join_path(path, settings->folder, DN_METRICS_NAME));
    if (access(path, F_OK) != 0)
        return DN_OK;
    const int has_end = dn_metrics_has_end(settings->folder, settings->done);
    dn_status status = dn_metrics_create(&m, settings);
    if (status == DN_OK && !has_end)
        status = dn_metrics_end(m, settings->done, weights_hash, checkpoint, best, reason);
    dn_metrics_destroy(&m);
    return status;
}

dn_status dn_metrics_keep(dn_metrics *m)
{
    return m ? dn_metrics_file_keep(&m->file) : DN_OK;
}

void dn_metrics_destroy(dn_metrics **metrics)
{
    dn_metrics *m = *metrics;
    *metrics = NULL;
    if (!m)
        return;
    dn_live_close(&m->progress);
    dn_metrics_file_close(&m->file);
    free(m);
}
