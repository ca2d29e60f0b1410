/*
 * metrics.jsonl of a run's folder, an object a line, and TensorBoard's file of the same numbers
 * (io/events.h), where there is to be one. docs/report.md has what the objects hold. Not
 * collective. Failures are DN_EIO with the file's name and the system's reason, or DN_ENOMEM.
 */
#ifndef DN_IO_METRICS_FILE_H
#define DN_IO_METRICS_FILE_H

#include <jansson.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>

#include "dn/metrics.h"
#include "io/events.h"

/* An evaluation's numbers, under the keys NAME_SUFFIX of an object, as in "test_top1". */
typedef struct dn_score_row {
    const char *suffix;
    size_t offset; /* in dn_scores, of a double */
} dn_score_row;

/* The row of that number; NULL past the last. */
const dn_score_row *dn_score_row_get(int index);

typedef struct dn_metrics_file {
    char folder[PATH_MAX], path[PATH_MAX];
    FILE *file;
    int has_events;
    dn_events *events;
    int64_t step; /* of the last object */
} dn_metrics_file;

/* Makes the folder and opens its file behind what is left of it: the line `run` (NULL: none), then
 * the objects of steps up to `done`. *change = the values of a "change" that is due after them, or
 * NULL; the caller's, also after a failure. To be closed also after a failure. */
dn_status dn_metrics_file_open(dn_metrics_file *f, const char *folder, int64_t done,
                               const char *run, int has_events, json_t **change);

/* Appends an object of that kind, through to the system, and the numbers of one with a learning
 * rate to TensorBoard's file; takes `values`. */
dn_status dn_metrics_file_add(dn_metrics_file *f, const char *kind, int64_t epoch, int64_t step,
                              json_t *values);

/* Where the file is no longer at its path, as the folder was moved or deleted, writes it there
 * again. */
dn_status dn_metrics_file_keep(dn_metrics_file *f);

/* Accepts one that is zeroed. */
void dn_metrics_file_close(dn_metrics_file *f);

#endif
