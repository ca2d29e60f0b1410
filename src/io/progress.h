/* Where a run's progress is shown: one line rewritten in place on a terminal, and lines that stay.
 */
#ifndef DN_PROGRESS_H
#define DN_PROGRESS_H

#include <stdio.h>

typedef struct dn_progress {
    FILE *stream; /* NULL: nothing is shown */
    int terminal; /* descriptor of the terminal that the stream ends at; -1: there is none */
    int has_line; /* the cursor stands behind a line that will be rewritten */
} dn_progress;

/* Finds out whether `stream`, which may be NULL, ends at a terminal. */
void dn_progress_open(dn_progress *progress, FILE *stream);

/* Leaves the last line behind, so that what follows begins a new one. The stream stays open. */
void dn_progress_close(dn_progress *progress);

/* Rewrites the terminal's line: `head`, a bar of which `share` (0 to 1) is done, `tail`; without
 * the bar where the terminal is too narrow for it. Only where there is a terminal. */
void dn_progress_draw(dn_progress *progress, const char *head, double share, const char *tail);

/* A line that stays; on a terminal it takes the place of the rewritten one. */
void dn_progress_print(dn_progress *progress, const char *text);

#endif
