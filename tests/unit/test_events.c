/* TensorBoard's events of a run. */
#include <glob.h>
#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dn/file.h"
#include "dn/tfrecord.h"
#include "event.pb-c.h"
#include "run_metrics.h"
#include "trial_files.h"

/* TensorFlow's bytes of its version, at second 0, and of the loss 0.5 of step 7, at second 1. */
static const uint8_t version_bytes[] = "\x09\0\0\0\0\0\0\0\0\x1a\x0d"
                                       "brain.Event:2";
static const uint8_t loss_bytes[] = "\x09\0\0\0\0\0\0\xf0\x3f\x10\x07\x2a\x0d\x0a\x0b\x0a\x04"
                                    "loss\x15\0\0\0\x3f";

static void test_event_bytes(void **state)
{
    uint8_t packed[sizeof loss_bytes];
    Tensorflow__Event *e = tensorflow__event__unpack(NULL, sizeof version_bytes - 1, version_bytes);
    assert_non_null(e);
    assert_string_equal(e->file_version, "brain.Event:2");
    tensorflow__event__free_unpacked(e, NULL);
    e = tensorflow__event__unpack(NULL, sizeof loss_bytes - 1, loss_bytes);
    assert_non_null(e);
    assert_true(e->wall_time == 1 && e->step == 7);
    assert_string_equal(e->summary->value[0]->tag, "loss");
    assert_true(e->summary->value[0]->simple_value == 0.5f);
    assert_int_equal(tensorflow__event__get_packed_size(e), sizeof loss_bytes - 1);
    tensorflow__event__pack(e, packed);
    assert_memory_equal(packed, loss_bytes, sizeof loss_bytes - 1);
    tensorflow__event__free_unpacked(e, NULL);
}

/* The event files, in the order of their names. */
static glob_t find_events(void)
{
    glob_t found;
    const int status = glob(RUN "/events.out.tfevents.*", 0, NULL, &found);
    assert_true(status == 0 || status == GLOB_NOMATCH);
    return found;
}

static dn_tfrecord open_events(const char *path)
{
    dn_tfrecord file = {.path = path};
    assert_int_equal(dn_file_open(path, &file.file, &file.size), DN_OK);
    return file;
}

/* Checks that there is no further event. */
static void close_events(dn_tfrecord *file)
{
    assert_int_equal(file->offset, file->size);
    close(file->file);
    dn_buffer_free(&file->buffer);
}

/* The file's next event, to be freed by the caller. */
static Tensorflow__Event *next_event(dn_tfrecord *file, Tensorflow__Event__WhatCase what)
{
    const uint8_t *data;
    size_t size;
    assert_int_equal(dn_tfrecord_next(file, &data, &size), DN_OK);
    Tensorflow__Event *const event = tensorflow__event__unpack(NULL, size, data);
    assert_non_null(event);
    assert_int_equal(event->what_case, what);
    assert_true(fabs(event->wall_time - (double)time(NULL)) < 600);
    return event;
}

/* Checks the first two events: the version, and a session that starts at the step. */
static void check_head(dn_tfrecord *file, int64_t step)
{
    Tensorflow__Event *e = next_event(file, TENSORFLOW__EVENT__WHAT_FILE_VERSION);
    assert_string_equal(e->file_version, "brain.Event:2");
    tensorflow__event__free_unpacked(e, NULL);
    e = next_event(file, TENSORFLOW__EVENT__WHAT_SESSION_LOG);
    assert_int_equal(e->session_log->status, 1);
    assert_int_equal(e->step, step);
    tensorflow__event__free_unpacked(e, NULL);
}

static void test_events(void **state)
{
    static const struct {
        int64_t step;
        const char *tag;
        double value; /* NaN: any */
    } expected[] = {{2, "train/loss", 1.5},
                    {2, "train/top1", 20},
                    {2, "test/top1", 60},
                    {2, "test/loss", 1.25},
                    {2, "test/balanced", 40},
                    {2, "test/auroc", 0.875},
                    {2, "test/top5", 95.5},
                    {2, "ema_val/top1", 70},
                    {2, "ema_val/loss", 0.5},
                    {2, "ema_val/balanced", 70},
                    {2, "ema_val/auroc", 0.5},
                    {2, "ema_val/top5", 99},
                    {2, "epoch/images_per_s", NAN},
                    {2, "lr", 0.1f},
                    {2, "epoch/seconds", NAN},
                    {2, "epoch/data_wait", 0.5},
                    {2, "epoch/sum_wait", 0.625},
                    {2, "epoch/late_rank", 2},
                    {2, "epoch/late_wait", 0.5},
                    /* step 3 has no loss */
                    {3, "interval/top1", 0},
                    {3, "interval/images_per_s", NAN},
                    {3, "lr", 0.1f},
                    {3, "interval/seconds", NAN},
                    {3, "interval/data_wait", 0.25},
                    {3, "interval/sum_wait", 0},
                    {3, "interval/late_rank", 0},
                    {3, "interval/late_wait", 0}};
    metrics_run(NULL, 1000);
    glob_t found = find_events();
    assert_int_equal(found.gl_pathc, 1);
    dn_tfrecord file = open_events(found.gl_pathv[0]);
    check_head(&file, 1);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        Tensorflow__Event *const e = next_event(&file, TENSORFLOW__EVENT__WHAT_SUMMARY);
        assert_int_equal(e->summary->n_value, 1);
        assert_string_equal(e->summary->value[0]->tag, expected[i].tag);
        assert_int_equal(e->step, expected[i].step);
        if (!isnan(expected[i].value))
            assert_true(e->summary->value[0]->simple_value == (float)expected[i].value);
        tensorflow__event__free_unpacked(e, NULL);
    }
    close_events(&file);
    globfree(&found);
}

