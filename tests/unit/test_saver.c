/* Checkpoints that are saved in the background, by a child before the process is killed, and where
 * a write fails. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoints.h"
#include "io/checkpoint_saver.h"
#include "trial_files.h"

/* A net with its optimizer, and a saver of both into RUN. */
typedef struct fixture {
    dn_net *net;
    dn_view view;
    dn_optimizer_state vectors;
    dn_saver *saver;
    dn_checkpoint position;
    float *expected; /* what check_saved expects */
} fixture;

static void set_up(fixture *f, const char *model, const char *optimizer, int keep)
{
    *f = (fixture){.net = trial_net(model, 3)};
    f->view = dn_net_view(f->net);
    f->vectors = trial_vectors(f->net, optimizer, 1);
    f->position = trial_state(f->net, 1);
    f->expected = malloc((f->view.parameter_count + f->view.running_count + f->vectors.floats) *
                         sizeof *f->expected);
    assert_non_null(f->expected);
    if (dn_saver_create(&f->saver, f->net, &f->vectors, RUN, keep) != DN_OK)
        fail_msg("%s", dn_message());
    dn_log_set_level(DN_QUIET);
}

static void tear_down(fixture *f)
{
    dn_saver_destroy(&f->saver);
    assert_null(f->saver);
    free(f->expected);
    dn_optimizer_state_destroy(&f->vectors);
    dn_net_destroy(&f->net);
    dn_log_set_level(DN_INFO);
}

static dn_status start(fixture *f, int64_t step)
{
    f->position.step = step;
    return dn_saver_start(f->saver, &f->position);
}

/* Forks a child that saves this step. */
static void rescue(fixture *f, int64_t step, int is_swapped)
{
    f->position.step = step;
    dn_saver_rescue(f->saver, &f->position, is_swapped);
}

static void expect_exit(int status)
{
    int ending;
    assert_true(wait(&ending) > 0 && WIFEXITED(ending));
    assert_int_equal(WEXITSTATUS(ending), status);
}

/* Copies the net's and the optimizer's vectors to `expected`. */
static void expect_present(fixture *f)
{
    float *const running = f->expected + f->view.parameter_count;
    memcpy(f->expected, f->view.parameters, f->view.parameter_count * sizeof(float));
    memcpy(running, f->view.running, f->view.running_count * sizeof(float));
    memcpy(running + f->view.running_count, f->vectors.vectors, f->vectors.floats * sizeof(float));
}

/* Checks that the checkpoint of the step holds the expected vectors. */
static void check_saved(const fixture *f, int64_t step)
{
    const float *const running = f->expected + f->view.parameter_count;
    char path[128];
    dn_net *net = trial_net(SMALL, 4);
    const dn_view view = dn_net_view(net);
    dn_optimizer_state found = trial_vectors(net, f->vectors.optimizer->name, 7);
    dn_checkpoint_path(path, sizeof path, RUN, step);
    assert_int_equal(trial_load(path, net, &found), DN_OK);
    assert_memory_equal(view.parameters, f->expected, view.parameter_count * sizeof(float));
    assert_memory_equal(view.running, running, view.running_count * sizeof(float));
    assert_memory_equal(found.vectors, running + view.running_count, found.floats * sizeof(float));
    dn_optimizer_state_destroy(&found);
    dn_net_destroy(&net);
}

/* A checkpoint holds the vectors as they were when the save started, however they change later. */
static void test_background(void **state)
{
    fixture f;
    set_up(&f, SMALL, "adam", 2);
    const size_t count = f.view.parameter_count;
    for (int step = 1; step <= 5; step++) {
        expect_present(&f);
        f.position.hash = dn_net_hash(f.net);
        assert_int_equal(start(&f, step), DN_OK);
        for (size_t i = 0; i < count; i++)
            f.view.parameters[i] += f.vectors.vectors[i] *= 2;
        memset(f.vectors.vectors + count, step, count * sizeof(float));
        memset(f.view.running, step, f.view.running_count * sizeof(float));
    }
    assert_int_equal(dn_saver_wait(f.saver), DN_OK);
    assert_true(dn_saver_longest(f.saver) > 0);
    assert_int_equal(trial_files_in(RUN), 2);
    assert_int_equal(trial_newest(RUN).step, 5);
    check_saved(&f, 5);
    tear_down(&f);
}

/* A child saves the vectors as they were when it was forked, while this process continues and
 * saves. */
static void test_rescue(void **state)
{
    fixture f;
    set_up(&f, SMALL, "sgd", 0);
    assert_int_equal(start(&f, 1), DN_OK);
#ifdef __SANITIZE_ADDRESS__ /* a thread may hold its allocator's lock when the child is forked */
    assert_int_equal(dn_saver_wait(f.saver), DN_OK);
#endif
    f.view.parameters[0] += 1;
    expect_present(&f);
    rescue(&f, 2, 0);
    memset(f.view.parameters, 3, f.view.parameter_count * sizeof(float));
    assert_int_equal(start(&f, 3), DN_OK);
    assert_int_equal(dn_saver_wait(f.saver), DN_OK);
    expect_exit(0);
    assert_int_equal(trial_files_in(RUN), 3);
    check_saved(&f, 2);
    tear_down(&f);
}

