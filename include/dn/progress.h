/*
 * How far a long piece of work is, on standard output: a bar that is rewritten in place on a
 * terminal, plain lines at intervals elsewhere, nothing where it is soon done.
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
    double start, next; /* when a line is due */
    dn_live live;
} dn_progress;

/* `total` 0: nobody knows it; then there are lines alone. */
void dn_progress_begin(dn_progress *p, const char *what, const char *unit, int64_t total);

/* So many more are done. Thread-safe. */
void dn_progress_add(dn_progress *p, int64_t more);

/* Prints a warning, where the bar was. Thread-safe. */
void dn_progress_warn(dn_progress *p, const char *text);

/* Takes the bar away; accepts one that is zeroed. */
void dn_progress_end(dn_progress *p);

#endif
