/*
 * metrics.jsonl (encoded by jansson) and progress on standard output; see include/dn/metrics.h.
 *
 * Two tallies run along: one since the last interval object, one since the last epoch object.
 */
#include "dn/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "dn/file.h"
#include "dn/program.h"

#define HASH "%016" PRIx64

static const double redraw_seconds = 0.1;

typedef struct tally {
    double start;                     /* seconds of omp_get_wtime */
    double loss, data_wait, sum_wait; /* summed over steps */
    int64_t correct, steps;
} tally;

struct dn_metrics {
    dn_metrics_settings settings;
    char path[PATH_MAX];
    FILE *file;
    int terminal; /* that progress ends at, a descriptor; -1: there is none */
    int has_line; /* the cursor stands behind a line that will be rewritten */
    double start, last_draw, last_step_end;
    int64_t steps; /* of this process */
    int64_t step;  /* of the run: the last one */
    double rate;   /* of that step; NaN before the process's first */
    tally interval, epoch;
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
    t->correct += v->correct;
    t->steps++;
}

typedef struct summary {
    double loss, top1, speed, seconds; /* mean, percent, images/s, since the tally's start */
} summary;

static summary summarize(const dn_metrics *m, const tally *t)
{
    const double steps = (double)t->steps, images = steps * (double)m->settings.images;
    const double seconds = m->last_step_end - t->start;
    return (summary){t->loss / steps, 100 * (double)t->correct / images,
                     images / fmax(seconds, 1e-9), seconds};
}

/* ---- the file ---- */

static dn_status metrics_failure(const dn_metrics *m)
{
    return dn_fail(DN_EIO, "%s: cannot write: %s", m->path, strerror(errno));
}

/* Whether the line is an object of a step that is done; the configuration is written anew. */
static int is_done(const dn_metrics *m, const char *line, size_t length)
{
    json_t *object = json_loadb(line, length, 0, NULL);
    const json_t *step = json_object_get(object, "step");
    const char *const kind = json_string_value(json_object_get(object, "kind"));
    const int good = json_is_integer(step) && json_integer_value(step) <= m->settings.done &&
                     !(kind && strcmp(kind, "run") == 0);
    json_decref(object);
    return good;
}

/* The "run" object as a line, NULL where there is no memory; lines "key = value" become members. */
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
    json_t *const run = json_pack("{s:s,s:o}", "kind", "run", "config", config);
    char *const text = json_dumps(run, 0);
    json_decref(run);
    return text;
}

/* Leaves the lines of steps that are done in the file, behind the run's configuration. */
static dn_status cut_back(const dn_metrics *m)
{
    uint8_t *bytes = NULL;
    size_t size = 0, kept_size;
    char *kept = NULL, *const run = m->settings.config ? run_line(m) : NULL;
    dn_status status = dn_file_load(m->path, &bytes, &size);
    FILE *const to = open_memstream(&kept, &kept_size);
    if (status == DN_ENOENT)
        status = DN_OK;
    if (!to || (m->settings.config && !run))
        status = dn_fail(DN_ENOMEM, "%s: out of memory", m->path);
    if (to && run)
        fprintf(to, "%s\n", run);
    const uint8_t *end, *line = bytes;
    for (; to && line && (end = memchr(line, '\n', (size_t)(bytes + size - line))); line = end + 1)
        if (is_done(m, (const char *)line, (size_t)(end - line)))
            fwrite(line, 1, (size_t)(end - line) + 1, to);
    if (to && fclose(to) != 0 && status == DN_OK)
        status = dn_fail(DN_ENOMEM, "%s: out of memory", m->path);
    if (status == DN_OK && (kept_size != size || (size > 0 && memcmp(kept, bytes, size) != 0)))
        status = dn_file_write(m->path, kept, kept_size);
    free(kept);
    free(run);
    free(bytes);
    return status;
}

/* A path may be of any bytes, a JSON text of UTF-8 alone. */
static json_t *json_path(const char *path)
{
    char text[4 * PATH_MAX];
    size_t used = 0;
    json_t *const string = json_string(path);
    if (string || !path)
        return string;
    for (; *path && used + 5 < sizeof text; path++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 (unsigned char)*path < 0x80 ? "%c" : "\\x%02hhX", *path);
    return json_string(text);
}

/* null where x is non-finite. */
static json_t *json_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* Appends an object, the last step's, as one line; takes `values`. */
static dn_status write_object(dn_metrics *m, const char *kind, json_t *values)
{
    json_t *object = json_pack("{s:s, s:I, s:I}", "kind", kind, "epoch", (json_int_t)last_epoch(m),
                               "step", (json_int_t)m->step);
    json_object_update(object, values);
    const int failed = json_dumpf(object, m->file, JSON_REAL_PRECISION(9)) ||
                       fputc('\n', m->file) == EOF || fflush(m->file) != 0;
    json_decref(values);
    json_decref(object);
    return failed ? metrics_failure(m) : DN_OK;
}

