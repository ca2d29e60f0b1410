/* metrics.jsonl, TensorBoard's events, progress on a terminal and elsewhere, and files that cannot
 * be written. */
#include <glob.h>
#include <jansson.h>
#include <math.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "dn/file.h"
#include "dn/metrics.h"
#include "dn/program.h"
#include "dn/tfrecord.h"
#include "event.pb-c.h"

typedef struct fixture {
    char root[64], folder[128], file[160];
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    strcpy(f->root, "/tmp/dn_metrics_XXXXXX");
    if (!mkdtemp(f->root))
        return -1;
    snprintf(f->folder, sizeof f->folder, "%s/a/b", f->root);
    snprintf(f->file, sizeof f->file, "%s/metrics.jsonl", f->folder);
    *state = f;
    return 0;
}

/* The event files, in the order of their names. */
static glob_t find_events(const fixture *f)
{
    char pattern[192];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/events.out.tfevents.*", f->folder);
    const int status = glob(pattern, 0, NULL, &found);
    assert_true(status == 0 || status == GLOB_NOMATCH);
    return found;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    char path[96];
    glob_t events = find_events(f);
    for (size_t i = 0; i < events.gl_pathc; i++)
        unlink(events.gl_pathv[i]);
    globfree(&events);
    unlink(f->file);
    rmdir(f->folder);
    snprintf(path, sizeof path, "%s/a", f->root);
    rmdir(path);
    rmdir(f->root);
    free(f);
    return 0;
}

/* Of three epochs of two steps. */
static dn_metrics_settings settings_of(const fixture *f)
{
    return (dn_metrics_settings){.folder = f->folder,
                                 .steps_per_epoch = 2,
                                 .epochs = 3,
                                 .last_step = 6,
                                 .images = 10,
                                 .interval = 1000,
                                 .ranks = 1};
}

/* Two epochs of two steps; the second is cut after one, saved to `checkpoint`. With event files. */
static void run_to(const fixture *f, FILE *progress, double interval, const char *checkpoint)
{
    dn_metrics *metrics = NULL;
    dn_metrics_settings settings = settings_of(f);
    settings.progress = progress;
    settings.interval = interval;
    settings.ranks = 3;
    settings.tensorboard = 1;
    const dn_named_scores scores[] = {{"test", {1.25, 60, 95.5}}, {"ema_val", {0.5, 70, 99}}};
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    assert_int_equal(
        dn_metrics_step(metrics, 1, &(dn_metrics_values){2.0, 1, 0.1, 0.25, 0.125, 1, 0.125}),
        DN_OK);
    assert_int_equal(
        dn_metrics_step(metrics, 2, &(dn_metrics_values){1.0, 3, 0.1, 0.25, 0.5, 2, 0.5}), DN_OK);
    assert_int_equal(dn_metrics_epoch(metrics, 2, 0xabc, scores, 2), DN_OK);
    assert_int_equal(
        dn_metrics_step(metrics, 3, &(dn_metrics_values){(double)NAN, 0, 0.1, 0.25, 0, 0, 0}),
        DN_OK);
    assert_int_equal(dn_metrics_end(metrics, 3, 0x123456789abcdef0u, checkpoint, "early stop"),
                     DN_OK);
    dn_metrics_destroy(&metrics);
    assert_null(metrics);
}

static void run(const fixture *f, FILE *progress, double interval)
{
    run_to(f, progress, interval, "runs/x/checkpoint-00000003.h5");
}

/* The run goes on after `done` steps, and ends at once after `step`; without event files. */
static void go_on(const fixture *f, int64_t done, int64_t step)
{
    dn_metrics *metrics = NULL;
    dn_metrics_settings settings = settings_of(f);
    settings.done = done;
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    assert_int_equal(dn_metrics_end(metrics, step, 1, NULL, "SIGTERM"), DN_OK);
    dn_metrics_destroy(&metrics);
}

