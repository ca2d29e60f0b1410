/* metrics.jsonl, progress on a terminal and elsewhere, and files that cannot be written. */
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
#include <unistd.h>

#include <cmocka.h>

#include "dn/file.h"
#include "dn/metrics.h"

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

static int tear_down(void **state)
{
    fixture *f = *state;
    char path[96];
    unlink(f->file);
    rmdir(f->folder);
    snprintf(path, sizeof path, "%s/a", f->root);
    rmdir(path);
    rmdir(f->root);
    free(f);
    return 0;
}

/* Two epochs of two steps; the second is cut after one, saved to `checkpoint`. */
static void run_to(const fixture *f, FILE *progress, double interval, const char *checkpoint)
{
    dn_metrics *metrics = NULL;
    const dn_metrics_settings settings = {f->folder, progress, 2, 3, 6, 10, interval, 0, NULL};
    const dn_named_scores scores = {"test", {1.25, 60, 95.5}};
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    assert_int_equal(dn_metrics_step(metrics, 1, &(dn_metrics_values){2.0, 1, 0.1, 0.25, 0.125}),
                     DN_OK);
    assert_int_equal(dn_metrics_step(metrics, 2, &(dn_metrics_values){1.0, 3, 0.1, 0.25, 0.5}),
                     DN_OK);
    assert_int_equal(dn_metrics_epoch(metrics, 2, 0xabc, &scores, 1), DN_OK);
    assert_int_equal(
        dn_metrics_step(metrics, 3, &(dn_metrics_values){(double)NAN, 0, 0.1, 0.25, 0}), DN_OK);
    assert_int_equal(dn_metrics_end(metrics, 3, 0x123456789abcdef0u, checkpoint), DN_OK);
    dn_metrics_destroy(&metrics);
    assert_null(metrics);
}

static void run(const fixture *f, FILE *progress, double interval)
{
    run_to(f, progress, interval, "runs/x/checkpoint-00000003.h5");
}

/* The run goes on after `done` steps, and ends at once after `step`. */
static void go_on(const fixture *f, int64_t done, int64_t step)
{
    dn_metrics *metrics = NULL;
    const dn_metrics_settings settings = {f->folder, NULL, 2, 3, 6, 10, 1000, done, NULL};
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    assert_int_equal(dn_metrics_end(metrics, step, 1, NULL), DN_OK);
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
    check_object(f, 0, "epoch", "data_wait", "0.5");
    check_object(f, 0, "epoch", "sum_wait", "0.625");
    check_object(f, 0, "epoch", "weights_hash", "\"0000000000000abc\"");
    check_object(f, 1, "interval", "step", "3");
    check_object(f, 1, "interval", "loss", "null");
    check_object(f, 1, "interval", "data_wait", "0.25");
    check_object(f, 1, "interval", "top1", "0.0");
    check_object(f, 2, "end", "weights_hash", "\"123456789abcdef0\"");
    check_object(f, 2, "end", "checkpoint", "\"runs/x/checkpoint-00000003.h5\"");
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
    const dn_metrics_settings settings = {f->folder, stream, 2, 3, 6, 10, 1000, 2, NULL};
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
}

static void test_terminal_progress(void **state)
{
    int master, slave;
    struct winsize wide = {.ws_row = 24, .ws_col = 120};
    if (openpty(&master, &slave, NULL, NULL, &wide) != 0)
        skip(); /* no pseudo-terminals here */
    FILE *terminal = fdopen(slave, "w");
    run(*state, terminal, 1000);
    fclose(terminal);
    char text[4096] = "";
    ssize_t got;
    for (size_t size = 0; (got = read(master, text + size, sizeof text - 1 - size)) > 0;)
        size += (size_t)got; /* what the system passes on in parts */
    assert_non_null(strstr(text, "\repoch 1/3 [###############...............] 1/2 loss 2.0"));
    assert_non_null(strstr(text, "\r\033[Kepoch 1/3  train loss"));
    close(master);
}

static void test_failures(void **state)
{
    const fixture *f = *state;
    dn_metrics *metrics = NULL;
    dn_metrics_settings settings = {"/dev/null/x", NULL, 1, 1, 1, 1, 1, 0, NULL};
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_EIO);
    assert_non_null(strstr(dn_message(), "/dev/null"));
    assert_int_equal(dn_make_folders(f->folder), DN_OK);
    assert_int_equal(mkdir(f->file, 0777), 0);
    settings.folder = f->folder;
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_EIO);
    assert_non_null(strstr(dn_message(), "metrics.jsonl"));
    rmdir(f->file);
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = (struct rlimit){0, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &none); /* a disk that is full */
    const dn_status status = dn_metrics_end(metrics, 1, 1, NULL);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(status, DN_EIO);
    assert_non_null(strstr(dn_message(), "File too large"));
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

/* The configuration stands in front, once, however often the run goes on. */
static void test_configuration(void **state)
{
    const fixture *f = *state;
    for (int64_t done = 0; done < 3; done++) {
        dn_metrics *metrics;
        const dn_metrics_settings settings = {.folder = f->folder,
                                              .steps_per_epoch = 9,
                                              .epochs = 1,
                                              .last_step = 9,
                                              .images = 1,
                                              .interval = 0,
                                              .done = done,
                                              .config = "[train]\nmodel = a = b\nfreeze = \n"};
        assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
        assert_int_equal(dn_metrics_step(metrics, done + 1, &(dn_metrics_values){.loss = 1}),
                         DN_OK);
        dn_metrics_destroy(&metrics);
        check_object(f, 0, "run", "config", "{\"model\": \"a = b\", \"freeze\": \"\"}");
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
    assert_int_equal(dn_metrics_end(NULL, 1, 1, NULL), DN_OK);
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
        METRICS_TEST(test_terminal_progress),
        METRICS_TEST(test_failures),
        METRICS_TEST(test_file_write),
        cmocka_unit_test(test_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