/* ---- progress ---- */

/* The terminal that `stream` ends at. Open MPI gives each rank a terminal of its own, wherever the
 * output goes in the end: there the launcher's standard output is the one to ask. */
static int open_terminal(FILE *stream)
{
    char path[64];
    if (!stream || !isatty(fileno(stream)))
        return -1;
    if (getenv("OMPI_COMM_WORLD_SIZE") != NULL)
        snprintf(path, sizeof path, "/proc/%d/fd/1", (int)getppid());
    else
        snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(stream));
    const int terminal = open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (terminal < 0 || isatty(terminal))
        return terminal;
    close(terminal);
    return -1;
}

enum { LINE_SIZE = 512 };

/* "epoch 3/300 [###...] 120/780 loss ..."; waiting for images shows from 5 % of the time on; where
 * the columns are too few for a bar, "step" stands in its place. The time left follows from this
 * process's steps, evaluations included. */
static void progress_line(const dn_metrics *m, const tally *t, int columns, char line[LINE_SIZE])
{
    enum { BAR_MOST = 30, BAR_LEAST = 5, WAIT_SHOWN = 5 };
    static const char full[] = "##############################",
                      empty[] = "..............................";
    char head[64], tail[192], left[32], wait[32] = "";
    const int64_t per_epoch = m->settings.steps_per_epoch;
    const int64_t place = (m->step - 1) % per_epoch + 1;
    const double per_step = (omp_get_wtime() - m->start) / (double)m->steps;
    const summary s = summarize(m, t);
    const double waited = 100 * t->data_wait / fmax(s.seconds, 1e-9);
    dn_duration_text(fmax(per_step * (double)(m->settings.last_step - m->step), 0), left);
    if (waited >= WAIT_SHOWN)
        snprintf(wait, sizeof wait, " (%.0f%% data wait)", fmin(waited, 100));
    snprintf(head, sizeof head, "epoch %" PRId64 "/%" PRId64, last_epoch(m), m->settings.epochs);
    snprintf(tail, sizeof tail,
             "%" PRId64 "/%" PRId64 " loss %.3f top-1 %.1f%% %.*f images/s%s %s left", place,
             per_epoch, s.loss, s.top1, s.speed < 100 ? 2 : 0, s.speed, wait, left);
    const int room = columns - 5 - (int)(strlen(head) + strlen(tail));
    const int bar = room < BAR_MOST ? room : BAR_MOST;
    const int done = (int)(bar * (double)place / (double)per_epoch);
    if (bar >= BAR_LEAST)
        snprintf(line, LINE_SIZE, "%s [%.*s%.*s] %s", head, done, full, bar - done, empty, tail);
    else
        snprintf(line, LINE_SIZE, "%s step %s", head, tail);
}

/* Rewrites the terminal's line. */
static void draw_line(dn_metrics *m)
{
    char line[LINE_SIZE];
    struct winsize size;
    const int is_known = ioctl(m->terminal, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    const int columns = is_known ? size.ws_col : 80;
    progress_line(m, &m->epoch, columns, line);
    fprintf(m->settings.progress, "\r%.*s\033[K", columns - 1, line);
    fflush(m->settings.progress);
    m->has_line = 1;
}

/* A line that stays; on a terminal it takes the place of the rewritten one. */
__attribute__((format(printf, 2, 3))) static void print_line(dn_metrics *m, const char *format, ...)
{
    FILE *to = m->settings.progress;
    char line[LINE_SIZE + PATH_MAX];
    if (!to)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    dn_one_line(line);
    fprintf(to, "%s%s\n", m->has_line ? "\r\033[K" : "", line);
    fflush(to);
    m->has_line = 0;
}

/* ---- the three kinds ---- */

static dn_status end_interval(dn_metrics *m, int is_shown)
{
    char line[LINE_SIZE];
    const summary s = summarize(m, &m->interval);
    const tally t = m->interval;
    if (is_shown) {
        progress_line(m, &m->interval, 0, line);
        print_line(m, "%s", line);
    }
    m->interval = (tally){.start = m->last_step_end};
    return write_object(m, "interval",
                        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "loss",
                                  json_number(s.loss), "top1", json_number(s.top1), "images_per_s",
                                  json_number(s.speed), "lr", json_number(m->rate), "seconds",
                                  json_number(s.seconds), "data_wait", json_number(t.data_wait),
                                  "sum_wait", json_number(t.sum_wait)));
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
    if (m->terminal >= 0 && time - m->last_draw >= redraw_seconds) {
        draw_line(m);
        m->last_draw = time;
    }
    if (time - m->interval.start < m->settings.interval)
        return DN_OK;
    return end_interval(m, m->terminal < 0);
}

