/* Progress on a terminal and elsewhere. */
#include <math.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/terminal.h"
#include "run_metrics.h"
#include "trial_files.h"

static void test_plain_progress(void **state)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = tmpfile();
    metrics_run(stream, 0);
    rewind(stream);
    assert_true(getdelim(&text, &size, '\0', stream) > 0);
    fclose(stream);
    assert_non_null(strstr(text, "epoch 1/3 step 2/2 loss 1.000 top-1 30.0% "));
    assert_non_null(strstr(
        text, "test loss 1.2500  top-1 60.00 %  balanced 40.00 %  AUROC 0.8750  validation"));
    assert_non_null(strstr(text, "  validation (averaged weights) loss 0.5000  top-1 70.00 %"));
    assert_non_null(strstr(text, "weights 123456789abcdef0"));
    assert_null(strchr(text, '\r'));
    free(text);
}

/* A run that was stopped between an epoch's last step and its evaluation resumes with the
 * evaluation. */
static void test_epoch_without_steps(void **state)
{
    dn_metrics *metrics = NULL;
    char text[1024] = "";
    FILE *stream = tmpfile();
    dn_metrics_settings settings = metrics_settings();
    settings.progress = stream;
    settings.done = 2;
    settings.ranks = 3;
    settings.data.classes = 6;
    const dn_named_scores scores = {"test", {1.25, 60, 95.5, 60, 0.5, 0, 0}, NULL};
    assert_int_equal(dn_metrics_create(&metrics, &settings), DN_OK);
    assert_int_equal(dn_metrics_epoch(metrics, 2, 0xabc, &scores, 1), DN_OK);
    assert_int_equal(dn_metrics_test(metrics, 2, 1, &scores), DN_OK);
    assert_int_equal(dn_metrics_test(metrics, 2, 0, &scores), DN_OK);
    dn_metrics_destroy(&metrics);
    rewind(stream);
    assert_true(fread(text, 1, sizeof text - 1, stream) > 0);
    fclose(stream);
    assert_string_equal(text, "epoch 1/3  test loss 1.2500  top-1 60.00 %  top-5 95.50 %  "
                              "weights 0000000000000abc\n"
                              "best epoch 1, test loss 1.2500, top-1 60.00 %, top-5 95.50 %\n"
                              "last weights, test loss 1.2500, top-1 60.00 %, top-5 95.50 %\n");
    metrics_check(1, "test", "best_epoch", "1");
    metrics_check(1, "test", "test_top1", "60.0");
    metrics_check(2, "test", "best_epoch", "null");
    metrics_check(0, "epoch", "train_loss", "null");
    metrics_check(0, "epoch", "images_per_s", "null");
    metrics_check(0, "epoch", "late_rank", "null");
}

/* text = what a run writes to a terminal of that width. */
static void run_on_terminal(int columns, char text[4096])
{
    int master, slave;
    struct winsize window = {.ws_row = 24, .ws_col = (unsigned short)columns};
    if (openpty(&master, &slave, NULL, NULL, &window) != 0)
        DN_SKIP("pseudo-terminals are missing");
    FILE *terminal = fdopen(slave, "w");
    metrics_run(terminal, 1000);
    fclose(terminal);
    ssize_t got;
    size_t size = 0;
    while ((got = read(master, text + size, 4095 - size)) > 0)
        size += (size_t)got; /* the system may pass it on in parts */
    text[size] = '\0';
    close(master);
}

static void test_terminal_progress(void **state)
{
    char text[4096];
    run_on_terminal(120, text);
    assert_non_null(strstr(text, "\repoch 1/3 [###############...............] 1/2 loss 2.0"));
    assert_non_null(strstr(text, "\r\033[Kepoch 1/3  train loss"));
}

/* The speed and the time left are dropped last. */
static void test_narrow_terminal(void **state)
{
    char text[4096];
    for (int columns = 120; columns >= 36; columns -= 7) {
        run_on_terminal(columns, text);
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

/* Fractions outside [0, 1], and durations that are unknown. */
static void test_beyond(void **state)
{
    static const struct {
        double value;
        const char *bar, *duration;
    } cases[] = {{0, "[.....]", "0:00"},
                 {0.5, "[##...]", "0:01"},
                 {1, "[#####]", "0:01"},
                 {7200, "[#####]", "2:00:00"},
                 {-0.2, "[.....]", "?"},
                 {-INFINITY, "[.....]", "?"},
                 {INFINITY, "[#####]", "?"},
                 {(double)NAN, "[.....]", "?"},
                 {1e12, "[#####]", "277777777:46:40"}};
    char bar[DN_BAR_MOST + 3], duration[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dn_bar_text(cases[i].value, DN_BAR_LEAST, bar);
        dn_duration_text(cases[i].value, duration);
        assert_string_equal(bar, cases[i].bar);
        assert_string_equal(duration, cases[i].duration);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRIAL_TEST(test_plain_progress),      TRIAL_TEST(test_terminal_progress),
        TRIAL_TEST(test_epoch_without_steps), TRIAL_TEST(test_narrow_terminal),
        cmocka_unit_test(test_fit_line),      cmocka_unit_test(test_beyond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
