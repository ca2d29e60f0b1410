/* Reads the lines of metrics.jsonl; see metrics_lines.h. */
#include "report/metrics_lines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/file.h"
#include "dn/metrics.h"
#include "dn/run_folder.h"

dn_status dn_metrics_lines_open(dn_metrics_lines *l, const char *folder)
{
    char runs[DN_RUNS_TEXT];
    int file;
    int64_t size;
    *l = (dn_metrics_lines){0};
    DN_TRY(dn_join_path(l->path, folder, DN_METRICS_NAME));
    const dn_status status = dn_file_open(l->path, &file, &size);
    DN_CHECK(status != DN_ENOENT, DN_ENOENT, "%s: found no %s, expected the folder of a run%s",
             folder, access(folder, F_OK) == 0 ? DN_METRICS_NAME " there" : "such folder",
             dn_runs_there(folder, runs));
    DN_TRY(status);
    l->file = fdopen(file, "r");
    if (!l->file)
        close(file);
    DN_CHECK(l->file, DN_ENOMEM, "%s: out of memory", l->path);
    return DN_OK;
}

dn_status dn_metrics_lines_next(dn_metrics_lines *l, json_t **record)
{
    json_error_t error;
    *record = NULL;
    errno = 0;
    const ssize_t size = getline(&l->line, &l->room, l->file);
    DN_CHECK(size > 0 || feof(l->file), DN_EIO, "%s: cannot read: %s", l->path, strerror(errno));
    if (size <= 0 || l->line[size - 1] != '\n')
        return DN_OK;
    l->number++;
    *record = json_loadb(l->line, (size_t)size, 0, &error);
    if (json_is_object(*record))
        return DN_OK;
    const char *const found = *record ? "another value" : error.text;
    json_decref(*record);
    *record = NULL;
    return dn_fail(DN_ECORRUPT, "%s:%" PRId64 ": found no JSON object: %s", l->path, l->number,
                   found);
}

int64_t dn_metrics_lines_count(dn_metrics_lines *l)
{
    int64_t lines = 0;
    for (int c; (c = getc_unlocked(l->file)) != EOF;)
        lines += c == '\n';
    rewind(l->file);
    l->number = 0;
    return lines;
}

void dn_metrics_lines_close(dn_metrics_lines *l)
{
    if (l->file)
        fclose(l->file);
    free(l->line);
    *l = (dn_metrics_lines){0};
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
