/*
 * Checkpoints that are damaged, of another model or version, or forged: for each the message says
 * what was found and what was expected.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <hdf5.h>

#include "checkpoints.h"
#include "dn/hdf5.h"
#include "dn/run_folder.h"
#include "trial_files.h"

static void test_flipped_byte(void **state)
{
    char path[128];
    struct stat info;
    trial_save(SMALL, 1, 4, 0, path);
    assert_int_equal(stat(path, &info), 0);
    for (long at = 0; at < info.st_size; at += 97) {
        trial_flip(path, at);
        trial_load_expect(path, SMALL, DN_ECORRUPT, path);
        trial_flip(path, at);
    }
    trial_flip(path, info.st_size - 1);
    trial_load_expect(path, SMALL, DN_ECORRUPT, "found bytes of checksum ");
    trial_flip(path, info.st_size - 1);
    trial_load_expect(path, SMALL, DN_OK, NULL);
}

static void test_truncated(void **state)
{
    char path[128], good[128];
    struct stat info;
    trial_save(SMALL, 1, 3, 0, good);
    trial_save(SMALL, 1, 4, 0, path);
    assert_int_equal(stat(path, &info), 0);
    const off_t sizes[] = {info.st_size - 1, info.st_size / 2, 100, 0};
    dn_log_set_level(DN_QUIET);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(truncate(path, sizes[i]), 0);
        trial_load_expect(path, SMALL, DN_ECORRUPT, "found no checksum at the end");
        assert_string_equal(trial_newest(RUN).path, good);
    }
    dn_log_set_level(DN_INFO);
    dn_checkpoint position;
    dn_checkpoint_file *file;
    assert_int_equal(truncate(good, 5), 0);
    assert_int_equal(dn_checkpoint_open_newest(&file, RUN, INT64_MAX, &position), DN_ECORRUPT);
    assert_null(file);
    assert_non_null(strstr(dn_message(), ": found 2 checkpoints, none readable: "));
    assert_non_null(strstr(dn_message(), "checkpoint-00000004.h5: found no checksum"));
}

static void test_other_model(void **state)
{
    char path[128];
    trial_save(SMALL, 1, 4, 0, path);
    trial_load_expect(
        path, OTHER, DN_ESHAPE,
        "features.denseblock1.denselayer1.conv1.weight: found shape (8, 6, 1, 1) (model "
        "blocks=2,1:growth=4:bottleneck=2");
    trial_load_expect(path, DEEPER, DN_ESHAPE, "features.conv0.weight: found shape (6, 3, 3, 3)");
    trial_load_expect(path, SMALL ":head-norm=0", DN_ESHAPE, "found 50 tensors (model blocks=2,1");
}

/* ---- files with a valid checksum that dn_dist did not write ---- */

#define WEIGHT   "model/features.conv0.weight"
#define MOMENTUM "optimizer/momentum/features.conv0.weight"
#define VARIANCE "model/features.norm3.running_var"

/* Opens the file so that closing it closes all its objects. */
static hid_t open_to_forge(const char *path)
{
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, access);
    H5Pclose(access);
    assert_true(file >= 0);
    return file;
}

static void seal_forged(hid_t file, const char *path)
{
    assert_true(H5Fclose(file) >= 0);
    trial_seal(path);
}

static void put_attribute(hid_t file, const char *name, hid_t type, const void *value)
{
    assert_true(H5Adelete(file, name) >= 0);
    const hid_t attribute =
        H5Acreate2(file, name, type, H5Screate(H5S_SCALAR), H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(attribute, type, value) >= 0);
}

