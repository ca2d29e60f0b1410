/*
 * metrics.jsonl of a run's folder, one object per line, and optionally a TensorBoard file of the
 * same numbers (io/events.h). docs/report.md specifies the objects. Not collective. Errors: DN_EIO
 * (names the file and the system's reason), DN_ENOMEM.
 */
#ifndef DN_IO_METRICS_FILE_H
#define DN_IO_METRICS_FILE_H

#include <jansson.h>
#include <limits.h>
#include <stdint.h>

#include "dn/metrics.h"
#include "io/events.h"

typedef struct dn_metrics_file {
    char folder[PATH_MAX], path[PATH_MAX];
    int file; /* -1: none */
    int has_events;
    dn_events *events;
    int64_t step; /* of the last object */
} dn_metrics_file;

/* Creates the folder and opens its file after what is kept of it: the line `run` (NULL: the file's
 * own), then the objects of steps up to `done`. *change = the values of a "change" object to be
 * written next, or NULL; owned by the caller, also on failure. The caller closes the file, also on
 * failure. */
dn_status dn_metrics_file_open(dn_metrics_file *f, const char *folder, int64_t done,
                               const char *run, int has_events, json_t **change);

/* Appends an object of that kind without buffering, all of its line or none, and, if it is
 * "test" or has a learning rate, its numbers to TensorBoard's file; takes `values`. */
dn_status dn_metrics_file_add(dn_metrics_file *f, const char *kind, int64_t epoch, int64_t step,
                              json_t *values);

/* If the file is no longer at its path, because the folder was moved or deleted, writes it there
 * again. */
dn_status dn_metrics_file_keep(dn_metrics_file *f);

/* Closes the file. */
void dn_metrics_file_close(dn_metrics_file *f);

#endif