/* `key` of the object on line `index` of the file, which is of the kind, is the JSON `expected`. */
static void check_object(const fixture *f, int index, const char *kind, const char *key,
                         const char *expected)
{
    char line[1024] = "";
    FILE *file = fopen(f->file, "r");
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

static void test_file(void **state)
{
    const fixture *f = *state;
    run(f, NULL, 1000);
    check_object(f, 0, "epoch", "epoch", "1");
    check_object(f, 0, "epoch", "step", "2");
    check_object(f, 0, "epoch", "train_loss", "1.5");
    check_object(f, 0, "epoch", "train_top1", "20.0");
    check_object(f, 0, "epoch", "test_top5", "95.5");
    check_object(f, 0, "epoch", "ema_val_top1", "70.0");
    check_object(f, 0, "epoch", "data_wait", "0.5");
    check_object(f, 0, "epoch", "sum_wait", "0.625");
    check_object(f, 0, "epoch", "weights_hash", "\"0000000000000abc\"");
    check_object(f, 0, "epoch", "late_rank", "2");
    check_object(f, 0, "epoch", "late_wait", "0.5");
    check_object(f, 1, "interval", "step", "3");
    check_object(f, 1, "interval", "late_wait", "0.0");
    check_object(f, 1, "interval", "loss", "null");
    check_object(f, 1, "interval", "data_wait", "0.25");
    check_object(f, 1, "interval", "top1", "0.0");
    check_object(f, 2, "end", "weights_hash", "\"123456789abcdef0\"");
    check_object(f, 2, "end", "checkpoint", "\"runs/x/checkpoint-00000003.h5\"");
    check_object(f, 2, "end", "reason", "\"early stop\"");
}

static int lines_of(const fixture *f)
{
    int lines = 0;
    FILE *file = fopen(f->file, "r");
    assert_non_null(file);
    for (int c; (c = fgetc(file)) != EOF;)
        lines += c == '\n';
    fclose(file);
    return lines;
}

/* Each step stands there once, however often the run went back. */
static void test_cut_back(void **state)
{
    const fixture *f = *state;
    run(f, NULL, 0); /* intervals of steps 1 and 2, an epoch, an interval and an end of step 3 */
    assert_int_equal(lines_of(f), 5);
    FILE *file = fopen(f->file, "a");
    fputs("no object\n[1]\n{\"kind\": \"interval\"}\n{\"kind\": \"inter", file); /* as of a crash */
    fclose(file);
    go_on(f, 3, 4);
    assert_int_equal(lines_of(f), 6);
    check_object(f, 4, "end", "step", "3");
    check_object(f, 5, "end", "step", "4");
    go_on(f, 2, 3);
    assert_int_equal(lines_of(f), 4);
    check_object(f, 2, "epoch", "step", "2");
    check_object(f, 3, "end", "step", "3");
    go_on(f, 0, 1);
    assert_int_equal(lines_of(f), 1);
    check_object(f, 0, "end", "step", "1");
}

/* A path of any bytes makes a line of JSON, and one of progress. */
static void test_any_path(void **state)
{
    const fixture *f = *state;
    char text[1024] = "";
    FILE *stream = tmpfile();
    run_to(f, stream, 1000, "a\n\"\\\xc3\xa4/x");
    rewind(stream);
    assert_true(fread(text, 1, sizeof text - 1, stream) > 0);
    fclose(stream);
    assert_non_null(strstr(text, "  a?\"\\\xc3\xa4/x\n"));
    check_object(f, 2, "end", "checkpoint", "\"a\\n\\\"\\\\\xc3\xa4/x\"");
    unlink(f->file);
    run_to(f, NULL, 1000, "caf\xe9\n");
    check_object(f, 2, "end", "checkpoint", "\"caf\\\\xE9\\n\"");
}

static void test_plain_progress(void **state)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = tmpfile();
    run(*state, stream, 0);
    rewind(stream);
    assert_true(getdelim(&text, &size, '\0', stream) > 0);
    fclose(stream);
    assert_non_null(strstr(text, "epoch 1/3 step 2/2 loss 1.000 top-1 30.0% "));
    assert_non_null(strstr(text, "test loss 1.2500  top-1 60.00 %  top-5 95.50 %"));
    assert_non_null(strstr(text, "  validation (averaged weights) loss 0.5000  top-1 70.00 %"));
    assert_non_null(strstr(text, "weights 123456789abcdef0"));
    assert_null(strchr(text, '\r'));
    free(text);
}

