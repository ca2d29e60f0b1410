/*
 * Checkpoints: a round trip to the bit, the folder's housekeeping, and failures to write. Saves in
 * the background are in test_saver.c.
 *
 * With a folder as argument it leaves a checkpoint there, and beside it logits.txt, the logits of
 * an evaluation, for tests/oracles/load_checkpoint.py to compare with PyTorch's.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoints.h"
#include "dn/file.h"
#include "dn/rng.h"
#include "dn/run_folder.h"
#include "trial_files.h"

/* A checkpoint of step 42 restores the net and the vectors of `optimizer`. */
static void check_round_trip(const char *optimizer)
{
    char path[128];
    trial_save_with(optimizer, SMALL, 3, 42, 0, path);
    dn_net *saved = trial_net(SMALL, 3), *loaded = trial_net(SMALL, 4);
    dn_optimizer_state expected = trial_vectors(saved, optimizer, 42);
    dn_optimizer_state found = trial_vectors(loaded, optimizer, 7);
    assert_int_equal(trial_load(path, loaded, &found), DN_OK);
    assert_memory_equal(dn_net_view(saved).parameters, dn_net_view(loaded).parameters,
                        dn_net_view(saved).parameter_count * sizeof(float));
    assert_memory_equal(dn_net_view(saved).running, dn_net_view(loaded).running,
                        dn_net_view(saved).running_count * sizeof(float));
    assert_memory_equal(expected.vectors, found.vectors, found.floats * sizeof(float));
    dn_optimizer_state_destroy(&expected);
    dn_optimizer_state_destroy(&found);
    dn_net_destroy(&saved);
    dn_net_destroy(&loaded);
}

static void test_round_trip(void **state)
{
    for (int i = 0; dn_optimizer_name(i); i++)
        check_round_trip(dn_optimizer_name(i));
}

/* The file is read once: changes by another process after that have no effect. */
static void test_read_once(void **state)
{
    char path[128];
    dn_checkpoint position;
    dn_checkpoint_file *file;
    dn_net *saved = trial_net(SMALL, 3), *net = trial_net(SMALL, 9);
    dn_optimizer_state expected = trial_vectors(net, "adam", 4);
    dn_optimizer_state vectors = trial_vectors(net, "adam", 9);
    trial_save_with("adam", SMALL, 3, 4, 0, path);
    assert_int_equal(dn_checkpoint_open(&file, path, &position), DN_OK);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(dn_checkpoint_load(file, net, &vectors), DN_OK);
    assert_true(dn_net_hash(net) == dn_net_hash(saved));
    assert_memory_equal(vectors.vectors, expected.vectors, expected.floats * sizeof(float));
    dn_checkpoint_close(&file);
    dn_optimizer_state_destroy(&vectors);
    dn_optimizer_state_destroy(&expected);
    dn_net_destroy(&saved);
    dn_net_destroy(&net);
}

static void test_position(void **state)
{
    dn_net *net = trial_net(SMALL, 3);
    dn_checkpoint saved = trial_state(net, 42);
    strcpy(saved.schedule, "plateau");
    strcpy(saved.kernels, "vectors");
    saved.epoch_sums = (dn_epoch_sums){7, 1 / 3.0, 99};
    saved.average_step = 40;
    for (int i = 0; i < DN_SCHEDULE_DOUBLES; i++)
        ((double *)&saved.schedule_state)[i] = 1 / (i + 3.0);
    assert_int_equal(trial_save_net(RUN, net, &saved, "sgd", 0), DN_OK);
    const dn_checkpoint found = trial_newest(RUN);
    assert_int_equal(found.step, 42);
    assert_int_equal(found.average_step, 40);
    assert_string_equal(found.config, saved.config);
    assert_string_equal(found.data, saved.data);
    assert_string_equal(found.schedule, "plateau");
    assert_string_equal(found.kernels, "vectors");
    assert_memory_equal(&found.epoch_sums, &saved.epoch_sums, sizeof found.epoch_sums);
    assert_memory_equal(&found.schedule_state, &saved.schedule_state, sizeof found.schedule_state);
    dn_net_destroy(&net);
}

static dn_status load_average(const char *path, dn_net *net)
{
    dn_checkpoint state;
    dn_checkpoint_file *file;
    DN_TRY(dn_checkpoint_open(&file, path, &state));
    const dn_status status = dn_checkpoint_load_average(file, net);
    dn_checkpoint_close(&file);
    return status;
}

/* Averages whose batch statistics were never measured are refused. */
static void test_average(void **state)
{
    char path[128];
    dn_net *net = trial_net(SMALL, 3);
    dn_checkpoint saved = trial_state(net, 42);
    dn_checkpoint_path(path, sizeof path, RUN, saved.step);
    assert_int_equal(trial_save_net(RUN, net, &saved, "sgd", 0), DN_OK);
    dn_net_view(net).parameters[0] += 1;
    const uint64_t before = dn_net_hash(net);
    assert_int_equal(load_average(path, net), DN_EINVAL);
    assert_true(dn_net_hash(net) == before);
    assert_non_null(strstr(dn_message(), "whose batch statistics were never measured"));
    for (saved.average_step = 41; saved.average_step <= 42; saved.average_step++) {
        assert_int_equal(trial_save_net(RUN, net, &saved, "sgd", 0), DN_OK);
        assert_int_equal(load_average(path, net), DN_OK);
    }
    dn_net_destroy(&net);
}

