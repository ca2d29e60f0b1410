/*
 * A run's folder: its checkpoints (dn/checkpoint.h), its metrics and TensorBoard's events
 * (dn/metrics.h), and an evaluation.
 */
#ifndef DN_RUN_FOLDER_H
#define DN_RUN_FOLDER_H

#include <stdint.h>

#include "dn/status.h"

/* What `dn_dist eval` writes in a run's folder: what it prints with --json, the class names, and
 * the worst samples. */
#define DN_EVALUATION_NAME "evaluation.json"

/* Moves the folder's checkpoints of later steps than `step`, below 0 all of them, the metrics and
 * TensorBoard's events, and an evaluation with whatever is moved, to a new folder old-N in it, with
 * one line that says so: a run is to go another way from there. DN_OK also when there are none. */
dn_status dn_run_set_aside(const char *folder, int64_t step);

/* text = "; runs there: FOLDER/A, FOLDER/B and 3 more" of those in a folder that is none itself, or
 * "": for a message. */
enum { DN_RUNS_TEXT = 512 };
const char *dn_runs_there(const char *folder, char text[DN_RUNS_TEXT]);

#endif