/* A run that was stopped between an epoch's last step and its evaluation goes on with that. */
static void test_epoch_without_steps(void **state)
{
    const fixture *f = *state;
    dn_metrics *metrics = NULL;
    char text[1024] = "";
    FILE *stream = tmpfile();
    dn_metrics_settings settings = settings_of(f);
    settings.progress = stream;
    settings.done = 2;
    settings.ranks = 3;
    const dn_named_scores scores = {"test", {1.25, 60, 95.5}};
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    assert_int_equal(dn_metrics_epoch(metrics, 2, 0xabc, &scores, 1), DN_OK);
    dn_metrics_destroy(&metrics);
    rewind(stream);
    assert_true(fread(text, 1, sizeof text - 1, stream) > 0);
    fclose(stream);
    assert_string_equal(text, "epoch 1/3  test loss 1.2500  top-1 60.00 %  top-5 95.50 %  "
                              "weights 0000000000000abc\n");
    check_object(f, 0, "epoch", "train_loss", "null");
    check_object(f, 0, "epoch", "images_per_s", "0.0");
    check_object(f, 0, "epoch", "late_rank", "null");
}

/* text = what a run writes to a terminal of so many columns. */
static void run_on_terminal(const fixture *f, int columns, char text[4096])
{
    int master, slave;
    struct winsize window = {.ws_row = 24, .ws_col = (unsigned short)columns};
    if (openpty(&master, &slave, NULL, NULL, &window) != 0)
        skip(); /* no pseudo-terminals here */
    FILE *terminal = fdopen(slave, "w");
    run(f, terminal, 1000);
    fclose(terminal);
    ssize_t got;
    size_t size = 0;
    while ((got = read(master, text + size, 4095 - size)) > 0)
        size += (size_t)got; /* what the system passes on in parts */
    text[size] = '\0';
    close(master);
}

static void test_terminal_progress(void **state)
{
    char text[4096];
    run_on_terminal(*state, 120, text);
    assert_non_null(strstr(text, "\repoch 1/3 [###############...............] 1/2 loss 2.0"));
    assert_non_null(strstr(text, "\r\033[Kepoch 1/3  train loss"));
}

/* The rate and the time left are the last to go. */
static void test_narrow_terminal(void **state)
{
    char text[4096];
    for (int columns = 120; columns >= 36; columns -= 7) {
        run_on_terminal(*state, columns, text);
        char *const line = strchr(text, '\r') + 1, *const end = strchr(line, '\033');
        assert_non_null(end);
        *end = '\0';
        assert_true((int)strlen(line) < columns);
        assert_non_null(strstr(line, " images/s "));
        assert_string_equal(line + strlen(line) - 5, " left");
        assert_true(columns < 60 || strstr(line, "loss 2.000") != NULL);
    }
}

static void test_fit_line(void **state)
{
    (void)state;
    const dn_part parts[] = {{"\xc3\xa9", 2}, {"", 9}, {"bar", 1}, {"rate", 3}, {"left", 4}};
    static const char *const fits[] = {
        "\xc3\xa9 bar rate left", /* 15 columns */
        "\xc3\xa9 bar rate left", "\xc3\xa9 rate left", "rate left", "left", "lef"};
    const int columns[] = {0, 15, 14, 10, 8, 3};
    char line[64];
    for (int i = 0; i < 6; i++) {
        dn_fit_line(line, sizeof line, columns[i], parts, 5);
        assert_string_equal(line, fits[i]);
    }
}

/* ---- TensorBoard ---- */

/* TensorFlow's bytes of its version, at second 0, and of the loss 0.5 of step 7, at second 1. */
static const uint8_t version_bytes[] = "\x09\0\0\0\0\0\0\0\0\x1a\x0d"
                                       "brain.Event:2";
