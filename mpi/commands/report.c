/* `dn_dist report`: runs as one HTML page. */
#include "commands/commands.h"
#include "dn/file.h"
#include "dn/run_folder.h"
#include "report/page.h"

#include <string.h>

/* Adds the evaluation that `dn_dist eval RUN` wrote into the run's folder. */
static dn_status add_evaluation(json_t *run, const char *folder)
{
    char path[PATH_MAX];
    json_error_t error;
    uint8_t *bytes;
    size_t size;
    DN_TRY(dn_join_path(path, folder, DN_EVALUATION_NAME));
    const dn_status status = dn_file_load(path, &bytes, &size);
    if (status == DN_ENOENT) {
        dn_info("%s: 'dn_dist eval %s' adds its confusion matrix and worst samples", folder,
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
    json_object_set_new(run, "evaluation", evaluation);
    return DN_OK;
}

/* A folder without a run, or with a damaged one, does not prevent a report of the others. */
static int is_unreadable(dn_status status)
{
    return status == DN_ENOENT || status == DN_ECORRUPT || status == DN_EINVAL;
}

/* The first bytes of report/page.html. */
static const char page_start[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<title>dn_dist report";

dn_status dn_report_command(const dn_comm *comm, dn_options *options)
{
    (void)comm;
    DN_CHECK(options->word_count > 0, DN_EINVAL, "report: found no run, expected folders of runs");
    DN_TRY(dn_file_check_kind(options->page, "page of 'dn_dist report'", 0, page_start));
    json_t *const runs = json_array();
    dn_status status = DN_OK;
    for (int i = 0; i < options->word_count && status == DN_OK; i++) {
        json_t *run = NULL;
        status = dn_report_load(&run, options->words[i]);
        if (status == DN_OK)
            status = add_evaluation(run, options->words[i]);
        if (is_unreadable(status) && options->word_count > 1) { /* as for "runs/" and a star */
            dn_warn("%s; left out", dn_message());
            status = DN_OK;
            json_decref(run);
            continue;
        }
        json_array_append_new(runs, run);
    }
    if (status == DN_OK && json_array_size(runs) == 0)
        status = dn_fail(DN_ENOENT, "report: found no run in any of the folders");
    if (status == DN_OK)
        status = dn_report_write(options->page, runs);
    if (status == DN_OK)
        printf("%s: runs: %zu\n", options->page, json_array_size(runs));
    json_decref(runs);
    return status;
}
