/* Inserts the data of runs into page.html, which draws them; see page.h. */
#include "report/page.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/file.h"
#include "dn/metrics.h"
#include "dn/program.h"
#include "dn/run_folder.h"

/* Embeds a file at build time, with a zero byte at its end. */
#define FILE_OF_BUILD(name, path)                                                                  \
    extern const char name[];                                                                      \
    __asm__(".pushsection .rodata\n" #name ":\n.incbin \"" path "\"\n.byte 0\n.popsection")

FILE_OF_BUILD(dn_report_page, DN_REPORT_PAGE);
FILE_OF_BUILD(dn_report_chart, DN_REPORT_CHART);

/* ---- reading ---- */

static dn_status add_line(json_t *run, const char *path, int number, const char *line, size_t size)
{
    json_error_t error;
    json_t *const record = json_loadb(line, size, 0, &error);
    if (!json_is_object(record)) {
        const char *const found = record ? "another value" : error.text;
        json_decref(record);
        return dn_fail(DN_ECORRUPT, "%s:%d: found no JSON object: %s", path, number, found);
    }
    const char *const kind = json_string_value(json_object_get(record, "kind"));
    static const char *const parts[] = {"config", "data"};
    for (int i = 0; i < 2 && kind && strcmp(kind, "run") == 0; i++)
        if (json_is_object(json_object_get(record, parts[i])))
            json_object_set(run, parts[i], json_object_get(record, parts[i]));
    const int failed = json_array_append_new(json_object_get(run, "records"), record);
    return failed ? dn_fail(DN_ENOMEM, "%s: out of memory", path) : DN_OK;
}

dn_status dn_report_load(json_t **run, const char *folder)
{
    char path[PATH_MAX], runs[DN_RUNS_TEXT];
    uint8_t *bytes;
    size_t size;
    int number = 1;
    *run = NULL;
    DN_TRY(dn_join_path(path, folder, DN_METRICS_NAME));
    const dn_status loaded = dn_file_load(path, &bytes, &size);
    DN_CHECK(loaded != DN_ENOENT, DN_ENOENT, "%s: found no %s, expected the folder of a run%s",
             folder, access(folder, F_OK) == 0 ? DN_METRICS_NAME " there" : "such folder",
             dn_runs_there(folder, runs));
    DN_TRY(loaded);
    const char *line = (const char *)bytes, *const last = line + size, *end;
    dn_status status = DN_OK;
    *run = json_pack("{s:s+, s:{}, s:[]}", "name", "", folder, "config", "records");
    if (!*run)
        status = dn_fail(DN_EINVAL, "%s: expected a name in UTF-8", folder);
    for (; status == DN_OK && (end = memchr(line, '\n', (size_t)(last - line))); line = end + 1)
        status = add_line(*run, path, number++, line, (size_t)(end - line));
    free(bytes);
    if (status == DN_OK)
        return DN_OK;
    json_decref(*run);
    *run = NULL;
    return status;
}

/* ---- writing ---- */

/* A json_dump_callback that escapes text for an HTML script, which it must not end. */
static int append_json(const char *text, size_t size, void *to)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] == '<')
            fputs("\\u003c", to);
        else
            fputc(text[i], to);
    return ferror(to) ? -1 : 0;
}

dn_status dn_report_write(const char *path, json_t *runs)
{
    static const char chart_mark[] = "/*CHART*/", report_mark[] = "/*REPORT*/";
    const char *const chart = strstr(dn_report_page, chart_mark);
    const char *const rest = chart + strlen(chart_mark), *const report = strstr(rest, report_mark);
    char *page = NULL;
    size_t size;
    FILE *const to = open_memstream(&page, &size);
    DN_CHECK(to, DN_ENOMEM, "%s: out of memory", path);
    json_t *const all = json_pack("{s:s, s:O}", "version", dn_version(), "runs", runs);
    fprintf(to, "%.*s%s%.*s", (int)(chart - dn_report_page), dn_report_page, dn_report_chart,
            (int)(report - rest), rest);
    int failed = !all || json_dump_callback(all, append_json, to, JSON_COMPACT) != 0;
    fputs(report + strlen(report_mark), to);
    failed |= ferror(to);
    failed |= fclose(to) != 0;
    json_decref(all);
    const dn_status status =
        failed ? dn_fail(DN_ENOMEM, "%s: out of memory", path) : dn_file_write(path, page, size);
    free(page);
    return status;
}
