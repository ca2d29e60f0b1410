/*
 * A report on runs as one HTML page, with their curves, configurations and evaluations side by
 * side. The page is self-contained: Chart.js and all data are in it. Not collective.
 */
#ifndef DN_REPORT_PAGE_H
#define DN_REPORT_PAGE_H

#include "dn/status.h"

/* *run = {"name", "config", "data", "records"} as JSON, from metrics.jsonl in a run's folder, and
 * "evaluation" if it has a DN_EVALUATION_NAME, without its worst samples unless `with_pictures`;
 * the caller frees it. Of a file of 2000 lines or more, intervals are merged with their
 * neighbours. An incomplete last line is left out. DN_ENOENT if the folder is not a run's, with a
 * message that names the runs inside it; DN_EIO; DN_EINVAL (its name is no UTF-8); DN_ECORRUPT
 * names the line; DN_ENOMEM. */
dn_status dn_report_load(char **run, const char *folder, int with_pictures);

/* Writes the page for runs(count) of dn_report_load. DN_EIO, DN_ENOMEM. */
dn_status dn_report_write(const char *path, char *const *runs, int count);

#endif
