/*
 * Runs as one page to look at: their curves, configurations and evaluations, side by side. The page
 * is one file that asks for no other: Chart.js and all data are in it. Not collective.
 */
#ifndef DN_REPORT_PAGE_H
#define DN_REPORT_PAGE_H

#include <jansson.h>

#include "dn/status.h"

/* *run = {"name", "config", "records"} of a run's folder, as its metrics.jsonl has them, to be
 * released by the caller. A last line that is not whole yet is left out. DN_ENOENT: the folder is
 * no run, and names the runs inside it; DN_EIO; DN_ECORRUPT names the line; DN_ENOMEM. */
dn_status dn_report_load(json_t **run, const char *folder);

/* Writes the page of the array `runs`; each may have an "evaluation", as DN_EVALUATION_NAME has it.
 * DN_EIO, DN_ENOMEM. */
dn_status dn_report_write(const char *path, json_t *runs);

#endif