/* Averages that a resumed run begins are its weights and running statistics. */
static void test_new_average(void **state)
{
    dn_net *net = trial_net(SMALL, 3);
    const dn_view view = dn_net_view(net);
    const dn_checkpoint saved = trial_state(net, 42);
    dn_optimizer_state none, found = trial_vectors(net, "sgd", 7);
    dn_saver *saver;
    char path[128];
    assert_int_equal(dn_optimizer_state_create(&none, found.optimizer, view.parameter_count, 0),
                     DN_OK);
    assert_int_equal(dn_saver_create(&saver, net, &none, RUN, 0), DN_OK);
    assert_int_equal(dn_saver_start(saver, &saved), DN_OK);
    assert_int_equal(dn_saver_wait(saver), DN_OK);
    dn_checkpoint_path(path, sizeof path, RUN, saved.step);
    assert_int_equal(trial_load(path, net, &found), DN_OK);
    assert_memory_equal(found.average, view.parameters, view.parameter_count * sizeof(float));
    assert_memory_equal(found.average + view.parameter_count, view.running,
                        view.running_count * sizeof(float));
    dn_saver_destroy(&saver);
    dn_optimizer_state_destroy(&none);
    dn_optimizer_state_destroy(&found);
    dn_net_destroy(&net);
}

static void test_other_optimizer(void **state)
{
    char path[128];
    trial_save_with("adamw", SMALL, 3, 5, 0, path);
    trial_load_expect(path, SMALL, DN_EINVAL,
                      "--optimizer sgd: found the state of adamw in " RUN "/");
    dn_net *net = trial_net(SMALL, 4);
    assert_int_equal(trial_load(path, net, NULL), DN_OK); /* the weights alone */
    dn_net_destroy(&net);
}

static void test_keep(void **state)
{
    char path[128];
    for (int step = 10; step <= 50; step += 10)
        trial_save(SMALL, 1, step, 2, path);
    assert_int_equal(trial_files_in(RUN), 2);
    assert_string_equal(trial_newest(RUN).path, path);
    trial_save(SMALL, 1, 15, 1, path); /* an older step is not deleted by its own save */
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(trial_files_in(RUN), 3);
}

static void test_leftovers(void **state)
{
    char path[128];
    dn_checkpoint position;
    dn_checkpoint_file *file;
    assert_int_equal(mkdir(RUN, 0777), 0);
    fclose(fopen(RUN "/checkpoint-00000003.h5.partial", "w"));
    fclose(fopen(RUN "/checkpoint-00000003.h5.rescued", "w"));
    assert_string_equal(trial_newest(RUN).path, "");
    trial_save(SMALL, 1, 4, 0, path);
    assert_int_equal(trial_files_in(RUN), 1);
    assert_int_equal(unlink(path) + rmdir(RUN), 0);
    assert_string_equal(trial_newest(RUN).path, "");
    fclose(fopen(RUN, "w")); /* a file in place of the folder */
    assert_int_equal(dn_checkpoint_open_newest(&file, RUN, INT64_MAX, &position), DN_EIO);
    assert_non_null(strstr(dn_message(), "cannot read the folder: Not a directory"));
    assert_int_equal(unlink(RUN), 0);
}

/* ---- a folder that cannot be read to its end ---- */

static int refused; /* the call of readdir that fails: 1, the next; 0: none */

struct dirent *__real_readdir64(DIR *);
struct dirent *__wrap_readdir64(DIR *);

struct dirent *__wrap_readdir64(DIR *folder)
{
    if (refused > 0 && --refused == 0) {
        errno = EIO;
        return NULL;
    }
    return __real_readdir64(folder);
}

/* The entries that could not be read may include the newest checkpoint. */
static void test_unreadable_folder(void **state)
{
    static const char expected[] = RUN ": cannot read the folder: Input/output error";
    char path[128];
    dn_checkpoint position;
    dn_checkpoint_file *file;
    for (int step = 3; step <= 5; step++)
        trial_save(SMALL, 1, step, 0, path);
    for (int entry = 1; entry <= 6; entry++) { /* "." and ".." are two, the end is one */
        refused = entry;
        assert_int_equal(dn_checkpoint_open_newest(&file, RUN, INT64_MAX, &position), DN_EIO);
        assert_string_equal(dn_message(), expected);
        refused = entry;
        assert_int_equal(dn_run_set_aside(RUN, -1), DN_EIO);
        assert_string_equal(dn_message(), expected);
    }
    refused = 0;
    assert_int_equal(trial_files_in(RUN), 3);
    assert_int_equal(trial_newest(RUN).step, 5);
}

