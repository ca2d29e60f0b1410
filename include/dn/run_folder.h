/*
 * A run's folder: checkpoints (dn/checkpoint.h), metrics and TensorBoard events (dn/metrics.h), and
 * an evaluation. Not collective.
 */
#ifndef DN_RUN_FOLDER_H
#define DN_RUN_FOLDER_H

#include <stdint.h>

#include "dn/status.h"

/* The file that `dn_dist eval` writes in a run's folder: the output of --json, the class names, and
 * the worst samples. */
#define DN_EVALUATION_NAME "evaluation.json"

/* Before a run continues from `step`: moves the checkpoints of later steps (best.h5 among them) to
 * a new subfolder old-N; before a run starts anew (`step` below 0): all checkpoints, the metrics
 * and TensorBoard events. An evaluation is moved if anything else is. Reports it in one line.
 * Succeeds also if there is nothing to move. Errors: DN_EIO, DN_ENOMEM. */
dn_status dn_run_set_aside(const char *folder, int64_t step);

/* text = "; runs there: FOLDER/A, FOLDER/B and 3 more", the runs below a folder that is not a run
 * itself, or "". Returns text, which is for a message. */
enum { DN_RUNS_TEXT = 512 };
const char *dn_runs_there(const char *folder, char text[DN_RUNS_TEXT]);

#endif
