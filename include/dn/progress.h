/*
 * Progress of a long operation on standard output: a bar that is rewritten in place on a terminal,
 * otherwise plain lines at intervals; nothing if it finishes soon. Not collective.
 *
 *     making records: [#######.......................] 220/937 images, 1251 images/s, 0:11 left
 */
#ifndef DN_PROGRESS_H
#define DN_PROGRESS_H

#include <stdint.h>

#include "dn/terminal.h"

typedef struct dn_progress {
    const char *what, *unit; /* "making records:", "images" */
    int64_t total, done;
    double start, next; /* of the operation; when the next line is due */
    dn_live live;
} dn_progress;

/* Starts. `total` 0: unknown; then there are only plain lines, no bar. */
void dn_progress_begin(dn_progress *p, const char *what, const char *unit, int64_t total);

/* Counts `more` units as done. Thread-safe. */
void dn_progress_add(dn_progress *p, int64_t more);

/* Prints a warning in place of the bar. Thread-safe. */
void dn_progress_warn(dn_progress *p, const char *text);

/* Removes the bar. Accepts a zeroed dn_progress. */
void dn_progress_end(dn_progress *p);

#endif
