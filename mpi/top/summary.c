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
#include "report/page.h"

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

static const char *text_of(const json_t *record, const char *key)
{
    const char *const text = json_string_value(json_object_get(record, key));
    return text ? text : "";
}

static int is_kind(const json_t *record, const char *kind)
{
    return strcmp(text_of(record, "kind"), kind) == 0;
}

/* ---- records ---- */

/* Removes records of steps that were repeated later, and all configurations but the last one, which
 * becomes the first record. */
static void drop_repeated(json_t *records)
{
    json_t *const kept = json_array();
    size_t index, count;
    json_t *record, *run = NULL;
    json_array_foreach(records, index, record)
    {
        const int64_t step = whole_of(record, "step");
        if (is_kind(record, "run")) {
            run = record;
            continue;
        }
        while ((count = json_array_size(kept)) > 0) {
            const json_t *const before = json_array_get(kept, count - 1);
            const int64_t done = whole_of(before, "step");
            if (done < step || (done == step && !is_kind(record, text_of(before, "kind"))))
                break;
            json_array_remove(kept, count - 1);
        }
        json_array_append(kept, record);
    }
    if (run)
        json_array_insert(kept, 0, run);
    json_array_clear(records);
    json_array_extend(records, kept);
    json_decref(kept);
}

static int count_kind(const json_t *records, const char *kind)
{
    size_t index;
    const json_t *record;
    int count = 0;
    json_array_foreach(records, index, record) count += is_kind(record, kind);
    return count;
}

/* *s = the values of a key in the records of a kind. */
static dn_status take_series(dn_series *s, const json_t *records, const char *kind, const char *key)
{
    const size_t most = json_array_size(records) + 1;
    size_t index;
    const json_t *record;
    s->step = calloc(2 * most, sizeof *s->step);
    DN_CHECK(s->step, DN_ENOMEM, "out of memory for %zu records", most);
    s->value = s->step + most;
    json_array_foreach(records, index, record)
    {
        const double value = real_of(record, key);
        if (!is_kind(record, kind) || !isfinite(value))
            continue;
        s->step[s->count] = (double)whole_of(record, "step");
        s->value[s->count++] = value;
    }
    return DN_OK;
}

static void take_best(dn_summary_metric *m, const json_t *records, const char *key, int sign)
{
    size_t index;
    const json_t *record;
    m->best = (double)NAN;
    json_array_foreach(records, index, record)
    {
        const double value = real_of(record, key);
        if (is_kind(record, "epoch") && isfinite(value) && !(sign * value <= sign * m->best)) {
            m->best = value;
            m->best_epoch = whole_of(record, "epoch");
        }
    }
}

/* Training curves are those of intervals, or of epochs if these are shorter. */
static dn_status take_metrics(dn_run_summary *s, const json_t *records)
{
    static const char *const names[] = {"loss", "top1"};
    static const int signs[] = {-1, 1}; /* 1: greater is better */
    const int is_fine = count_kind(records, "interval") >= count_kind(records, "epoch");
    for (int i = 0; i < DN_SUMMARY_METRICS; i++) {
        dn_summary_metric *const m = &s->metric[i];
        char train[16], held_out[32];
        snprintf(train, sizeof train, "%s%s", is_fine ? "" : "train_", names[i]);
        snprintf(held_out, sizeof held_out, "%s_%s", s->held_out, names[i]);
        DN_TRY(take_series(&m->train, records, is_fine ? "interval" : "epoch", train));
        DN_TRY(take_series(&m->held_out, records, "epoch", held_out));
        take_best(m, records, held_out, signs[i]);
    }
    return DN_OK;
}

/* Takes the values of the newest records. *longest = seconds of the longest interval, or epoch if
 * there are no intervals. */