/* If the averaged weights are in the net, the child swaps them back. */
static void test_rescue_swapped(void **state)
{
    fixture f;
    set_up(&f, SMALL, "sgd", 0);
    expect_present(&f);
    dn_optimizer_swap_average(&f.vectors, &f.view, 1);
    rescue(&f, 4, 1);
    expect_exit(0);
    check_saved(&f, 4);
    tear_down(&f);
}

/* A child deletes old checkpoints, too. */
static void test_rescue_keep(void **state)
{
    fixture f;
    set_up(&f, SMALL, "sgd", 2);
    for (int step = 1; step <= 2; step++)
        assert_int_equal(start(&f, step), DN_OK);
    assert_int_equal(dn_saver_wait(f.saver), DN_OK);
    rescue(&f, 3, 0);
    expect_exit(0);
    assert_int_equal(trial_files_in(RUN), 2);
    assert_int_equal(trial_newest(RUN).step, 3);
    tear_down(&f);
}

/* A step that is on disk is not saved again. A child that cannot save says so. */
static void test_rescue_refused(void **state)
{
    fixture f;
    set_up(&f, SMALL, "sgd", 0);
    assert_int_equal(start(&f, 3), DN_OK);
    assert_int_equal(dn_saver_wait(f.saver), DN_OK);
    rescue(&f, 3, 0);
    dn_checkpoint_path(f.position.path, sizeof f.position.path, RUN, 2); /* resumed from it */
    rescue(&f, 2, 0);
    assert_int_equal(wait(NULL), -1);
    assert_int_equal(system("rm -r " RUN " && touch " RUN), 0);
    rescue(&f, 4, 0);
    expect_exit(1);
    tear_down(&f);
}

/* After a failed write training continues; the next save waits and returns its own status. */
static void test_failure(void **state)
{
    fixture f;
    set_up(&f, SMALL, "sgd", 0);
    assert_int_equal(rmdir(RUN), 0); /* the saver does not make it again: it would have no lock */
    assert_int_equal(start(&f, 4), DN_OK);
    assert_int_equal(start(&f, 5), DN_EIO);
    assert_non_null(strstr(dn_message(), RUN "/checkpoint-00000005.h5: cannot write"));
    assert_int_equal(dn_saver_wait(f.saver), DN_OK);
    assert_int_equal(mkdir(RUN, 0777) + mkdir(RUN "/checkpoint-00000004.h5", 0777), 0);
    assert_int_equal(start(&f, 4), DN_OK);
    assert_int_equal(start(&f, 5), DN_OK);
    assert_int_equal(trial_newest(RUN).step, 5);
    assert_int_equal(dn_saver_wait(f.saver), DN_OK);
    assert_int_equal(trial_files_in(RUN), 2);
    tear_down(&f);
    assert_int_equal(dn_saver_start(NULL, &f.position), DN_OK);
    assert_int_equal(dn_saver_wait(NULL), DN_OK);
    dn_saver_destroy(&f.saver);
}

/* Saves step 4 as the best, which fails; dn_saver_wait would return that failure. */
static void fail_to_save_best(fixture *f)
{
    f->position.is_best = 1;
    f->position.monitor.best_epoch = 2;
    assert_int_equal(start(f, 4), DN_OK);
    f->position.is_best = 0;
    assert_int_equal(pthread_join(f->saver->thread, NULL), 0);
    f->saver->is_writing = 0;
    assert_int_equal(f->saver->report, DN_UNREPORTED);
}

static dn_checkpoint read_state(const char *path)
{
    dn_checkpoint state;
    dn_checkpoint_file *file;
    assert_int_equal(dn_checkpoint_open(&file, path, &state), DN_OK);
    dn_checkpoint_close(&file);
    return state;
}

/* The best checkpoint is written again from the copy before the next save replaces that, whichever
 * of its two files failed. */
static void test_best_failure(void **state)
{
    static const char *const files[] = {RUN "/best.h5", RUN "/checkpoint-00000004.h5"};
    for (int i = 0; i < 2; i++) {
        fixture f;
        set_up(&f, SMALL, "sgd", 1);
        assert_int_equal(mkdir(files[i], 0777), 0);
        fail_to_save_best(&f);
        assert_int_equal(start(&f, 5), DN_EIO);
        assert_non_null(strstr(dn_message(), files[i]));
        assert_int_not_equal(access(RUN "/checkpoint-00000005.h5", F_OK), 0);
        fail_to_save_best(&f);
        assert_int_equal(rmdir(files[i]), 0);
        assert_int_equal(start(&f, 5), DN_OK);
        assert_int_equal(dn_saver_wait(f.saver), DN_OK);
        assert_int_equal(read_state(RUN "/best.h5").step, 4);
        assert_int_equal(trial_newest(RUN).step, 5);
        assert_int_equal(trial_files_in(RUN), 2);
        tear_down(&f);
        assert_int_equal(unlink(RUN "/best.h5") + unlink(RUN "/checkpoint-00000005.h5"), 0);
    }
}

