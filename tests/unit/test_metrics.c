/* metrics.jsonl: its objects, resuming in the file, and failures to write it. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dn/file.h"
#include "dn/monitor.h"
#include "run_metrics.h"
#include "trial_files.h"

static void test_file(void **state)
{
    metrics_run(NULL, 1000);
    metrics_check(0, "epoch", "epoch", "1");
    metrics_check(0, "epoch", "step", "2");
    metrics_check(0, "epoch", "train_loss", "1.5");
    metrics_check(0, "epoch", "train_top1", "20.0");
    metrics_check(0, "epoch", "test_top5", "95.5");
    metrics_check(0, "epoch", "test_balanced", "40.0");
    metrics_check(0, "epoch", "test_auroc", "0.875");
    metrics_check(0, "epoch", "ema_val_top1", "70.0");
    metrics_check(0, "epoch", "data_wait", "0.5");
    metrics_check(0, "epoch", "sum_wait", "0.625");
    metrics_check(0, "epoch", "weights_hash", "\"0000000000000abc\"");
    metrics_check(0, "epoch", "late_rank", "2");
    metrics_check(0, "epoch", "late_wait", "0.5");
    metrics_check(1, "interval", "step", "3");
    metrics_check(1, "interval", "late_wait", "0.0");
    metrics_check(1, "interval", "loss", "null");
    metrics_check(1, "interval", "data_wait", "0.25");
    metrics_check(1, "interval", "top1", "0.0");
    metrics_check(2, "end", "weights_hash", "\"123456789abcdef0\"");
    metrics_check(2, "end", "checkpoint", "\"runs/x/checkpoint-00000003.h5\"");
    metrics_check(2, "end", "reason", "\"early stop\"");
}

/* The file has each step once, however often the run resumes from an earlier one. */
static void test_cut_back(void **state)
{
    metrics_run(NULL, 0); /* intervals of steps 1 and 2, an epoch, interval and end of step 3 */
    assert_int_equal(metrics_lines(), 5);
    FILE *file = fopen(METRICS, "a");
    fputs("no object\n[1]\n{\"kind\": \"interval\"}\n{\"kind\": \"inter", file); /* after a crash */
    fclose(file);
    metrics_resume(3, 4);
    assert_int_equal(metrics_lines(), 6);
    metrics_check(4, "end", "step", "3");
    metrics_check(5, "end", "step", "4");
    metrics_resume(2, 3);
    assert_int_equal(metrics_lines(), 4);
    metrics_check(2, "epoch", "step", "2");
    metrics_check(3, "end", "step", "3");
    metrics_resume(0, 1);
    assert_int_equal(metrics_lines(), 1);
    metrics_check(0, "end", "step", "1");
}

/* Resumes with these sums and trains step 4, the last of its epoch; `losses` = the epoch's sum. */
static void resume_after(dn_epoch_sums sums, double losses)
{
    dn_metrics *metrics = NULL;
    dn_metrics_settings settings = metrics_settings();
    settings.done = 3;
    settings.epoch_sums = sums;
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    assert_int_equal(dn_metrics_step(metrics, 4, &(dn_metrics_values){.loss = 1, .correct = 3}),
                     DN_OK);
    assert_true(dn_metrics_epoch_sums(metrics).loss == losses);
    assert_int_equal(dn_metrics_epoch(metrics, 4, 0xabc, NULL, 0), DN_OK);
    assert_true(dn_metrics_epoch_sums(metrics).steps == 0);
    dn_metrics_destroy(&metrics);
}

/* An epoch's scores include its steps before the resumption. Sums of another step, or with too many
 * images, are ignored. */
static void test_scores_before(void **state)
{
    resume_after((dn_epoch_sums){1, 4, 9}, 5);
    metrics_check(0, "epoch", "train_loss", "2.5");
    metrics_check(0, "epoch", "train_top1", "60.0");
    assert_int_equal(unlink(METRICS), 0);
    resume_after((dn_epoch_sums){2, 4, 9}, 1);
    metrics_check(0, "epoch", "train_loss", "1.0");
    metrics_check(0, "epoch", "train_top1", "30.0");
    assert_int_equal(unlink(METRICS), 0);
    resume_after((dn_epoch_sums){1, 4, 11}, 1);
    metrics_check(0, "epoch", "train_loss", "1.0");
}

/* A path of any bytes is valid in JSON and in the progress line. */
static void test_any_path(void **state)
{
    char text[1024] = "";
    FILE *stream = tmpfile();
    metrics_run_to(stream, 1000, "a\n\"\\\xc3\xa4/x");
    rewind(stream);
    assert_true(fread(text, 1, sizeof text - 1, stream) > 0);
    fclose(stream);
    assert_non_null(strstr(text, "  a?\"\\\xc3\xa4/x\n"));
    metrics_check(2, "end", "checkpoint", "\"a\\n\\\"\\\\\xc3\xa4/x\"");
    unlink(METRICS);
    metrics_run_to(NULL, 1000, "caf\xe9\n");
    metrics_check(2, "end", "checkpoint", "\"caf\\\\xE9\\n\"");
}

