/*
 * Metrics of a made-up run in the current folder, for the tests of its files. Any failure fails
 * the test.
 */
#ifndef DN_TESTS_RUN_METRICS_H
#define DN_TESTS_RUN_METRICS_H

#include <stdio.h>

#include "dn/metrics.h"

#define RUN     "a/b"
#define METRICS RUN "/metrics.jsonl"

/* The settings of a run of three epochs of two steps. */
dn_metrics_settings metrics_settings(void);

/* Records a run that ends after the first step of its second epoch, saved to `checkpoint` or to
 * runs/x/checkpoint-00000003.h5. With event files. */
void metrics_run_to(FILE *progress, double interval, const char *checkpoint);
void metrics_run(FILE *progress, double interval);

/* The run resumes after `done` steps, and ends at once after `step`; without event files. */
void metrics_resume(int64_t done, int64_t step);

/* Checks that line `index` of the file is of that kind and that its `key` is the JSON `expected`.
 */
void metrics_check(int index, const char *kind, const char *key, const char *expected);

int metrics_lines(void);

#endif
