/* metrics.jsonl, encoded by jansson; see metrics_file.h. */
#include "io/metrics_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dn/file.h"
#include "dn/metrics.h"

static dn_status cannot_write(const dn_metrics_file *f)
{
    return dn_fail(DN_EIO, "%s: cannot write: %s", f->path, strerror(errno));
}

static int is_kind(const json_t *object, const char *kind)
{
    const char *const own = json_string_value(json_object_get(object, "kind"));
    return own && strcmp(own, kind) == 0;
}

/* Whether the object is the end of a complete run after step `done`. */
static int is_end(const json_t *object, int64_t done)
{
    const char *const reason = json_string_value(json_object_get(object, "reason"));
    return is_kind(object, "end") && reason &&
           json_integer_value(json_object_get(object, "step")) == done &&
           (strcmp(reason, DN_METRICS_COMPLETE) == 0 || strcmp(reason, DN_METRICS_EARLY_STOP) == 0);
}

/* What is found in the file as it is cut back. */
typedef struct found {
    int64_t done;
    int has_run;    /* 1: a new "run" line replaces the file's own */
    json_t *before; /* the options of the last start */
    json_t *undone; /* their values before the changes that are not kept, in order */
} found;

/* Whether the line is kept: an object of a step that is done, or the configuration. */
static int keeps(found *f, const char *line, size_t length)
{
    json_t *object = json_loadb(line, length, 0, NULL);
    const json_t *step = json_object_get(object, "step");
    const int is_run = is_kind(object, "run");
    const int good =
        is_run ? !f->has_run : json_is_integer(step) && json_integer_value(step) <= f->done;
    if (is_run)
        json_object_update(f->before, json_object_get(object, "config"));
    else if (!good && is_kind(object, "change"))
        json_object_update_missing(f->undone, json_object_get(object, "from"));
    json_decref(object);
    return good;
}

/* {from, to} of the options that differ between `before` and the line `run`, or NULL. */
static json_t *find_change(json_t *before, const char *run)
{
    json_t *const object = run ? json_loads(run, 0, NULL) : NULL;
    json_t *const now = json_object_get(object, "config");
    json_t *change = NULL, *value;
    const char *key;
    json_object_foreach(now, key, value)
    {
        json_t *const old = json_object_get(before, key);
        if (!old || json_equal(old, value))
            continue;
        change = change ? change : json_pack("{s:{}, s:{}}", "from", "to");
        json_object_set(json_object_get(change, "from"), key, old);
        json_object_set(json_object_get(change, "to"), key, value);
    }
    json_decref(object);
    return change;
}

/* Keeps only the lines of steps that are done, after the run's configuration. */
static dn_status cut_back(dn_metrics_file *f, int64_t done, const char *run, json_t **change)
{
    found there = {done, run != NULL, json_object(), json_object()};
    uint8_t *bytes = NULL;
    size_t size = 0, kept_size;
    char *kept = NULL;
    dn_status status = dn_file_load(f->path, &bytes, &size);
    FILE *const to = open_memstream(&kept, &kept_size);
    if (status == DN_ENOENT)
        status = DN_OK;
    if (!to)
        status = dn_fail(DN_ENOMEM, "%s: out of memory", f->path);
    if (to && run)
        fprintf(to, "%s\n", run);
    const uint8_t *end, *line = bytes;
    for (; to && line && (end = memchr(line, '\n', (size_t)(bytes + size - line))); line = end + 1)
        if (keeps(&there, (const char *)line, (size_t)(end - line)))
            fwrite(line, 1, (size_t)(end - line) + 1, to);
    if (to && fclose(to) != 0 && status == DN_OK)
        status = dn_fail(DN_ENOMEM, "%s: out of memory", f->path);
    if (status == DN_OK && (kept_size != size || (size > 0 && memcmp(kept, bytes, size) != 0)))
        status = dn_file_write(f->path, kept, kept_size);
    json_object_update(there.before, there.undone);
    *change = find_change(there.before, run);
    json_decref(there.before);
    json_decref(there.undone);
    free(kept);
    free(bytes);
    return status;
}

int dn_metrics_has_end(const char *folder, int64_t done)
{
    char path[PATH_MAX];
    uint8_t *bytes;
    size_t size;
    if (dn_join_path(path, folder, DN_METRICS_NAME) != DN_OK ||
        dn_file_load(path, &bytes, &size) != DN_OK)
        return 0;
    const uint8_t *const end = memrchr(bytes, '\n', size);
    const uint8_t *const before = end ? memrchr(bytes, '\n', (size_t)(end - bytes)) : NULL;
    const uint8_t *const line = before ? before + 1 : bytes;
    json_t *const last = end ? json_loadb((const char *)line, (size_t)(end - line), 0, NULL) : NULL;
    const int has_end = is_end(last, done);
    json_decref(last);
    free(bytes);
    return has_end;
}

