/*
 * The records of a run, which are the lines of metrics.jsonl in its folder (docs/report.md), read
 * one at a time: a long run has hundreds of thousands. Not collective.
 */
#ifndef DN_REPORT_RECORDS_H
#define DN_REPORT_RECORDS_H

#include <jansson.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>

#include "dn/status.h"

typedef struct dn_records {
    char path[PATH_MAX];
    FILE *file;
    char *line; /* the last one; allocated by getline */
    size_t room;
    int64_t number; /* of that line, from 1 */
} dn_records;

/* DN_ENOENT if the folder is not a run's, with a message that names the runs inside it; DN_EIO. The
 * caller closes the records, also on failure. */
dn_status dn_records_open(dn_records *records, const char *folder);

/* *record = the next one, which the caller releases; NULL after the last. A last line that is
 * incomplete is left out. DN_ECORRUPT names the line; DN_EIO. */
dn_status dn_records_next(dn_records *records, json_t **record);

/* Returns the number of lines, and starts again with the first. */
int64_t dn_records_count(dn_records *records);

void dn_records_close(dn_records *records);

/* The text of a member, or "". */
const char *dn_record_text(const json_t *record, const char *key);

/* 1 if the record is of that kind. */
int dn_record_is(const json_t *record, const char *kind);

#endif
