/* Reads the lines of metrics.jsonl; see records.h. */
#include "report/records.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/file.h"
#include "dn/metrics.h"
#include "dn/run_folder.h"

dn_status dn_records_open(dn_records *r, const char *folder)
{
    char runs[DN_RUNS_TEXT];
    int file;
    int64_t size;
    *r = (dn_records){0};
    DN_TRY(dn_join_path(r->path, folder, DN_METRICS_NAME));
    const dn_status status = dn_file_open(r->path, &file, &size);
    DN_CHECK(status != DN_ENOENT, DN_ENOENT, "%s: found no %s, expected the folder of a run%s",
             folder, access(folder, F_OK) == 0 ? DN_METRICS_NAME " there" : "such folder",
             dn_runs_there(folder, runs));
    DN_TRY(status);
    r->file = fdopen(file, "r");
    if (!r->file)
        close(file);
    DN_CHECK(r->file, DN_ENOMEM, "%s: out of memory", r->path);
    return DN_OK;
}

dn_status dn_records_next(dn_records *r, json_t **record)
{
    json_error_t error;
    *record = NULL;
    errno = 0;
    const ssize_t size = getline(&r->line, &r->room, r->file);
    DN_CHECK(size > 0 || feof(r->file), DN_EIO, "%s: cannot read: %s", r->path, strerror(errno));
    if (size <= 0 || r->line[size - 1] != '\n')
        return DN_OK;
    r->number++;
    *record = json_loadb(r->line, (size_t)size, 0, &error);
    if (json_is_object(*record))
        return DN_OK;
    const char *const found = *record ? "another value" : error.text;
    json_decref(*record);
    *record = NULL;
    return dn_fail(DN_ECORRUPT, "%s:%" PRId64 ": found no JSON object: %s", r->path, r->number,
                   found);
}

int64_t dn_records_count(dn_records *r)
{
    int64_t lines = 0;
    for (int c; (c = getc_unlocked(r->file)) != EOF;)
        lines += c == '\n';
    rewind(r->file);
    r->number = 0;
    return lines;
}

void dn_records_close(dn_records *r)
{
    if (r->file)
        fclose(r->file);
    free(r->line);
    *r = (dn_records){0};
}

const char *dn_record_text(const json_t *record, const char *key)
{
    const char *const text = json_string_value(json_object_get(record, key));
    return text ? text : "";
}

int dn_record_is(const json_t *record, const char *kind)
{
    return strcmp(dn_record_text(record, "kind"), kind) == 0;
}