static dn_status open_file(dn_metrics_file *f)
{
    const int file = open(f->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0)
        return cannot_write(f);
    if (f->file >= 0)
        close(f->file);
    f->file = file;
    return DN_OK;
}

dn_status dn_metrics_file_open(dn_metrics_file *f, const char *folder, int64_t done,
                               const char *run, int has_events, json_t **change)
{
    *change = NULL;
    *f = (dn_metrics_file){.file = -1, .has_events = has_events, .step = done};
    DN_TRY(dn_make_folders(folder));
    snprintf(f->folder, sizeof f->folder, "%s", folder);
    DN_TRY(dn_join_path(f->path, folder, DN_METRICS_NAME));
    DN_TRY(cut_back(f, done, run, change));
    DN_TRY(open_file(f));
    return has_events ? dn_events_create(&f->events, folder, done) : DN_OK;
}

/* Appends all bytes, or none. */
static dn_status append(const dn_metrics_file *f, const char *bytes, size_t size)
{
    const off_t before = lseek(f->file, 0, SEEK_END);
    if (before < 0)
        return cannot_write(f);
    const dn_status status = dn_file_append(f->file, f->path, bytes, size);
    return status == DN_OK || ftruncate(f->file, before) == 0 ? status : cannot_write(f);
}

/* The object as a line, NULL if out of memory. */
static char *object_line(const char *kind, int64_t epoch, int64_t step, json_t *values)
{
    json_t *const object = json_pack("{s:s, s:I, s:I}", "kind", kind, "epoch", (json_int_t)epoch,
                                     "step", (json_int_t)step);
    char *const text =
        json_object_update(object, values) == 0 ? json_dumps(object, JSON_REAL_PRECISION(9)) : NULL;
    char *line = NULL;
    if (text && asprintf(&line, "%s\n", text) < 0)
        line = NULL;
    free(text);
    json_decref(object);
    return line;
}

/* After a failure the next object goes to another file: TensorBoard does not read past a torn
 * event. */
static dn_status add_events(dn_metrics_file *f, const char *kind, int64_t step, json_t *values)
{
    const int has_scalars = strcmp(kind, "test") == 0 || json_object_get(values, "lr");
    if (!f->has_events || !has_scalars)
        return DN_OK;
    if (!f->events)
        DN_TRY(dn_events_create(&f->events, f->folder, step));
    const dn_status status = dn_events_add(f->events, step, kind, values);
    if (status != DN_OK)
        dn_events_destroy(&f->events);
    return status;
}

dn_status dn_metrics_file_add(dn_metrics_file *f, const char *kind, int64_t epoch, int64_t step,
                              json_t *values)
{
    f->step = step;
    char *const line = object_line(kind, epoch, step, values);
    dn_status status =
        line ? append(f, line, strlen(line)) : dn_fail(DN_ENOMEM, "%s: out of memory", f->path);
    if (status == DN_OK)
        status = add_events(f, kind, step, values);
    json_decref(values);
    free(line);
    return status;
}

/* Copies the open file, which may have been removed from the folder, to its path. */
static dn_status write_again(const dn_metrics_file *f, size_t size)
{
    char *const bytes = malloc(size + 1);
    DN_CHECK(bytes, DN_ENOMEM, "%s: out of memory", f->path);
    dn_status status = dn_file_read(f->file, f->path, bytes, size, 0);
    if (status == DN_OK)
        status = dn_file_write(f->path, bytes, size);
    free(bytes);
    return status;
}

dn_status dn_metrics_file_keep(dn_metrics_file *f)
{
    struct stat own;
    if (dn_file_is_at(f->file, f->path))
        return DN_OK;
    if (fstat(f->file, &own) != 0)
        return cannot_write(f);
    DN_TRY(write_again(f, (size_t)own.st_size));
    DN_TRY(open_file(f));
    dn_events_destroy(&f->events);
    return f->has_events ? dn_events_create(&f->events, f->folder, f->step) : DN_OK;
}

void dn_metrics_file_close(dn_metrics_file *f)
{
    if (f->file >= 0)
        close(f->file);
    dn_events_destroy(&f->events);
    *f = (dn_metrics_file){.file = -1};
}