/* With sets of classes, the AUROC of each class follows the evaluation's scores; of "b" there is
 * none. */
static void test_class_events(void **state)
{
    static const char *const names[] = {"a", "b", "c d"};
    static const char *const tags[] = {"test/auroc", "test_class_auroc/a", "test_class_auroc/c d"};
    double auroc[] = {0.75, (double)NAN, 0.25};
    const double none = (double)NAN;
    const dn_named_scores scores = {
        "test", {.top5 = none, .balanced = none, .auroc = 0.5, .has_sets = 1}, auroc};
    dn_metrics_settings settings = metrics_settings();
    dn_metrics *metrics;
    settings.tensorboard = 1;
    settings.data = (dn_metrics_data){.classes = 3, .has_sets = 1, .class_names = names};
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    assert_int_equal(dn_metrics_test(metrics, 2, 1, &scores), DN_OK);
    dn_metrics_destroy(&metrics);
    metrics_check(0, "test", "test_class_auroc", "{\"a\": 0.75, \"b\": null, \"c d\": 0.25}");
    glob_t found = find_events();
    dn_tfrecord file = open_events(found.gl_pathv[0]);
    check_head(&file, 1);
    for (int i = -3; i < 3; i++) { /* 3 other numbers first */
        Tensorflow__Event *const e = next_event(&file, TENSORFLOW__EVENT__WHAT_SUMMARY);
        if (i >= 0)
            assert_string_equal(e->summary->value[0]->tag, tags[i]);
        tensorflow__event__free_unpacked(e, NULL);
    }
    close_events(&file);
    globfree(&found);
}

/* Each start writes its own file, in the order of the starts, which says where it began. */
static void test_event_files(void **state)
{
    for (int64_t done = 0; done < 3; done++) {
        dn_metrics *metrics;
        dn_metrics_settings settings = metrics_settings();
        settings.done = done;
        settings.tensorboard = 1;
        assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
        dn_metrics_destroy(&metrics);
    }
    metrics_resume(0, 1);
    glob_t found = find_events();
    assert_int_equal(found.gl_pathc, 3);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        dn_tfrecord file = open_events(found.gl_pathv[i]);
        check_head(&file, (int64_t)i + 1);
        close_events(&file);
    }
    globfree(&found);
}

/* A disk without room for the event file's head, and then for its numbers, though their line in
 * metrics.jsonl fits. */
static void test_event_failures(void **state)
{
    dn_metrics *metrics = NULL;
    dn_metrics_settings settings = metrics_settings();
    settings.interval = 0;
    settings.tensorboard = 1;
    settings.done = 3;
    rlim_t before = trial_limit(10);
    dn_status status = dn_metrics_create(&metrics, &settings);
    trial_limit(before);
    assert_int_equal(status, DN_EIO);
    assert_null(metrics);
    assert_non_null(strstr(dn_message(), "/events.out.tfevents."));
    assert_non_null(strstr(dn_message(), ": cannot write: File too large"));
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    before = trial_limit(300);
    status = dn_metrics_step(metrics, 4, &(dn_metrics_values){.loss = 2, .rate = 0.1});
    trial_limit(before);
    assert_int_equal(status, DN_EIO);
    assert_non_null(strstr(dn_message(), "/events.out.tfevents."));
    assert_non_null(strstr(dn_message(), ": cannot write: File too large"));
    assert_int_equal(metrics_lines(), 1);
    /* The file may end in a torn event, so the next numbers go to another. */
    assert_int_equal(dn_metrics_step(metrics, 5, &(dn_metrics_values){.loss = 2, .rate = 0.1}),
                     DN_OK);
    dn_metrics_destroy(&metrics);
    glob_t found = find_events();
    dn_tfrecord file = open_events(found.gl_pathv[found.gl_pathc - 1]);
    check_head(&file, 6);
    Tensorflow__Event *const e = next_event(&file, TENSORFLOW__EVENT__WHAT_SUMMARY);
    assert_int_equal(e->step, 5);
    tensorflow__event__free_unpacked(e, NULL);
    close(file.file);
    dn_buffer_free(&file.buffer);
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRIAL_TEST(test_events),
        TRIAL_TEST(test_class_events),
        TRIAL_TEST(test_event_files),
        TRIAL_TEST(test_event_failures),
        cmocka_unit_test(test_event_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
