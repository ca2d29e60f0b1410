/* Metrics of a made-up run; see run_metrics.h. */
#include "run_metrics.h"
#include "trial_files.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

dn_metrics_settings metrics_settings(void)
{
    return (dn_metrics_settings){.folder = RUN,
                                 .steps_per_epoch = 2,
                                 .epochs = 3,
                                 .last_step = 6,
                                 .images = 10,
                                 .interval = 1000,
                                 .ranks = 1};
}

void metrics_run_to(FILE *progress, double interval, const char *checkpoint)
{
    dn_metrics *metrics = NULL;
    dn_metrics_settings settings = metrics_settings();
    settings.progress = progress;
    settings.interval = interval;
    settings.ranks = 3;
    settings.tensorboard = 1;
    const dn_named_scores scores[] = {{"test", {1.25, 60, 95.5, 40, 0.875, 1, 0}, NULL},
                                      {"ema_val", {0.5, 70, 99, 70, 0.5, 0, 0}, NULL}};
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    const dn_metrics_values first = {.loss = 2,
                                     .correct = 1,
                                     .rate = 0.1,
                                     .data_wait = 0.25,
                                     .sum_wait = 0.125,
                                     .late_rank = 1,
                                     .late_wait = 0.125};
    dn_metrics_values second = first;
    second.loss = 1;
    second.correct = 3;
    second.sum_wait = second.late_wait = 0.5;
    second.late_rank = 2;
    assert_int_equal(dn_metrics_step(metrics, 1, &first), DN_OK);
    assert_int_equal(dn_metrics_step(metrics, 2, &second), DN_OK);
    assert_int_equal(dn_metrics_epoch(metrics, 2, 0xabc, scores, 2), DN_OK);
    const dn_metrics_values third = {.loss = (double)NAN, .rate = 0.1, .data_wait = 0.25};
    assert_int_equal(dn_metrics_step(metrics, 3, &third), DN_OK);
    assert_int_equal(
        dn_metrics_end(metrics, 3, 0x123456789abcdef0u, checkpoint, NULL, "early stop"), DN_OK);
    dn_metrics_destroy(&metrics);
    assert_null(metrics);
}

void metrics_run(FILE *progress, double interval)
{
    metrics_run_to(progress, interval, "runs/x/checkpoint-00000003.h5");
}

void metrics_resume(int64_t done, int64_t step)
{
    dn_metrics *metrics = NULL;
    dn_metrics_settings settings = metrics_settings();
    settings.done = done;
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    assert_int_equal(dn_metrics_end(metrics, step, 1, NULL, NULL, "SIGTERM"), DN_OK);
    dn_metrics_destroy(&metrics);
}

void metrics_check(int index, const char *kind, const char *key, const char *expected)
{
    char line[1024] = "";
    FILE *file = fopen(METRICS, "r");
    assert_non_null(file);
    for (int i = 0; i <= index; i++)
        assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    json_t *object = json_loads(line, 0, NULL);
    char *value = json_dumps(json_object_get(object, key), JSON_ENCODE_ANY);
    assert_string_equal(json_string_value(json_object_get(object, "kind")), kind);
    assert_string_equal(value, expected);
    free(value);
    json_decref(object);
}

int metrics_lines(void)
{
    int lines = 0;
    FILE *file = fopen(METRICS, "r");
    assert_non_null(file);
    for (int c; (c = fgetc(file)) != EOF;)
        lines += c == '\n';
    fclose(file);
    return lines;
}