static void take_newest(dn_run_summary *s, const json_t *records, double *longest)
{
    size_t index;
    const json_t *record;
    double images = (double)NAN;
    const char *const unit = count_kind(records, "interval") > 0 ? "interval" : "epoch";
    json_array_foreach(records, index, record)
    {
        const double seconds = real_of(record, "seconds");
        if (is_kind(record, "run")) {
            const json_t *const config = json_object_get(record, "config");
            snprintf(s->model, sizeof s->model, "%s", text_of(config, "model"));
            s->epochs = whole_of(record, "epochs");
            s->last_step = whole_of(record, "last_step");
            s->ranks = whole_of(record, "ranks");
            images = real_of(record, "images");
            if (*text_of(record, "judge"))
                snprintf(s->held_out, sizeof s->held_out, "%s", text_of(record, "judge"));
            continue;
        }
        s->epoch = whole_of(record, "epoch");
        s->step = whole_of(record, "step");
        const int is_timed = is_kind(record, "interval") || is_kind(record, "epoch");
        if (!is_timed || !(real_of(record, "images_per_s") > 0)) /* of a repeated evaluation */
            continue;
        const json_t *const late = json_object_get(record, "late_rank");
        s->speed = real_of(record, "images_per_s");
        s->rate = real_of(record, "lr");
        s->data_wait = real_of(record, "data_wait") / seconds;
        s->sum_wait = real_of(record, "sum_wait") / seconds;
        s->late_wait = real_of(record, "late_wait") / seconds;
        s->late_rank = json_is_integer(late) ? json_integer_value(late) : -1;
        if (is_kind(record, unit))
            *longest = fmax(*longest, seconds);
    }
    const double left = (double)(s->last_step - s->step) * images / s->speed;
    s->seconds_left = left >= 0 && left < 1e12 ? left : (double)NAN;
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
                 json_integer_value(rank), text_of(lost, "host"), whole_of(lost, "step"),
                 text_of(lost, "operation"), text_of(lost, "reason"));
    free(bytes);
    json_decref(lost);
    return s->state[0] != '\0';
}

/* The state of a run that recorded its end. */
static void describe_end(dn_run_summary *s, const json_t *end)
{
    const char *const reason = text_of(end, "reason");
    const int is_early = strcmp(reason, DN_METRICS_EARLY_STOP) == 0;
    s->is_finished = is_early || (s->last_step > 0 ? s->step >= s->last_step
                                                   : strcmp(reason, DN_METRICS_COMPLETE) == 0);
    if (strcmp(reason, DN_METRICS_FAILED) == 0) {
        s->is_finished = 0;
        snprintf(s->state, sizeof s->state, "%s: %s", reason, text_of(end, "error"));
    } else if (s->is_finished)
        snprintf(s->state, sizeof s->state, "finished%s%s", is_early ? ": " : "",
                 is_early ? reason : "");
    else
        snprintf(s->state, sizeof s->state, "stopped%s%s; the same command goes on",
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

static void describe_state(dn_run_summary *s, const char *folder, const json_t *records,
                           double quiet, double longest)
{
    const dn_claim_life life = dn_claim_look(folder);
    const size_t count = json_array_size(records);
    const json_t *const last = count > 0 ? json_array_get(records, count - 1) : NULL;
    if (life != DN_CLAIM_LIVES && read_lost(s, folder))
        return;
    if (life != DN_CLAIM_LIVES && last && is_kind(last, "end"))
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

/* *run = the run's records, none if its process has not written any yet. */
static dn_status load_run(json_t **run, const char *folder)
{
    const dn_status status = dn_report_load(run, folder);
    if (status != DN_ENOENT || dn_claim_look(folder) != DN_CLAIM_LIVES)
        return status;
    *run = json_pack("{s:[]}", "records");
    return *run ? DN_OK : dn_fail(DN_ENOMEM, "out of memory for a run");
}

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
    json_t *run;
    double longest = 0;
    DN_TRY(load_run(&run, folder));
    json_t *const records = json_object_get(run, "records");
    drop_repeated(records);
    take_newest(summary, records, &longest);
    summary->is_headless = count_kind(records, "run") == 0 && json_array_size(records) > 0;
    const dn_status status = take_metrics(summary, records);
    describe_state(summary, folder, records, quiet_time(folder), longest);
    json_decref(run);
    return status;
}

void dn_run_summary_destroy(dn_run_summary *summary)
{
    for (int i = 0; i < DN_SUMMARY_METRICS; i++) {
        free(summary->metric[i].train.step);
        free(summary->metric[i].held_out.step);
    }
}
