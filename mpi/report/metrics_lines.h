/*
 * The lines of metrics.jsonl in a run's folder (docs/report.md), each a record: a JSON object. They
 * are read one at a time: a long run has hundreds of thousands. Not collective.
 */
#ifndef DN_METRICS_LINES_H
#define DN_METRICS_LINES_H

#include <jansson.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>

#include "dn/status.h"

typedef struct dn_metrics_lines {
    char path[PATH_MAX];
    FILE *file;
    char *line; /* the last one; allocated by getline */
    size_t room;
    int64_t number; /* of that line, from 1 */
} dn_metrics_lines;

/* DN_ENOENT if the folder is not a run's, with a message that names the runs inside it; DN_EIO,
 * DN_ENOMEM. The caller closes the lines, also on failure. */
dn_status dn_metrics_lines_open(dn_metrics_lines *lines, const char *folder);

/* *record = that of the next line, which the caller releases; NULL after the last. A last line that
 * is incomplete is left out. DN_ECORRUPT names the line; DN_EIO. */
dn_status dn_metrics_lines_next(dn_metrics_lines *lines, json_t **record);

/* Returns the number of lines, and starts again with the first. */
int64_t dn_metrics_lines_count(dn_metrics_lines *lines);

/* Accepts zeroed ones. */
void dn_metrics_lines_close(dn_metrics_lines *lines);

/* The text of a member, or "". */
const char *dn_record_text(const json_t *record, const char *key);

/* 1 if the record is of that kind. */
int dn_record_is(const json_t *record, const char *kind);

#endif