/* The configuration and the data set are the first line, once, however often the run resumes. */
static void test_configuration(void **state)
{
    for (int64_t done = 0; done < 3; done++) {
        dn_metrics *metrics;
        const dn_metrics_settings settings = {
            .folder = RUN,
            .steps_per_epoch = 9,
            .epochs = 1,
            .last_step = 9,
            .images = 64,
            .ranks = 1,
            .interval = 0,
            .done = done,
            .config = "[train]\nmodel = a = b\nfreeze = \n",
            .data = {"b\"irds", "/caf\xe9", 3, 0, NULL, 80, 20, 50, "val"}};
        assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
        assert_int_equal(dn_metrics_step(metrics, done + 1, &(dn_metrics_values){.loss = 1}),
                         DN_OK);
        dn_metrics_destroy(&metrics);
        metrics_check(0, "run", "config", "{\"model\": \"a = b\", \"freeze\": \"\"}");
        metrics_check(0, "run", "data",
                      "{\"name\": \"b\\\"irds\", \"path\": \"/caf\\\\xE9\", \"classes\": 3, "
                      "\"multi_label\": false, \"train\": 80, \"validation\": 20, \"test\": 50}");
        metrics_check(0, "run", "last_step", "9");
        metrics_check(0, "run", "images", "64");
        assert_int_equal(metrics_lines(), done + 2);
    }
    metrics_check(3, "interval", "step", "3");
}

static void test_failures(void **state)
{
    dn_metrics *metrics = NULL;
    dn_metrics_settings settings = metrics_settings();
    settings.folder = "/dev/null/x";
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_EIO);
    assert_non_null(strstr(dn_message(), "/dev/null"));
    assert_int_equal(dn_make_folders(RUN), DN_OK);
    assert_int_equal(mkdir(METRICS, 0777), 0);
    settings.folder = RUN;
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_EIO);
    assert_non_null(strstr(dn_message(), "metrics.jsonl"));
    rmdir(METRICS);
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    const rlim_t before = trial_limit(0);
    const dn_status status = dn_metrics_end(metrics, 1, 1, NULL, NULL, "");
    trial_limit(before);
    assert_int_equal(status, DN_EIO);
    assert_non_null(strstr(dn_message(), "File too large"));
    dn_metrics_destroy(&metrics);
}

/* The gradient norm of an object is the mean over its steps. */
static void test_norm(void **state)
{
    dn_metrics *metrics;
    dn_metrics_settings settings = metrics_settings();
    settings.has_norm = 1;
    settings.interval = 0;
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    assert_int_equal(dn_metrics_step(metrics, 1, &(dn_metrics_values){.norm = 3}), DN_OK);
    assert_int_equal(dn_metrics_step(metrics, 2, &(dn_metrics_values){.norm = 0.5}), DN_OK);
    assert_int_equal(dn_metrics_epoch(metrics, 2, 0, NULL, 0), DN_OK);
    dn_metrics_destroy(&metrics);
    metrics_check(0, "interval", "gradient_norm", "3.0");
    metrics_check(1, "interval", "gradient_norm", "0.5");
    metrics_check(2, "epoch", "gradient_norm", "1.75");
}

/* A line that does not fit on the disk leaves no part of itself; the next one is complete. */
static void test_torn(void **state)
{
    dn_metrics *metrics = NULL;
    const dn_metrics_settings settings = metrics_settings();
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    assert_int_equal(dn_metrics_fail(metrics, 1, "one"), DN_OK);
    int64_t size, after;
    assert_int_equal(dn_file_size(METRICS, &size), DN_OK);
    const rlim_t before = trial_limit((rlim_t)size + 20);
    assert_int_equal(dn_metrics_fail(metrics, 2, "two"), DN_EIO);
    trial_limit(before);
    assert_non_null(strstr(dn_message(), "File too large"));
    assert_int_equal(dn_file_size(METRICS, &after), DN_OK);
    assert_int_equal(after, size);
    assert_int_equal(dn_metrics_fail(metrics, 3, "three"), DN_OK);
    dn_metrics_destroy(&metrics);
    metrics_check(0, "end", "error", "\"one\"");
    metrics_check(1, "end", "error", "\"three\"");
}

static void complete(int64_t done, int lines)
{
    dn_metrics_settings settings = metrics_settings();
    settings.done = done;
    settings.data.judge = "val";
    const dn_metrics_best best = {2, 75, "top1"};
    assert_int_equal(dn_metrics_complete(&settings, 0xabc, "c.h5", &best, DN_METRICS_COMPLETE),
                     DN_OK);
    assert_int_equal(metrics_lines(), lines);
}

