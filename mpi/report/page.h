/*
 * A report on runs as one HTML page, with their curves, configurations and evaluations side by
 * side. The page is self-contained: Chart.js and all data are in it. Not collective.
 */
#ifndef DN_REPORT_PAGE_H
#define DN_REPORT_PAGE_H

#include <jansson.h>

#include "dn/status.h"

/* *run = {"name", "config", "records"} from metrics.jsonl in a run's folder; the caller releases
 * it. An incomplete last line is left out. DN_ENOENT if the folder is not a run's, with a message
 * that names the runs inside it; DN_EIO; DN_ECORRUPT names the line; DN_ENOMEM. */
dn_status dn_report_load(json_t **run, const char *folder);

/* Writes the page for the array `runs`; each may have an "evaluation", the contents of
 * DN_EVALUATION_NAME. DN_EIO, DN_ENOMEM. */
dn_status dn_report_write(const char *path, json_t *runs);

#endif