/* Each new run moves the files of the previous one to a folder of their own. */
static void test_set_aside(void **state)
{
    char path[128], old[128];
    dn_log_set_level(DN_QUIET);
    assert_int_equal(mkdir(RUN, 0777), 0);
    assert_int_equal(dn_run_set_aside(RUN, -1), DN_OK);
    assert_int_equal(trial_files_in(RUN), 0);
    for (int run = 1; run <= 2; run++) {
        trial_save(SMALL, 1, 4, 0, path);
        trial_save(SMALL, 1, 5, 0, path);
        strcpy(path, RUN "/metrics.jsonl");
        assert_int_equal(dn_file_write(path, "{}\n", 3), DN_OK);
        strcpy(path, RUN "/events.out.tfevents.1.a");
        assert_int_equal(dn_file_write(path, "", 0), DN_OK);
        assert_int_equal(dn_run_set_aside(RUN, -1), DN_OK);
        assert_int_equal(trial_files_in(RUN), run);
        snprintf(old, sizeof old, RUN "/old-%d", run);
        assert_int_equal(trial_files_in(old), 4);
        assert_int_equal(trial_newest(old).step, 5);
    }
    trial_save(SMALL, 1, 4, 0, path);
    assert_int_equal(link(path, RUN "/best.h5"), 0);
    trial_save(SMALL, 1, 5, 0, path);
    assert_int_equal(dn_run_set_aside(RUN, 4), DN_OK);
    assert_int_equal(trial_newest(RUN).step, 4);
    assert_int_equal(access(RUN "/best.h5", F_OK), 0); /* also of step 4 */
    strcpy(old, RUN "/old-3");
    assert_int_equal(trial_newest(old).step, 5);
    assert_int_equal(mkfifo(RUN "/metrics.jsonl", 0600), 0);
    assert_int_equal(dn_run_set_aside(RUN, -1), DN_OK);
    assert_int_equal(symlink("nowhere", RUN "/metrics.jsonl"), 0);
    assert_int_equal(dn_run_set_aside(RUN, -1), DN_OK);
    assert_int_equal(trial_files_in(RUN "/old-4") + trial_files_in(RUN "/old-5"), 3 + 1);
    dn_log_set_level(DN_INFO);
}

/* ---- failures to write ---- */

static void expect_not_saved(const char *folder, const char *message)
{
    dn_net *net = trial_net(SMALL, 1);
    const dn_checkpoint position = trial_state(net, 4);
    assert_int_equal(trial_save_net(folder, net, &position, "sgd", 0), DN_EIO);
    assert_non_null(strstr(dn_message(), message));
    dn_net_destroy(&net);
}

/* A limit on the size of files refuses bytes as a full disk does. */
static void test_full_disk(void **state)
{
    const rlim_t before = trial_limit(1000);
    expect_not_saved(RUN, "checkpoint-00000004.h5: cannot write: File too large");
    trial_limit(before);
    assert_int_equal(trial_files_in(RUN), 0);
}

static void test_refused_folder(void **state)
{
    expect_not_saved("/proc/none", "/proc/none");
    expect_not_saved("/proc", "/proc/checkpoint-00000004.h5: cannot write");
}

/* A pipe in place of the file does not block the saver. */
static void test_pipe(void **state)
{
    assert_int_equal(mkdir(RUN, 0777) + mkfifo(RUN "/checkpoint-00000004.h5", 0600), 0);
    expect_not_saved(RUN, "00000004.h5: cannot write: found no regular file there");
}

/* Writes the files for tests/oracles/load_checkpoint.py. */
static int leave_checkpoint(const char *folder)
{
    char path[512];
    dn_net *net = trial_net(SMALL, 3);
    dn_checkpoint state = trial_state(net, 42);
    dn_random_uniform(dn_net_view(net).images, BATCH * 3 * SIZE * SIZE, 2, 1, DN_STREAM_SYNTHETIC,
                      0);
    dn_net_forward_eval(net);
    dn_status status = trial_save_net(folder, net, &state, "sgd", 1);
    snprintf(path, sizeof path, "%s/logits.txt", folder);
    FILE *file = status == DN_OK ? fopen(path, "w") : NULL;
    for (int i = 0; file && i < BATCH * 10; i++)
        fprintf(file, "%.9g\n", dn_net_view(net).logits[i]);
    if (!file || fclose(file) != 0)
        status = DN_EIO;
    dn_net_destroy(&net);
    return status != DN_OK;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {TRIAL_TEST(test_round_trip),
                                       TRIAL_TEST(test_read_once),
                                       TRIAL_TEST(test_position),
                                       TRIAL_TEST(test_average),
                                       TRIAL_TEST(test_new_average),
                                       TRIAL_TEST(test_other_optimizer),
                                       TRIAL_TEST(test_keep),
                                       TRIAL_TEST(test_leftovers),
                                       TRIAL_TEST(test_unreadable_folder),
                                       TRIAL_TEST(test_set_aside),
                                       TRIAL_TEST(test_full_disk),
                                       TRIAL_TEST(test_refused_folder),
                                       TRIAL_TEST(test_pipe)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed || argc < 2 ? failed : leave_checkpoint(argv[1]);
}