static const uint8_t loss_bytes[] = "\x09\0\0\0\0\0\0\xf0\x3f\x10\x07\x2a\x0d\x0a\x0b\x0a\x04"
                                    "loss\x15\0\0\0\x3f";

static void test_event_bytes(void **state)
{
    (void)state;
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

static dn_tfrecord open_events(const char *path)
{
    dn_tfrecord file = {.path = path};
    assert_int_equal(dn_file_open(path, &file.file, &file.size), DN_OK);
    return file;
}

/* That was the last event. */
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

/* The first two events: the version, and that a session starts, at the step. */
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
                    {2, "test/loss", 1.25},
                    {2, "test/top1", 60},
                    {2, "test/top5", 95.5},
                    {2, "ema_val/loss", 0.5},
                    {2, "ema_val/top1", 70},
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
    const fixture *f = *state;
    run(f, NULL, 1000);
    glob_t found = find_events(f);
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

/* Each start has a file of its own, the later of them behind the earlier, and says where it began.
 */
static void test_event_files(void **state)
{
    const fixture *f = *state;
    for (int64_t done = 0; done < 3; done++) {
        dn_metrics *metrics;
        dn_metrics_settings settings = settings_of(f);
        settings.done = done;
        settings.tensorboard = 1;
        assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
        dn_metrics_destroy(&metrics);
    }
    go_on(f, 0, 1);
    glob_t found = find_events(f);
    assert_int_equal(found.gl_pathc, 3);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        dn_tfrecord file = open_events(found.gl_pathv[i]);
        check_head(&file, (int64_t)i + 1);
        close_events(&file);
    }
    globfree(&found);
}

/* ---- failures ---- */

/* What is written from now on may have so many bytes a file; the limit before. As of a disk that is
 * full. */
static rlim_t limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = bytes;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    return before;
}

static void test_failures(void **state)
{
    const fixture *f = *state;
    dn_metrics *metrics = NULL;
    dn_metrics_settings settings = settings_of(f);
    settings.folder = "/dev/null/x";
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_EIO);
    assert_non_null(strstr(dn_message(), "/dev/null"));
    assert_int_equal(dn_make_folders(f->folder), DN_OK);
    assert_int_equal(mkdir(f->file, 0777), 0);
    settings.folder = f->folder;
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_EIO);
    assert_non_null(strstr(dn_message(), "metrics.jsonl"));
    rmdir(f->file);
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    const rlim_t before = limit_files(0);
    const dn_status status = dn_metrics_end(metrics, 1, 1, NULL, "");
    limit_files(before);
    assert_int_equal(status, DN_EIO);
    assert_non_null(strstr(dn_message(), "File too large"));
    dn_metrics_destroy(&metrics);
}

/* No room for an event file's head, and then for that of the numbers, of which a line has fewer
 * bytes. */
static void test_event_failures(void **state)
{
    const fixture *f = *state;
    dn_metrics *metrics = NULL;
    dn_metrics_settings settings = settings_of(f);
    settings.interval = 0;
    settings.tensorboard = 1;
    rlim_t before = limit_files(10);
    dn_status status = dn_metrics_create(&metrics, &settings);
    limit_files(before);
    assert_int_equal(status, DN_EIO);
    assert_null(metrics);
    assert_non_null(strstr(dn_message(), "/events.out.tfevents."));
    assert_non_null(strstr(dn_message(), ": cannot write: File too large"));
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    before = limit_files(300);
    status = dn_metrics_step(metrics, 1, &(dn_metrics_values){.loss = 2, .rate = 0.1});
    limit_files(before);
    assert_int_equal(status, DN_EIO);
    assert_non_null(strstr(dn_message(), "/events.out.tfevents."));
    assert_non_null(strstr(dn_message(), ": cannot write: File too large"));
    assert_int_equal(lines_of(f), 1);
    dn_metrics_destroy(&metrics);
}

