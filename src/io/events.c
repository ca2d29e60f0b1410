/* TensorBoard's event files, encoded by protobuf-c; see events.h. */
#include "io/events.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dn/file.h"
#include "dn/tfrecord.h"
#include "event.pb-c.h"
#include "io/metrics_file.h"

struct dn_events {
    char path[PATH_MAX];
    FILE *file;
    dn_buffer buffer; /* of an encoded message */
};

static dn_status events_failure(const dn_events *e)
{
    return dn_fail(DN_EIO, "%s: cannot write: %s", e->path, strerror(errno));
}

/* Appends the event with the current time. */
static dn_status append_event(dn_events *e, Tensorflow__Event event)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    event.wall_time = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    const size_t size = tensorflow__event__get_packed_size(&event);
    DN_TRY(dn_buffer_grow(&e->buffer, size));
    tensorflow__event__pack(&event, e->buffer.bytes);
    return dn_tfrecord_append(e->file, e->buffer.bytes, size) == DN_OK ? DN_OK : events_failure(e);
}

static dn_status append_scalar(dn_events *e, int64_t step, char *tag, double number)
{
    Tensorflow__Summary__Value value = TENSORFLOW__SUMMARY__VALUE__INIT, *values = &value;
    Tensorflow__Summary summary = TENSORFLOW__SUMMARY__INIT;
    Tensorflow__Event event = TENSORFLOW__EVENT__INIT;
    value.tag = tag;
    value.value_case = TENSORFLOW__SUMMARY__VALUE__VALUE_SIMPLE_VALUE;
    value.simple_value = (float)number;
    summary.n_value = 1;
    summary.value = &values;
    event.step = step;
    event.what_case = TENSORFLOW__EVENT__WHAT_SUMMARY;
    event.summary = &summary;
    return append_event(e, event);
}

/* TensorBoard groups tags with the same prefix before the slash. */
static void name_scalar(char *tag, size_t size, const char *kind, const char *key)
{
    const char *const part = strrchr(key, '_');
    const dn_score_row *row;
    snprintf(tag, size, "%s/%s", kind, key);
    if (strcmp(key, "lr") == 0)
        snprintf(tag, size, "%s", key);
    for (int i = 0; part && (row = dn_score_row_get(i)) != NULL; i++)
        if (row->suffix && strcmp(part + 1, row->suffix) == 0)
            snprintf(tag, size, "%.*s/%s", (int)(part - key), key, part + 1);
}

/* Appends numbers by classes. */
static dn_status append_classes(dn_events *e, int64_t step, const char *key, json_t *numbers)
{
    const char *name;
    json_t *number;
    json_object_foreach(numbers, name, number)
    {
        char tag[512];
        snprintf(tag, sizeof tag, "%s/%s", key, name);
        if (json_is_number(number))
            DN_TRY(append_scalar(e, step, tag, json_number_value(number)));
    }
    return DN_OK;
}

dn_status dn_events_add(dn_events *e, int64_t step, const char *kind, json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        char tag[64];
        DN_TRY(append_classes(e, step, key, value));
        if (!json_is_number(value))
            continue;
        name_scalar(tag, sizeof tag, kind, key);
        DN_TRY(append_scalar(e, step, tag, json_number_value(value)));
    }
    return fflush(e->file) == 0 ? DN_OK : events_failure(e);
}

/* The required file version, and the start of a session, at which TensorBoard discards what it has
 * read of that step and later ones. */
static dn_status append_head(dn_events *e, int64_t done)
{
    Tensorflow__Event version = TENSORFLOW__EVENT__INIT, start = TENSORFLOW__EVENT__INIT;
    Tensorflow__SessionLog session = TENSORFLOW__SESSION_LOG__INIT;
    version.what_case = TENSORFLOW__EVENT__WHAT_FILE_VERSION;
    version.file_version = (char *)"brain.Event:2";
    session.status = TENSORFLOW__SESSION_LOG__SESSION_STATUS__START;
    start.step = done + 1;
    start.what_case = TENSORFLOW__EVENT__WHAT_SESSION_LOG;
    start.session_log = &session;
    DN_TRY(append_event(e, version));
    DN_TRY(append_event(e, start));
    return fflush(e->file) == 0 ? DN_OK : events_failure(e);
}

/* A second start within the same second uses the next second. */
static dn_status open_file(dn_events *e, const char *folder)
{
    char host[HOST_NAME_MAX + 1] = "localhost", name[HOST_NAME_MAX + 64];
    gethostname(host, sizeof host - 1);
    for (int64_t seconds = time(NULL); !e->file; seconds++) {
        snprintf(name, sizeof name, DN_EVENTS_PREFIX "%010" PRId64 ".%s", seconds, host);
        DN_TRY(dn_join_path(e->path, folder, name));
        e->file = fopen(e->path, "wxe");
        if (!e->file && errno != EEXIST)
            return events_failure(e);
    }
    return DN_OK;
}

dn_status dn_events_create(dn_events **events, const char *folder, int64_t done)
{
    dn_events *const e = *events = calloc(1, sizeof *e);
    DN_CHECK(e, DN_ENOMEM, "%s: out of memory", folder);
    dn_status status = open_file(e, folder);
    if (status == DN_OK)
        status = append_head(e, done);
    if (status != DN_OK && e->file)
        unlink(e->path);
    if (status != DN_OK)
        dn_events_destroy(events);
    return status;
}

void dn_events_destroy(dn_events **events)
{
    dn_events *const e = *events;
    *events = NULL;
    if (!e)
        return;
    if (e->file)
        fclose(e->file);
    dn_buffer_free(&e->buffer);
    free(e);
}