/* The end of a complete run is recorded once, after its process was killed or failed. */
static void test_complete(void **state)
{
    assert_int_equal(dn_make_folders(RUN), DN_OK);
    trial_write(METRICS, "{\"kind\": \"run\", \"ranks\": 7}\n"
                         "{\"kind\": \"epoch\", \"step\": 6}\n{\"kind\": \"en");
    complete(6, 3);
    metrics_check(0, "run", "ranks", "7");
    metrics_check(2, "end", "step", "6");
    metrics_check(2, "end", "checkpoint", "\"c.h5\"");
    metrics_check(2, "end", "best_by", "\"val_top1\"");
    metrics_check(2, "end", "weights_hash", "\"0000000000000abc\"");
    complete(6, 3);
    trial_write(METRICS, "{\"kind\": \"end\", \"step\": 4, \"reason\": \"the last step\"}\n"
                         "{\"kind\": \"end\", \"step\": 6, \"reason\": \"failed\"}\n");
    complete(6, 3);
    metrics_check(2, "end", "reason", "\"the last step\"");
    complete(6, 3);
    unlink(METRICS);
    const dn_metrics_settings settings = metrics_settings();
    assert_int_equal(dn_metrics_complete(&settings, 0, "c.h5", NULL, DN_METRICS_COMPLETE), DN_OK);
    assert_int_equal(access(METRICS, F_OK), -1);
}

/* After the folder is moved away, the new file in its place has all lines. */
static void test_kept(void **state)
{
    dn_metrics *metrics;
    const dn_metrics_settings settings = metrics_settings();
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    assert_int_equal(dn_metrics_end(metrics, 1, 0, NULL, NULL, "one"), DN_OK);
    assert_int_equal(dn_metrics_keep(metrics), DN_OK);
    assert_int_equal(rename(RUN, "moved"), 0);
    assert_int_equal(dn_metrics_keep(metrics), DN_EIO);
    assert_non_null(strstr(dn_message(), METRICS));
    assert_int_equal(dn_make_folders(RUN), DN_OK);
    assert_int_equal(dn_metrics_keep(metrics), DN_OK);
    assert_int_equal(dn_metrics_end(metrics, 2, 0, NULL, NULL, "two"), DN_OK);
    dn_metrics_destroy(&metrics);
    assert_int_equal(metrics_lines(), 2);
    metrics_check(0, "end", "reason", "\"one\"");
    metrics_check(1, "end", "reason", "\"two\"");
}

static void test_failed(void **state)
{
    dn_metrics *metrics;
    const dn_metrics_settings settings = metrics_settings();
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    assert_int_equal(dn_metrics_step(metrics, 1, &(dn_metrics_values){.loss = 2}), DN_OK);
    assert_int_equal(dn_metrics_fail(metrics, 1, "a \"file\" \xff"), DN_OK);
    dn_metrics_destroy(&metrics);
    metrics_check(0, "interval", "loss", "2.0");
    metrics_check(1, "end", "reason", "\"failed\"");
    metrics_check(1, "end", "error", "\"a \\\"file\\\" \\\\xFF\"");
    metrics_check(1, "end", "weights_hash", "null");
}

static void test_null(void **state)
{
    dn_metrics *metrics = NULL;
    assert_int_equal(dn_metrics_step(NULL, 1, &(dn_metrics_values){0}), DN_OK);
    assert_int_equal(dn_metrics_epoch(NULL, 1, 1, NULL, 0), DN_OK);
    assert_int_equal(dn_metrics_end(NULL, 1, 1, NULL, NULL, ""), DN_OK);
    assert_int_equal(dn_metrics_fail(NULL, 1, ""), DN_OK);
    dn_metrics_destroy(&metrics);
}

static void test_texts(void **state)
{
    char text[DN_SCORES_TEXT];
    dn_scores s = {
        .loss = 1.25, .top1 = 60, .top5 = 95.5, .balanced = 40, .auroc = 0.875, .is_uneven = 1};
    dn_scores_text(&s, 6, ", ", text);
    assert_string_equal(text, "top-1 60.00 %, balanced 40.00 %, AUROC 0.8750, top-5 95.50 %");
    s.is_uneven = 0;
    dn_scores_text(&s, 5, ", ", text);
    assert_string_equal(text, "top-1 60.00 %");
    s.has_sets = 1;
    dn_scores_text(&s, 6, ", ", text);
    assert_string_equal(text, "AUROC 0.8750, exact 60.00 %");
}

/* What --best offers has a row, and no more rows than these have a name there. */
static void test_choices(void **state)
{
    const dn_scores scores = {.loss = 1, .top1 = 2, .top5 = 3, .balanced = 4, .auroc = 5};
    for (int i = 0; i <= DN_BEST_AUTO; i++)
        assert_non_null(dn_score_choice(i));
    assert_null(dn_score_choice(DN_BEST_AUTO + 1));
    assert_string_equal(dn_score_choice(DN_BEST_BALANCED), "balanced");
    assert_true(dn_score_value(&scores, DN_BEST_BALANCED) == 4);
    assert_true(dn_score_value(&scores, DN_BEST_NONE) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRIAL_TEST(test_file),          TRIAL_TEST(test_cut_back),
        TRIAL_TEST(test_configuration), TRIAL_TEST(test_any_path),
        TRIAL_TEST(test_failures),      TRIAL_TEST(test_kept),
        TRIAL_TEST(test_scores_before), TRIAL_TEST(test_failed),
        cmocka_unit_test(test_null),    TRIAL_TEST(test_norm),
        TRIAL_TEST(test_torn),          TRIAL_TEST(test_complete),
        cmocka_unit_test(test_texts),   cmocka_unit_test(test_choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