/* A child that saves after the best checkpoint could not be written does not name that epoch. */
static void test_best_failure_rescue(void **state)
{
    fixture f;
    set_up(&f, SMALL, "sgd", 0);
    assert_int_equal(mkdir(RUN "/best.h5", 0777), 0);
    fail_to_save_best(&f);
    rescue(&f, 5, 0);
    expect_exit(0);
    assert_true(trial_newest(RUN).monitor.best_epoch == 0);
    assert_int_equal(rmdir(RUN "/best.h5"), 0);
    assert_int_equal(start(&f, 6), DN_OK);
    assert_int_equal(dn_saver_wait(f.saver), DN_OK);
    rescue(&f, 7, 0);
    expect_exit(0);
    assert_true(trial_newest(RUN).monitor.best_epoch == 2);
    tear_down(&f);
}

/* A saver whose last write failed does not replace the message of the run's failure. */
static void test_message_stays(void **state)
{
    fixture f;
    set_up(&f, SMALL, "sgd", 0);
    assert_int_equal(rmdir(RUN), 0);
    assert_int_equal(start(&f, 4), DN_OK);
    dn_fail(DN_EINVAL, "why the run ends");
    tear_down(&f);
    assert_string_equal(dn_message(), "why the run ends");
}

/* Values that no reader accepts are not written, and the last checkpoint is kept. */
static void test_not_finite(void **state)
{
    fixture f;
    set_up(&f, SMALL, "adam", 1);
    assert_int_equal(start(&f, 1), DN_OK);
    const struct {
        float *number;
        const char *name;
    } cases[] = {{f.view.parameters + f.view.parameter_count - 1, ": model/"},
                 {f.view.running, ".running_mean "},
                 {f.vectors.vectors, ": optimizer/exp_avg/"},
                 {f.vectors.vectors + f.vectors.count, ": optimizer/exp_avg_sq/"},
                 {f.vectors.vectors + f.vectors.floats - 1, ": average/"}};
    for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++) {
        const float before = *cases[i].number;
        *cases[i].number = i % 2 ? NAN : -INFINITY;
        assert_int_equal(start(&f, 2 + i), DN_EDIVERGED);
        assert_non_null(strstr(dn_message(), cases[i].name));
        assert_non_null(strstr(dn_message(), "became non-finite in an update; not saved"));
        rescue(&f, 2 + i, 0);
        expect_exit(1);
        assert_int_equal(trial_files_in(RUN), 1);
        *cases[i].number = before;
    }
    assert_int_equal(trial_newest(RUN).step, 1);
    assert_int_equal(start(&f, 7), DN_OK);
    tear_down(&f);
    assert_int_equal(trial_newest(RUN).step, 7);
}

/* Saves step after step until test_killed kills it. */
static int save_forever(void)
{
    fixture f;
    set_up(&f, "densenet-bc-100-12", "sgd", 0);
    for (int64_t step = trial_newest(RUN).step + 1; start(&f, step) == DN_OK;)
        step++;
    return 1;
}

/* Wherever a process is killed while it writes, the newest checkpoint is whole. */
static void test_killed(void **state)
{
    char path[128];
    for (int i = 0, step = 0; i < 10; i++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            execl("/proc/self/exe", "test_saver", "--save-forever", NULL);
            _exit(127);
        }
        do { /* until it has saved once, and then for a part of another save */
            usleep(1000);
            dn_checkpoint_path(path, sizeof path, RUN, step + 1);
        } while (access(path, F_OK) != 0 && waitpid(child, NULL, WNOHANG) == 0);
        usleep(7919 * (useconds_t)i % 20000);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (access(path, F_OK) == 0)
            dn_checkpoint_path(path, sizeof path, RUN, ++step + 1);
        assert_int_equal(trial_newest(RUN).step, step);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--save-forever") == 0)
        return save_forever();
    const struct CMUnitTest tests[] = {
        TRIAL_TEST(test_background),
        TRIAL_TEST(test_rescue),
        TRIAL_TEST(test_rescue_swapped),
        TRIAL_TEST(test_rescue_keep),
        TRIAL_TEST(test_rescue_refused),
        TRIAL_TEST(test_failure),
        TRIAL_TEST(test_best_failure),
        TRIAL_TEST(test_message_stays),
        TRIAL_TEST(test_best_failure_rescue),
        TRIAL_TEST(test_not_finite),
        TRIAL_TEST(test_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
