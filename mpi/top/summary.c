/* Summarises a run from its files; see summary.h. */
#include "top/summary.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "dn/claim.h"
#include "dn/file.h"
#include "dn/metrics.h"
#include "dn/terminal.h"
#include "report/metrics_lines.h"

static const double quiet_seconds = 60; /* in addition to twice the longest interval */

/* ---- values of records, any of which may be missing ---- */

/* NaN if there is no such number. */
static double real_of(const json_t *record, const char *key)
{
    const json_t *const value = json_object_get(record, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* 0 if there is no such number, or a negative one. */
static int64_t whole_of(const json_t *record, const char *key)
{
    const int64_t value = json_integer_value(json_object_get(record, key));
    return value > 0 ? value : 0;
}

/* ---- records ---- */

static const char *metric_name(const dn_run_summary *s, int m)
{
    return m == DN_SUMMARY_LOSS ? "loss" : s->has_sets ? "auroc" : "top1";
}

/* What curves and state need of an interval or epoch; values may be NaN. */
typedef struct point {
    int is_epoch;
    int64_t step, epoch;
    double seconds; /* NaN if it has no speed, as a repeated evaluation */
    double train[DN_SUMMARY_METRICS], held_out[DN_SUMMARY_METRICS];
} point;

/* All of the file that is kept in memory. */
typedef struct history {
    point *points; /* (count), of steps that grow */
    size_t count, room;
    int has_run;
    double images; /* per step */
    json_t *last;  /* record, but for configurations */
} history;

/* Takes the configuration. Points before it have no values of what now judges the run. */
static void take_run(dn_run_summary *s, history *h, const json_t *run)
{
    const char *const judge = dn_record_text(run, "judge");
    snprintf(s->model, sizeof s->model, "%s",
             dn_record_text(json_object_get(run, "config"), "model"));
    s->has_sets = json_is_true(json_object_get(json_object_get(run, "data"), "multi_label"));
    s->epochs = whole_of(run, "epochs");
    s->last_step = whole_of(run, "last_step");
    s->ranks = whole_of(run, "ranks");
    h->images = real_of(run, "images");
    h->has_run = 1;
    if (!*judge || strcmp(judge, s->held_out) == 0)
        return;
    snprintf(s->held_out, sizeof s->held_out, "%s", judge);
    for (size_t i = 0; i < h->count; i++)
        for (int m = 0; m < DN_SUMMARY_METRICS; m++)
            h->points[i].held_out[m] = (double)NAN;
}

/* Takes the values of the newest interval or epoch. */
static void take_newest(dn_run_summary *s, const json_t *record)
{
    const double seconds = real_of(record, "seconds");
    const json_t *const late = json_object_get(record, "late_rank");
    s->speed = real_of(record, "images_per_s");
    s->rate = real_of(record, "lr");
    s->data_wait = real_of(record, "data_wait") / seconds;
    s->sum_wait = real_of(record, "sum_wait") / seconds;
    s->late_wait = real_of(record, "late_wait") / seconds;
    s->late_rank = json_is_integer(late) ? json_integer_value(late) : -1;
}

/* Removes points of steps that a record repeats; `is_epoch` is -1 for one of another kind. */
static void drop_repeated(history *h, int64_t step, int is_epoch)
{
    while (h->count > 0) {
        const point *const before = &h->points[h->count - 1];
        if (before->step < step || (before->step == step && before->is_epoch != is_epoch))
            return;
        h->count--;
    }
}

static dn_status add_point(history *h, const point *p)
{
    if (h->count == h->room) {
        h->room = h->room ? 2 * h->room : 1024;
        point *const more = realloc(h->points, h->room * sizeof *more);
        DN_CHECK(more, DN_ENOMEM, "out of memory for %zu records", h->room);
        h->points = more;
    }
    h->points[h->count++] = *p;
    return DN_OK;
}

static dn_status take_record(dn_run_summary *s, history *h, const json_t *record)
{
    const int is_epoch = dn_record_is(record, "epoch");
    const int is_timed = real_of(record, "images_per_s") > 0;
    point p = {.is_epoch = is_epoch,
               .step = whole_of(record, "step"),
               .epoch = whole_of(record, "epoch"),
               .seconds = is_timed ? real_of(record, "seconds") : (double)NAN};
    s->epoch = p.epoch;
    s->step = p.step;
    if (!is_epoch && !dn_record_is(record, "interval")) {
        drop_repeated(h, p.step, -1);
        return DN_OK;
    }
    for (int m = 0; m < DN_SUMMARY_METRICS; m++) {
        char train[16], held_out[32];
        snprintf(train, sizeof train, "%s%s", is_epoch ? "train_" : "", metric_name(s, m));
        snprintf(held_out, sizeof held_out, "%s_%s", s->held_out, metric_name(s, m));
        p.train[m] = real_of(record, train);
        p.held_out[m] = is_epoch ? real_of(record, held_out) : (double)NAN;
    }
    if (is_timed)
        take_newest(s, record);
    drop_repeated(h, p.step, is_epoch);
    return add_point(h, &p);
}

/* Reads all records; none is no error if the run's process has not written any yet. */
static dn_status read_records(dn_run_summary *s, history *h, const char *folder)
{
    dn_metrics_lines lines;
    json_t *record = NULL;
    dn_status status = dn_metrics_lines_open(&lines, folder);
    if (status == DN_ENOENT && dn_claim_look(folder) == DN_CLAIM_LIVES)
        return DN_OK;
    while (status == DN_OK && (status = dn_metrics_lines_next(&lines, &record)) == DN_OK &&
           record) {
        if (dn_record_is(record, "run")) {
            take_run(s, h, record);
            json_decref(record);
            continue;
        }
        json_decref(h->last);
        h->last = record;
        status = take_record(s, h, record);
    }
    dn_metrics_lines_close(&lines);
    return status;
}

/* ---- curves ---- */

/* *series = the finite values of metric `m` over epochs, or intervals. */
static dn_status take_series(dn_series *series, const history *h, int is_epoch, int is_held_out,
                             int m)
{
    series->step = calloc(2 * h->count + 1, sizeof *series->step);
    DN_CHECK(series->step, DN_ENOMEM, "out of memory for %zu records", h->count);
    series->value = series->step + h->count;
    for (const point *p = h->points; p < h->points + h->count; p++) {
        const double value = is_held_out ? p->held_out[m] : p->train[m];
        if (p->is_epoch != is_epoch || !isfinite(value))
            continue;
        series->step[series->count] = (double)p->step;
        series->value[series->count++] = value;
    }
    return DN_OK;
}

/* `sign`: 1 if greater is better, else -1. The loss breaks ties, as in dn_monitor. */
static void take_best(dn_summary_metric *metric, const history *h, int m, int sign)
{
    const point *best = NULL;
    for (const point *p = h->points; p < h->points + h->count; p++) {
        const double gain = best ? sign * (p->held_out[m] - best->held_out[m]) : 1;
        if (isfinite(p->held_out[m]) &&
            (gain > 0 ||
             (gain == 0 && p->held_out[DN_SUMMARY_LOSS] < best->held_out[DN_SUMMARY_LOSS])))
            best = p;
    }
    metric->best = best ? best->held_out[m] : (double)NAN;
    metric->best_epoch = best ? best->epoch : 0;
}

/* Training curves are those of intervals, or of epochs if these are shorter. *longest = seconds of
 * the longest interval, or epoch if there are no intervals. */
static dn_status take_curves(dn_run_summary *s, const history *h, double *longest)
{
    static const int signs[DN_SUMMARY_METRICS] = {-1, 1};
    size_t epochs = 0;
    for (size_t i = 0; i < h->count; i++)
        epochs += (size_t)h->points[i].is_epoch;
    for (size_t i = 0; i < h->count; i++)
        if (h->points[i].is_epoch == (epochs == h->count))
            *longest = fmax(*longest, h->points[i].seconds);
    for (int m = 0; m < DN_SUMMARY_METRICS; m++) {
        dn_summary_metric *const metric = &s->metric[m];
        DN_TRY(take_series(&metric->train, h, 2 * epochs > h->count, 0, m));
        DN_TRY(take_series(&metric->held_out, h, 1, 1, m));
        take_best(metric, h, m, signs[m]);
    }
    return DN_OK;
}

/* ---- the state ---- */

/* 1 if lost.json says that a rank was lost (mpi/job/heartbeat.h); sets the state. */
static int read_lost(dn_run_summary *s, const char *folder)
{
    char path[PATH_MAX];
    uint8_t *bytes;
    size_t size;
    if (dn_join_path(path, folder, DN_LOST_NAME) != DN_OK ||
        dn_file_load(path, &bytes, &size) != DN_OK)
        return 0;
    json_t *const lost = json_loadb((const char *)bytes, size, 0, NULL);
    const json_t *const rank = json_object_get(lost, "rank");
    if (json_is_integer(rank))
        snprintf(s->state, sizeof s->state,
                 "rank %" JSON_INTEGER_FORMAT " on host %s was lost in step %" PRId64
                 ", last heard of during %s: %s",
                 json_integer_value(rank), dn_record_text(lost, "host"), whole_of(lost, "step"),
                 dn_record_text(lost, "operation"), dn_record_text(lost, "reason"));
    free(bytes);
    json_decref(lost);
    return s->state[0] != '\0';
}

/* The state of a run that recorded its end. */
static void describe_end(dn_run_summary *s, const json_t *end)
{
    const char *const reason = dn_record_text(end, "reason");
    const int is_early = strcmp(reason, DN_METRICS_EARLY_STOP) == 0;
    s->is_finished = is_early || (s->last_step > 0 ? s->step >= s->last_step
                                                   : strcmp(reason, DN_METRICS_COMPLETE) == 0);
    if (strcmp(reason, DN_METRICS_FAILED) == 0) {
        s->is_finished = 0;
        snprintf(s->state, sizeof s->state, "%s: %s", reason, dn_record_text(end, "error"));
    } else if (s->is_finished)
        snprintf(s->state, sizeof s->state, "finished%s%s", is_early ? ": " : "",
                 is_early ? reason : "");
    else
        snprintf(s->state, sizeof s->state, "stopped%s%s; the same command resumes",
                 reason[0] ? " on " : "", reason);
}

/* The state of a run without a recorded end. */
static void describe_running(dn_run_summary *s, int is_known, double quiet, double longest)
{
    char duration[32];
    dn_duration_text(quiet, duration);
    if (quiet <= quiet_seconds + 2 * longest)
        snprintf(s->state, sizeof s->state, "%s", s->step > 0 ? "running" : "starting");
    else
        snprintf(s->state, sizeof s->state, "%s for %s",
                 is_known ? "running, but nothing new" : "no sign of life", duration);
}

/* `last` is the last record, or NULL. */
static void describe_state(dn_run_summary *s, const char *folder, const json_t *last, double quiet,
                           double longest)
{
    const dn_claim_life life = dn_claim_look(folder);
    if (life != DN_CLAIM_LIVES && read_lost(s, folder))
        return;
    if (life != DN_CLAIM_LIVES && dn_record_is(last, "end"))
        describe_end(s, last);
    else if (life == DN_CLAIM_ENDED)
        snprintf(s->state, sizeof s->state,
                 "killed or failed: its process has ended, and did not "
                 "say so here");
    else
        describe_running(s, life == DN_CLAIM_LIVES, quiet, longest);
}

/* Seconds since the run last wrote metrics.jsonl, or locked its folder. */
static double quiet_time(const char *folder)
{
    static const char *const names[] = {DN_METRICS_NAME, DN_LOCK_NAME};
    double newest = 0;
    for (int i = 0; i < 2; i++) {
        char path[PATH_MAX];
        struct stat info;
        if (dn_join_path(path, folder, names[i]) == DN_OK && stat(path, &info) == 0)
            newest = fmax(newest, (double)info.st_mtime);
    }
    return fmax((double)time(NULL) - newest, 0);
}

/* ---- all of it ---- */

dn_status dn_run_summary_read(dn_run_summary *summary, const char *folder)
{
    *summary = (dn_run_summary){.speed = (double)NAN,
                                .seconds_left = (double)NAN,
                                .rate = (double)NAN,
                                .data_wait = (double)NAN,
                                .sum_wait = (double)NAN,
                                .late_wait = (double)NAN,
                                .late_rank = -1,
                                .held_out = "test"};
    history h = {.images = (double)NAN};
    double longest = 0;
    dn_status status = read_records(summary, &h, folder);
    if (status == DN_OK)
        status = take_curves(summary, &h, &longest);
    const double left = (double)(summary->last_step - summary->step) * h.images / summary->speed;
    summary->seconds_left = left >= 0 && left < 1e12 ? left : (double)NAN;
    summary->is_headless = !h.has_run && h.last != NULL;
    if (status == DN_OK)
        describe_state(summary, folder, h.last, quiet_time(folder), longest);
    json_decref(h.last);
    free(h.points);
    return status;
}

void dn_run_summary_destroy(dn_run_summary *summary)
{
    for (int i = 0; i < DN_SUMMARY_METRICS; i++) {
        free(summary->metric[i].train.step);
        free(summary->metric[i].held_out.step);
    }
}
