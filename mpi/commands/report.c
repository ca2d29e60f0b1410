/* `dn_dist report`: runs as one HTML page. */
#include "commands/commands.h"
#include "dn/file.h"
#include "report/page.h"

#include <stdlib.h>

/* A folder without a run, or with a damaged one, does not prevent a report of the others. */
static int is_unreadable(dn_status status)
{
    return status == DN_ENOENT || status == DN_ECORRUPT || status == DN_EINVAL;
}

/* The first bytes of report/page.html. */
static const char page_start[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<title>dn_dist report";

/* Loads the runs of the command line's folders in order. */
static dn_status load_runs(char **runs, const dn_options *o, int *loaded)
{
    *loaded = 0;
    for (int i = 0; i < o->word_count; i++) {
        const dn_status status = dn_report_load(&runs[*loaded], o->words[i], o->pictures);
        if (status == DN_OK)
            ++*loaded;
        else if (is_unreadable(status) && o->word_count > 1) /* as for "runs/" and a star */
            dn_warn("%s; left out", dn_message());
        else
            return status;
    }
    DN_CHECK(*loaded > 0, DN_ENOENT, "report: found no run in any of the folders");
    return DN_OK;
}

dn_status dn_report_command(const dn_comm *comm, dn_options *options)
{
    (void)comm;
    const int count = options->word_count;
    int loaded;
    DN_CHECK(count > 0, DN_EINVAL, "report: found no run, expected folders of runs");
    DN_TRY(dn_file_check_kind(options->page, "page of 'dn_dist report'", 0, page_start));
    char **const runs = calloc((size_t)count, sizeof *runs);
    DN_CHECK(runs, DN_ENOMEM, "report: out of memory");
    dn_status status = load_runs(runs, options, &loaded);
    if (status == DN_OK)
        status = dn_report_write(options->page, runs, loaded);
    if (status == DN_OK)
        dn_info("%s: runs: %d", options->page, loaded);
    for (int i = 0; i < loaded; i++)
        free(runs[i]);
    free(runs);
    return status;
}