/* Adds NAME_loss, NAME_top1 and NAME_top5 to the object. */
static void add_scores(json_t *object, const char *name, const dn_scores *scores)
{
    const struct {
        const char *key;
        double value;
    } parts[] = {{"loss", scores->loss}, {"top1", scores->top1}, {"top5", scores->top5}};
    char key[64];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(key, sizeof key, "%s_%s", name, parts[i].key);
        json_object_set_new(object, key, json_number(parts[i].value));
    }
}

dn_status dn_metrics_epoch(dn_metrics *m, int64_t step, uint64_t weights_hash,
                           const dn_named_scores *scores, int count)
{
    if (!m)
        return DN_OK;
    char train[64] = "", test[LINE_SIZE] = "", speed[32] = "";
    int used = 0;
    m->step = step;
    const summary s = summarize(m, &m->epoch);
    if (m->epoch.steps > 0) { /* none where the run was stopped before this evaluation */
        snprintf(train, sizeof train, "  train loss %.4f  top-1 %.2f %%", s.loss, s.top1);
        snprintf(speed, sizeof speed, "  %.1f images/s", s.speed);
    }
    json_t *values = json_pack("{s:o, s:o}", "train_loss", json_number(s.loss), "train_top1",
                               json_number(s.top1));
    add_scores(values, "test", &(dn_scores){(double)NAN, (double)NAN, (double)NAN});
    for (int i = 0; i < count; i++) {
        add_scores(values, scores[i].name, &scores[i].scores);
        used += snprintf(test + used, sizeof test - (size_t)used,
                         "  %s loss %.4f  top-1 %.2f %%  top-5 %.2f %%", scores[i].name,
                         scores[i].scores.loss, scores[i].scores.top1, scores[i].scores.top5);
    }
    print_line(m, "epoch %" PRId64 "/%" PRId64 "%s%s%s  weights " HASH, last_epoch(m),
               m->settings.epochs, train, test, speed, weights_hash);
    const tally t = m->epoch;
    m->epoch = m->interval = (tally){.start = omp_get_wtime()};
    json_object_update_new(
        values, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "images_per_s", json_number(s.speed),
                          "seconds", json_number(s.seconds), "data_wait", json_number(t.data_wait),
                          "sum_wait", json_number(t.sum_wait), "lr", json_number(m->rate),
                          "weights_hash", json_sprintf(HASH, weights_hash)));
    return write_object(m, "epoch", values);
}

dn_status dn_metrics_end(dn_metrics *m, int64_t step, uint64_t weights_hash, const char *checkpoint)
{
    if (!m)
        return DN_OK;
    char duration[32];
    m->step = step;
    if (m->interval.steps > 0)
        DN_TRY(end_interval(m, 1));
    const double seconds = omp_get_wtime() - m->start;
    dn_duration_text(seconds, duration);
    print_line(m, "ended after step %" PRId64 ", %s  weights " HASH "  %s", step, duration,
               weights_hash, checkpoint ? checkpoint : "");
    return write_object(m, "end",
                        json_pack("{s:o, s:o, s:o?}", "weights_hash",
                                  json_sprintf(HASH, weights_hash), "seconds", json_number(seconds),
                                  "checkpoint", json_path(checkpoint)));
}

dn_status dn_metrics_create(dn_metrics **metrics, const dn_metrics_settings *settings)
{
    *metrics = NULL;
    DN_TRY(dn_make_folders(settings->folder));
    dn_metrics *const m = *metrics = calloc(1, sizeof *m);
    DN_CHECK(m, DN_ENOMEM, "metrics: out of memory");
    snprintf(m->path, sizeof m->path, "%s/" DN_METRICS_NAME, settings->folder);
    m->settings = *settings;
    m->rate = (double)NAN;
    m->start = m->last_step_end = m->interval.start = m->epoch.start = omp_get_wtime();
    m->terminal = open_terminal(settings->progress);
    dn_status status = cut_back(m);
    if (status == DN_OK && !(m->file = fopen(m->path, "ae")))
        status = metrics_failure(m);
    if (status != DN_OK)
        dn_metrics_destroy(metrics);
    return status;
}

void dn_metrics_destroy(dn_metrics **metrics)
{
    dn_metrics *m = *metrics;
    *metrics = NULL;
    if (!m)
        return;
    if (m->has_line)
        fputc('\n', m->settings.progress);
    if (m->terminal >= 0)
        close(m->terminal);
    if (m->file)
        fclose(m->file);
    free(m);
}