/* Sets the first float of the data set to `value`. */
static void change(hid_t file, const char *name, float value)
{
    float values[4096];
    const hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    assert_true(H5Sget_simple_extent_npoints(H5Dget_space(set)) <= 4096);
    assert_true(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    values[0] = value;
    assert_true(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
}

/* Replaces the weight by another data set; closes the properties. */
static void replace_weight(hid_t file, hid_t type, hid_t properties)
{
    const hsize_t shape[4] = {6, 3, 3, 3};
    assert_true(H5Ldelete(file, WEIGHT, H5P_DEFAULT) >= 0);
    assert_true(H5Dcreate2(file, WEIGHT, type, H5Screate_simple(4, shape, NULL), H5P_DEFAULT,
                           properties, H5P_DEFAULT) >= 0);
    H5Pclose(properties);
}

static void weight_external(hid_t file)
{
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(properties, "/etc/passwd", 0, H5F_UNLIMITED);
    replace_weight(file, H5T_IEEE_F32LE, properties);
}

static void weight_virtual(hid_t file)
{
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    const hid_t space = H5Screate_simple(4, (hsize_t[]){6, 3, 3, 3}, NULL);
    H5Pset_virtual(properties, space, "other.h5", "/weight", space);
    replace_weight(file, H5T_IEEE_F32LE, properties);
}

static void weight_chunked(hid_t file)
{
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(properties, 4, (hsize_t[]){6, 3, 3, 3});
    replace_weight(file, H5T_IEEE_F32LE, properties);
}

static void weight_double(hid_t file)
{
    replace_weight(file, H5T_IEEE_F64LE, H5Pcreate(H5P_DATASET_CREATE));
}

static void weight_group(hid_t file)
{
    assert_true(H5Ldelete(file, WEIGHT, H5P_DEFAULT) >= 0);
    assert_true(H5Gcreate2(file, WEIGHT, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT) >= 0);
}

static void weight_linked(hid_t file)
{
    assert_true(H5Ldelete(file, WEIGHT, H5P_DEFAULT) >= 0);
    assert_true(H5Lcreate_soft("/" MOMENTUM, file, WEIGHT, H5P_DEFAULT, H5P_DEFAULT) >= 0);
}

static void model_elsewhere(hid_t file)
{
    assert_true(H5Ldelete(file, "model", H5P_DEFAULT) >= 0);
    assert_true(H5Lcreate_external("other.h5", "/model", file, "model", H5P_DEFAULT, H5P_DEFAULT) >=
                0);
}

/* Replaces the configuration by a text of `size` bytes without a zero. */
static void replace_config(hid_t file, size_t size)
{
    char text[10000];
    const hid_t type = dn_hdf5_text_type(size);
    memset(text, '#', sizeof text);
    assert_true(H5Ldelete(file, "config", H5P_DEFAULT) >= 0);
    const hid_t set = H5Dcreate2(file, "config", type, H5Screate(H5S_SCALAR), H5P_DEFAULT,
                                 H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text) >= 0);
}

static void config_unended(hid_t file)
{
    replace_config(file, sizeof((dn_checkpoint *)NULL)->config);
}

static void config_long(hid_t file)
{
    replace_config(file, sizeof((dn_checkpoint *)NULL)->config + 1);
}

static void schedule_nan(hid_t file)
{
    double values[DN_SCHEDULE_DOUBLES] = {1, (double)NAN};
    const hid_t set = H5Dopen2(file, "schedule_state", H5P_DEFAULT);
    assert_true(H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    put_attribute(file, "schedule", dn_hdf5_text_type(5), "step");
}

static void scores_infinite(hid_t file)
{
    double values[sizeof(dn_epoch_sums) / sizeof(double)] = {1, (double)INFINITY};
    const hid_t set = H5Dopen2(file, "epoch_scores", H5P_DEFAULT);
    assert_true(H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
}

static void step_nan(hid_t file)
{
    put_attribute(file, "step", H5T_IEEE_F64LE, &(double){(double)NAN});
}

static void test_forged(void **state)
{
    static const struct {
        void (*forge)(hid_t file); /* or */
        const char *attribute;     /* becomes `whole`, or */
        const char *set;           /* whose first number becomes `first` */
        int64_t whole;
        float first;
        const char *message;
    } cases[] = {
        {.attribute = "format_version",
         .whole = 1,
         .message = "found format version 1, expected 2"},
        {.attribute = "format_version",
         .whole = 3,
         .message = "found format version 3, expected 2"},
        {.attribute = "step",
         .whole = -1,
         .message = "found step -1, expected 0 to 1000000000000000000"},
        {.attribute = "step",
         .whole = INT64_MAX,
         .message = "found step 9223372036854775807, expected 0 to 1000000000000000000"},
        {.attribute = "step",
         .whole = 41,
         .message = "num_batches_tracked: found 42, expected the step, 41"},
        {.attribute = "average_step",
         .whole = 43,
         .message = "found statistics of averages of step 43, expected -1 to 42"},
        {.set = WEIGHT, .first = 0.25F, .message = "found weights of hash "},
        {.set = WEIGHT,
         .first = NAN,
         .message = WEIGHT ": found nan at 0, expected a finite number"},
        {.set = MOMENTUM,
         .first = INFINITY,
         .message = MOMENTUM ": found inf at 0, expected a finite number"},
        {.set = VARIANCE,
         .first = -1,
         .message = VARIANCE ": found -1 at 0, expected a finite number of 0 or more"},
        {step_nan, .message = "attribute step is missing or not as specified"},
        {weight_external, .message = WEIGHT ": found no data set or one that is external"},
        {weight_virtual, .message = WEIGHT ": found no data set or one that is external"},
        {weight_chunked, .message = WEIGHT ": found no data set or one that is external"},
        {weight_double, .message = WEIGHT ": found another type"},
        {weight_group, .message = WEIGHT ": found no data set"},
        {weight_linked, .message = WEIGHT ": found a link"},
        {model_elsewhere, .message = ": model: found a link"},
        {config_unended, .message = "config: found no zero byte"},
        {config_long, .message = "config: found another type"},
        {schedule_nan, .message = "schedule_state: found nan"},
        {scores_infinite, .message = "epoch_scores: found inf"},
    };
    char path[128];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        trial_save(SMALL, 3, 42, 0, path);
        const hid_t file = open_to_forge(path);
        if (cases[i].attribute)
            put_attribute(file, cases[i].attribute, H5T_STD_I64LE, &cases[i].whole);
        else if (cases[i].set)
            change(file, cases[i].set, cases[i].first);
        else
            cases[i].forge(file);
        seal_forged(file, path);
        trial_load_expect(path, SMALL, DN_ECORRUPT, cases[i].message);
    }
}

static void test_missing_state(void **state)
{
    static const char *const names[] = {"format",       "format_version", "model",   "step",
                                        "weights_hash", "average_step",   "data",    "optimizer",
                                        "data_folder",  "kernels",        "schedule"};
    char path[128], message[96];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        trial_save(SMALL, 3, 42, 0, path);
        const hid_t file = open_to_forge(path);
        assert_true(H5Adelete(file, names[i]) >= 0);
        seal_forged(file, path);
        snprintf(message, sizeof message, "attribute %s is missing", names[i]);
        trial_load_expect(path, SMALL, DN_ECORRUPT, message);
    }
    trial_save(SMALL, 3, 42, 0, path);
    const hid_t file = open_to_forge(path);
    assert_true(H5Ldelete(file, "epoch_scores", H5P_DEFAULT) >= 0);
    seal_forged(file, path);
    trial_load_expect(path, SMALL, DN_ECORRUPT, "epoch_scores is missing");
}

/* Files of older versions have no loss of the best epoch. */
static void test_older_monitor(void **state)
{
    static const double older[] = {3, 2, 75, 1, 0};
    const hsize_t count = sizeof older / sizeof *older;
    char path[128];
    trial_save(SMALL, 3, 42, 0, path);
    const hid_t file = open_to_forge(path);
    assert_true(H5Ldelete(file, "monitor", H5P_DEFAULT) >= 0);
    assert_true(
        dn_hdf5_write(file, "monitor", H5T_IEEE_F64LE, H5Screate_simple(1, &count, NULL), older));
    seal_forged(file, path);
    const dn_checkpoint found = trial_newest(RUN);
    assert_memory_equal(&found.monitor, older, sizeof older);
    assert_true(found.monitor.best_loss == 0);
}

static void test_negative_squares(void **state)
{
    char path[128];
    trial_save_with("adamw", SMALL, 3, 42, 0, path);
    const hid_t file = open_to_forge(path);
    change(file, "optimizer/exp_avg/features.conv0.weight", -1);
    change(file, "optimizer/exp_avg_sq/features.conv0.weight", -1);
    seal_forged(file, path);
    dn_net *net = trial_net(SMALL, 4);
    dn_optimizer_state vectors = trial_vectors(net, "adamw", 1);
    assert_int_equal(trial_load(path, net, &vectors), DN_ECORRUPT);
    assert_non_null(strstr(dn_message(), "exp_avg_sq/features.conv0.weight: found -1 at 0"));
    dn_optimizer_state_destroy(&vectors);
    dn_net_destroy(&net);
}

/* The newest checkpoint is not skipped if the system refuses to read it: it may be intact. */
static void test_refused(void **state)
{
    char path[128];
    dn_checkpoint position;
    dn_checkpoint_file *file;
    trial_save(SMALL, 1, 3, 0, path);
    assert_int_equal(mkfifo(RUN "/checkpoint-00000004.h5", 0600), 0);
    assert_int_equal(dn_checkpoint_open_newest(&file, RUN, INT64_MAX, &position), DN_EIO);
    assert_string_equal(dn_message(), RUN "/checkpoint-00000004.h5: cannot read: no regular file");
    assert_int_equal(unlink(RUN "/checkpoint-00000004.h5"), 0);
    assert_string_equal(trial_newest(RUN).path, path);
    assert_int_equal(mkdir(RUN "/best.h5", 0777), 0);
    assert_int_equal(dn_run_set_aside(RUN, 3), DN_EIO);
    assert_string_equal(dn_message(), RUN "/best.h5: cannot read: Is a directory");
}

static void test_missing(void **state)
{
    trial_load_expect("/nonexistent/x.h5", SMALL, DN_ENOENT,
                      "/nonexistent/x.h5: cannot read: No such");
    trial_load_expect("/tmp", SMALL, DN_EIO, "/tmp: cannot read: Is a directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRIAL_TEST(test_flipped_byte),  TRIAL_TEST(test_truncated),
        TRIAL_TEST(test_other_model),   TRIAL_TEST(test_forged),
        TRIAL_TEST(test_missing_state), TRIAL_TEST(test_older_monitor),
        TRIAL_TEST(test_refused),       TRIAL_TEST(test_negative_squares),
        TRIAL_TEST(test_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
