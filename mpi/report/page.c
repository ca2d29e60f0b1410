/* Inserts the data of runs into page.html, which draws them; see page.h. */
#include "report/page.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "dn/file.h"
#include "dn/program.h"
#include "dn/run_folder.h"
#include "report/metrics_lines.h"

/* Embeds a file at build time, with a zero byte at its end. */
#define FILE_OF_BUILD(name, path)                                                                  \
    extern const char name[];                                                                      \
    __asm__(".pushsection .rodata\n" #name ":\n.incbin \"" path "\"\n.byte 0\n.popsection")

FILE_OF_BUILD(dn_report_page, DN_REPORT_PAGE);
FILE_OF_BUILD(dn_report_chart, DN_REPORT_CHART);

/* The digits of metrics.jsonl. */
static const size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(9);

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

/* ---- reading ---- */

/* Whether the member of intervals is added up over them. Of the others, real numbers are averaged
 * over the time, but `lr` and whole numbers, such as the step, are those of the last interval. */
static int is_total(const char *key)
{
    return strcmp(key, "seconds") == 0 || strcmp(key, "data_wait") == 0 ||
           strcmp(key, "sum_wait") == 0 || strcmp(key, "late_wait") == 0;
}

/* Merges `next` into the interval before it. */
static void merge(json_t *interval, json_t *next)
{
    const double before = json_number_value(json_object_get(interval, "seconds"));
    const double after = json_number_value(json_object_get(next, "seconds"));
    const double part = before + after > 0 ? after / (before + after) : 0.5;
    const char *key;
    json_t *value;
    json_object_foreach(next, key, value)
    {
        const json_t *const old = json_object_get(interval, key);
        const double x = json_number_value(old), y = json_number_value(value);
        if (json_is_number(old) && json_is_number(value) && is_total(key))
            json_object_set_new(interval, key, json_real(x + y));
        else if (json_is_real(old) && json_is_real(value) && strcmp(key, "lr") != 0)
            json_object_set_new(interval, key, json_real(x + part * (y - x)));
        else if (!json_is_null(value))
            json_object_set(interval, key, value);
    }
}

/* Copies the configuration and the data set of a "run" record to `head`. */
static void copy_head(json_t *head, const json_t *record)
{
    static const char *const parts[] = {"config", "data"};
    for (int i = 0; i < 2 && dn_record_is(record, "run"); i++)
        if (json_is_object(json_object_get(record, parts[i])))
            json_object_set(head, parts[i], json_object_get(record, parts[i]));
}

/* Writes the record after a comma, unless it is the first, and releases it; none if it is NULL.
 * Returns 0, or -1 if out of memory. */
static int write_record(json_t *record, const char **comma, FILE *to)
{
    if (!record)
        return 0;
    fputs(*comma, to);
    *comma = ",";
    const int failed = json_dump_callback(record, append_json, to, flags);
    json_decref(record);
    return failed;
}

/* Writes the records, with each `most` successive intervals merged. */
static dn_status copy_records(dn_metrics_lines *lines, int64_t most, json_t *head, FILE *to)
{
    json_t *last = NULL, *record; /* `last` is written when the next is not merged into it */
    const char *comma = "";
    int64_t merged = 0;
    int failed = 0;
    dn_status status;
    while ((status = dn_metrics_lines_next(lines, &record)) == DN_OK && record) {
        copy_head(head, record);
        if (merged < most && dn_record_is(record, "interval") && dn_record_is(last, "interval")) {
            merge(last, record);
            json_decref(record);
            merged++;
            continue;
        }
        failed |= write_record(last, &comma, to);
        last = record;
        merged = 1;
    }
    failed |= write_record(last, &comma, to);
    DN_CHECK(!failed || status != DN_OK, DN_ENOMEM, "%s: out of memory", lines->path);
    return status;
}

/* Adds the evaluation that `dn_dist eval RUN` wrote into the run's folder. */
static dn_status add_evaluation(json_t *head, const char *folder, int with_pictures)
{
    char path[PATH_MAX];
    json_error_t error;
    uint8_t *bytes;
    size_t size;
    DN_TRY(dn_join_path(path, folder, DN_EVALUATION_NAME));
    const dn_status status = dn_file_load(path, &bytes, &size);
    if (status == DN_ENOENT) {
        dn_info("%s: 'dn_dist eval %s' adds the scores of its classes and worst samples", folder,
                folder);
        return DN_OK;
    }
    DN_TRY(status);
    json_t *const evaluation = json_loadb((const char *)bytes, size, 0, &error);
    free(bytes);
    if (!json_is_object(evaluation)) {
        const char *const found = evaluation ? "another value" : error.text;
        json_decref(evaluation);
        return dn_fail(DN_ECORRUPT, "%s: found no JSON object: %s", path, found);
    }
    if (!with_pictures)
        json_object_del(evaluation, "worst");
    json_object_set_new(head, "evaluation", evaluation);
    return DN_OK;
}

/* Writes the run as an object. `head` has its name. */
static dn_status write_run(dn_metrics_lines *lines, const char *folder, int with_pictures,
                           json_t *head, FILE *to)
{
    enum {
        MOST_LINES = 2000
    }; /* of which a page shows all; its curves are less than 1240 pixels */
    DN_TRY(dn_metrics_lines_open(lines, folder));
    const int64_t count = dn_metrics_lines_count(lines);
    DN_CHECK(head, DN_EINVAL, "%s: expected a name in UTF-8", folder);
    fputs("{\"records\":[", to);
    DN_TRY(copy_records(lines, 1 + count / MOST_LINES, head, to));
    DN_TRY(add_evaluation(head, folder, with_pictures));
    fputs("],", to);
    const int failed = json_dump_callback(head, append_json, to, flags | JSON_EMBED) != 0;
    fputs("}", to);
    DN_CHECK(!failed, DN_ENOMEM, "%s: out of memory", lines->path);
    return DN_OK;
}

dn_status dn_report_load(char **run, const char *folder, int with_pictures)
{
    size_t size;
    *run = NULL;
    FILE *const to = open_memstream(run, &size);
    DN_CHECK(to, DN_ENOMEM, "%s: out of memory", folder);
    json_t *const head = json_pack("{s:s+, s:{}}", "name", "", folder, "config");
    dn_metrics_lines lines = {0};
    dn_status status = write_run(&lines, folder, with_pictures, head, to);
    dn_metrics_lines_close(&lines);
    json_decref(head);
    const int failed = ferror(to);
    if ((fclose(to) != 0 || failed) && status == DN_OK)
        status = dn_fail(DN_ENOMEM, "%s: out of memory", folder);
    if (status == DN_OK)
        return DN_OK;
    free(*run);
    *run = NULL;
    return status;
}

/* ---- writing ---- */

dn_status dn_report_write(const char *path, char *const *runs, int count)
{
    static const char chart_mark[] = "/*CHART*/", report_mark[] = "/*REPORT*/";
    const char *const chart = strstr(dn_report_page, chart_mark);
    const char *const rest = chart + strlen(chart_mark), *const report = strstr(rest, report_mark);
    char *page = NULL;
    size_t size;
    FILE *const to = open_memstream(&page, &size);
    DN_CHECK(to, DN_ENOMEM, "%s: out of memory", path);
    fprintf(to, "%.*s%s%.*s", (int)(chart - dn_report_page), dn_report_page, dn_report_chart,
            (int)(report - rest), rest);
    fprintf(to, "{\"version\":\"%s\",\"runs\":[", dn_version());
    for (int i = 0; i < count; i++)
        fprintf(to, "%s%s", i > 0 ? "," : "", runs[i]);
    fprintf(to, "]}%s", report + strlen(report_mark));
    int failed = ferror(to);
    failed |= fclose(to) != 0;
    const dn_status status =
        failed ? dn_fail(DN_ENOMEM, "%s: out of memory", path) : dn_file_write(path, page, size);
    free(page);
    return status;
}