/* A file is written whole, in place of a former one; where that fails nothing partial is left. */
static void test_file_write(void **state)
{
    const fixture *f = *state;
    char partial[192];
    uint8_t *bytes;
    size_t size;
    assert_int_equal(dn_make_folders(f->folder), DN_OK);
    assert_int_equal(dn_make_folders(f->folder), DN_OK);
    assert_int_equal(dn_file_write(f->file, "former", 6), DN_OK);
    assert_int_equal(dn_file_write(f->file, "four", 4), DN_OK);
    assert_int_equal(dn_file_load(f->file, &bytes, &size), DN_OK);
    assert_int_equal(size, 4);
    assert_memory_equal(bytes, "four", 4);
    free(bytes);
    assert_int_equal(dn_file_write("/dev/null/x", "four", 4), DN_EIO);
    assert_non_null(strstr(dn_message(), "/dev/null/x: cannot write"));
    unlink(f->file);
    assert_int_equal(mkdir(f->file, 0777), 0); /* which no file can replace */
    assert_int_equal(dn_file_write(f->file, "four", 4), DN_EIO);
    assert_non_null(strstr(dn_message(), f->file));
    snprintf(partial, sizeof partial, "%s" DN_PARTIAL, f->file);
    assert_int_not_equal(access(partial, F_OK), 0);
    rmdir(f->file);
}

/* The configuration and the data set stand in front, once, however often the run goes on. */
static void test_configuration(void **state)
{
    const fixture *f = *state;
    for (int64_t done = 0; done < 3; done++) {
        dn_metrics *metrics;
        const dn_metrics_settings settings = {.folder = f->folder,
                                              .steps_per_epoch = 9,
                                              .epochs = 1,
                                              .last_step = 9,
                                              .images = 64,
                                              .ranks = 1,
                                              .interval = 0,
                                              .done = done,
                                              .config = "[train]\nmodel = a = b\nfreeze = \n",
                                              .data = {"b\"irds", "/caf\xe9", 3, 80, 20, 50}};
        assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
        assert_int_equal(dn_metrics_step(metrics, done + 1, &(dn_metrics_values){.loss = 1}),
                         DN_OK);
        dn_metrics_destroy(&metrics);
        check_object(f, 0, "run", "config", "{\"model\": \"a = b\", \"freeze\": \"\"}");
        check_object(f, 0, "run", "data",
                     "{\"name\": \"b\\\"irds\", \"path\": \"/caf\\\\xE9\", \"classes\": 3, "
                     "\"train\": 80, \"validation\": 20, \"test\": 50}");
        check_object(f, 0, "run", "last_step", "9");
        check_object(f, 0, "run", "images", "64");
        assert_int_equal(lines_of(f), done + 2);
    }
    check_object(f, 3, "interval", "step", "3");
}

static void test_null(void **state)
{
    (void)state;
    dn_metrics *metrics = NULL;
    assert_int_equal(dn_metrics_step(NULL, 1, &(dn_metrics_values){0}), DN_OK);
    assert_int_equal(dn_metrics_epoch(NULL, 1, 1, NULL, 0), DN_OK);
    assert_int_equal(dn_metrics_end(NULL, 1, 1, NULL, ""), DN_OK);
    dn_metrics_destroy(&metrics);
}

#define METRICS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        METRICS_TEST(test_file),
        METRICS_TEST(test_cut_back),
        METRICS_TEST(test_configuration),
        METRICS_TEST(test_any_path),
        METRICS_TEST(test_plain_progress),
        METRICS_TEST(test_terminal_progress),
        METRICS_TEST(test_epoch_without_steps),
        METRICS_TEST(test_narrow_terminal),
        cmocka_unit_test(test_fit_line),
        METRICS_TEST(test_failures),
        METRICS_TEST(test_file_write),
        METRICS_TEST(test_events),
        METRICS_TEST(test_event_files),
        METRICS_TEST(test_event_failures),
        cmocka_unit_test(test_event_bytes),
        cmocka_unit_test(test_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
