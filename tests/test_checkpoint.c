/*
 * Checkpoints: a round trip to the bit, the folder's housekeeping, and every kind of damage, each
 * of which must end in one line that says what was found and what was expected.
 *
 * With a folder as argument it leaves a checkpoint there, and beside it logits.txt, the logits of
 * an evaluation, for tests/load_checkpoint.py to compare with PyTorch's.
 */
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <hdf5.h>
#include <xxhash.h>

#include "dn/checkpoint.h"
#include "dn/file.h"
#include "dn/hdf5.h"
#include "dn/rng.h"

#define SMALL  "blocks=2,1:growth=4:bottleneck=2:compression=0.5:stem=cifar:stem-channels=6"
#define OTHER  "blocks=2,1:growth=4:bottleneck=3:compression=0.5:stem=cifar:stem-channels=6"
#define DEEPER "blocks=2,1:growth=4:bottleneck=2:compression=0.5:stem=imagenet:stem-channels=6"

enum { BATCH = 2, SIZE = 16 };

static dn_net *make_net(const char *model, uint64_t seed)
{
    dn_spec spec;
    dn_net *net = NULL;
    const dn_net_options options = {.batch = BATCH, .train = 0};
    if (dn_spec_parse(&spec, model) != DN_OK)
        fail_msg("%s", dn_message());
    spec.height = spec.width = SIZE;
    spec.classes = 10;
    if (dn_net_create(&net, &spec, dn_kernels_get(0), &options) != DN_OK)
        fail_msg("%s", dn_message());
    dn_net_init(net, DN_INIT_KAIMING, seed);
    const size_t count = dn_net_view(net).running_count;
    dn_random_uniform(dn_net_view(net).running, count, 0.5, seed, DN_STREAM_SYNTHETIC, 1);
    for (size_t i = 0; i < count; i++) /* not fresh, and good as means and as variances */
        dn_net_view(net).running[i] += 1;
    return net;
}

static dn_checkpoint make_state(const dn_net *net, int64_t step)
{
    dn_checkpoint state = {.step = step, .hash = dn_net_hash(net), .data = "a set"};
    strcpy(state.config, "model = small\nlr = 0.1\n");
    return state;
}

/* The row of that name. */
static const dn_optimizer *find_row(const char *name)
{
    int i = 0;
    while (strcmp(dn_optimizer_name(i), name) != 0)
        i++;
    return dn_kernels_get(0)->optimizers[i];
}

/* Vectors for the net, drawn with `seed`, and good as averages of squares. */
static dn_optimizer_state make_vectors(const dn_net *net, const char *name, int64_t seed)
{
    dn_optimizer_state state;
    const size_t count = dn_net_view(net).parameter_count;
    const size_t average = count + dn_net_view(net).running_count;
    if (dn_optimizer_state_create(&state, find_row(name), count, average) != DN_OK)
        fail_msg("%s", dn_message());
    dn_random_uniform(state.vectors, state.floats, 1, (uint64_t)seed, DN_STREAM_SYNTHETIC, 2);
    for (size_t i = 0; i < state.floats; i++)
        state.vectors[i] = fabsf(state.vectors[i]);
    return state;
}

static void make_folder(char folder[64])
{
    snprintf(folder, 64, "/tmp/dn-checkpoint-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

static int files_in(const char *folder)
{
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    int count = 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count - 2; /* . and .. */
}

static void remove_folder(const char *folder)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
}

/* Saves at once. */
static dn_status save_net(const char *folder, const dn_net *net, const dn_checkpoint *state,
                          const char *optimizer, int keep)
{
    dn_saver *saver = NULL;
    dn_optimizer_state vectors = make_vectors(net, optimizer, state->step);
    dn_status status = dn_saver_create(&saver, net, &vectors, folder, keep);
    if (status == DN_OK)
        status = dn_saver_start(saver, state);
    if (status == DN_OK)
        status = dn_saver_wait(saver);
    dn_saver_destroy(&saver);
    dn_optimizer_state_destroy(&vectors);
    return status;
}

/* Saves a net of seed `seed` at `step`; path = the file. */
static void save_with(const char *optimizer, const char *folder, const char *model, uint64_t seed,
                      int64_t step, int keep, char path[128])
{
    dn_net *net = make_net(model, seed);
    const dn_checkpoint state = make_state(net, step);
    if (save_net(folder, net, &state, optimizer, keep) != DN_OK)
        fail_msg("%s", dn_message());
    dn_checkpoint_path(path, 128, folder, step);
    dn_net_destroy(&net);
}

static void save(const char *folder, const char *model, uint64_t seed, int64_t step, int keep,
                 char path[128])
{
    save_with("sgd", folder, model, seed, step, keep, path);
}

/* Opens the file and fills the net and, unless they are NULL, the vectors. */
static dn_status load(const char *path, dn_net *net, dn_optimizer_state *vectors)
{
    dn_checkpoint state;
    dn_checkpoint_file *file;
    DN_TRY(dn_checkpoint_open(&file, path, &state));
    const dn_status status = dn_checkpoint_load(file, net, vectors);
    dn_checkpoint_close(&file);
    return status;
}

/* Loads into a fresh net of `model`; checks the message where it is to fail. */
static void expect_load(const char *path, const char *model, dn_status expected, const char *part)
{
    dn_net *net = make_net(model, 99);
    dn_optimizer_state vectors = make_vectors(net, "sgd", 1);
    const dn_status status = load(path, net, &vectors);
    if (status != expected || (part && !strstr(dn_message(), part)))
        fail_msg("status %d (expected %d), message: %s (expected \"%s\")", status, expected,
                 dn_message(), part ? part : "");
    dn_optimizer_state_destroy(&vectors);
    dn_net_destroy(&net);
}

/* The folder's newest whole checkpoint, or an empty path. */
static dn_checkpoint newest_in(const char *folder)
{
    dn_checkpoint state;
    dn_checkpoint_file *file;
    if (dn_checkpoint_open_newest(&file, folder, &state) != DN_OK)
        fail_msg("%s", dn_message());
    assert_true((file != NULL) == (state.path[0] != '\0'));
    dn_checkpoint_close(&file);
    return state;
}

/* What step 42 of a net of seed 3 saved with `optimizer` comes back. */
static void check_round_trip(const char *optimizer)
{
    char folder[64], path[128];
    make_folder(folder);
    save_with(optimizer, folder, SMALL, 3, 42, 0, path);
    dn_net *saved = make_net(SMALL, 3), *loaded = make_net(SMALL, 4);
    dn_optimizer_state expected = make_vectors(saved, optimizer, 42);
    dn_optimizer_state found = make_vectors(loaded, optimizer, 7);
    assert_int_equal(load(path, loaded, &found), DN_OK);
    assert_memory_equal(dn_net_view(saved).parameters, dn_net_view(loaded).parameters,
                        dn_net_view(saved).parameter_count * sizeof(float));
    assert_memory_equal(dn_net_view(saved).running, dn_net_view(loaded).running,
                        dn_net_view(saved).running_count * sizeof(float));
    assert_memory_equal(expected.vectors, found.vectors, found.floats * sizeof(float));
    dn_optimizer_state_destroy(&expected);
    dn_optimizer_state_destroy(&found);
    dn_net_destroy(&saved);
    dn_net_destroy(&loaded);
    remove_folder(folder);
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int i = 0; dn_optimizer_name(i); i++)
        check_round_trip(dn_optimizer_name(i));
}

static void test_position(void **state)
{
    (void)state;
    char folder[64];
    make_folder(folder);
    dn_net *net = make_net(SMALL, 3);
    dn_checkpoint saved = make_state(net, 42);
    strcpy(saved.schedule, "plateau");
    for (int i = 0; i < DN_SCHEDULE_DOUBLES; i++)
        ((double *)&saved.schedule_state)[i] = 1 / (i + 3.0);
    assert_int_equal(save_net(folder, net, &saved, "sgd", 0), DN_OK);
    const dn_checkpoint found = newest_in(folder);
    assert_int_equal(found.step, 42);
    assert_string_equal(found.config, saved.config);
    assert_string_equal(found.data, saved.data);
    assert_string_equal(found.schedule, "plateau");
    assert_memory_equal(&found.schedule_state, &saved.schedule_state, sizeof found.schedule_state);
    dn_net_destroy(&net);
    remove_folder(folder);
}

/* Appends the checksum of the file's bytes, as docs/checkpoint-format.md says. */
static void seal(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    char *bytes = malloc((size_t)info.st_size);
    FILE *file = fopen(path, "r+b");
    assert_true(bytes && file);
    assert_int_equal(fread(bytes, 1, (size_t)info.st_size, file), info.st_size);
    fseek(file, 0, SEEK_END);
    fprintf(file, "dn_dist XXH3-64 %016" PRIx64, XXH3_64bits(bytes, (size_t)info.st_size));
    assert_int_equal(fclose(file), 0);
    free(bytes);
}

static void test_other_optimizer(void **state)
{
    (void)state;
    char folder[64], path[128];
    make_folder(folder);
    save_with("adamw", folder, SMALL, 3, 5, 0, path);
    expect_load(path, SMALL, DN_EINVAL,
                "--optimizer sgd: found the state of adamw in /tmp/dn-checkpoint-");
    dn_net *net = make_net(SMALL, 4);
    assert_int_equal(load(path, net, NULL), DN_OK); /* the weights alone */
    dn_net_destroy(&net);
    remove_folder(folder);
}

/* The first files of this format told of no optimizer, which was sgd, and of no schedule. */
static void test_first_files(void **state)
{
    (void)state;
    char folder[64], path[128];
    make_folder(folder);
    save(folder, SMALL, 3, 42, 0, path);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(H5Adelete(file, "optimizer") >= 0 && H5Adelete(file, "schedule") >= 0 &&
                H5Adelete(file, "data") >= 0);
    assert_true(H5Ldelete(file, "schedule_state", H5P_DEFAULT) >= 0);
    H5Fclose(file);
    seal(path);
    expect_load(path, SMALL, DN_OK, NULL);
    const dn_checkpoint found = newest_in(folder);
    assert_int_equal(found.step, 42);
    assert_true(found.data[0] == '\0' && found.schedule[0] == '\0');
    dn_net *net = make_net(SMALL, 4);
    dn_optimizer_state vectors = make_vectors(net, "adam", 1);
    assert_int_equal(load(path, net, &vectors), DN_EINVAL);
    assert_non_null(strstr(dn_message(), "--optimizer adam: found the state of sgd in "));
    dn_optimizer_state_destroy(&vectors);
    dn_net_destroy(&net);
    file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(H5Ldelete(file, "optimizer", H5P_DEFAULT) >= 0);
    H5Fclose(file);
    seal(path);
    expect_load(path, SMALL, DN_ESHAPE, "found no tensor optimizer/momentum/features.conv0.weight");
    remove_folder(folder);
}

static void test_keep(void **state)
{
    (void)state;
    char folder[64], path[128];
    make_folder(folder);
    for (int step = 10; step <= 50; step += 10)
        save(folder, SMALL, 1, step, 2, path);
    assert_int_equal(files_in(folder), 2);
    assert_string_equal(newest_in(folder).path, path);
    save(folder, SMALL, 1, 15, 1, path); /* an older step never costs itself its place */
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(files_in(folder), 3);
    remove_folder(folder);
}

static void test_leftovers(void **state)
{
    (void)state;
    char folder[64], path[128], partial[128];
    make_folder(folder);
    snprintf(partial, sizeof partial, "%s/checkpoint-00000003.h5.partial", folder);
    fclose(fopen(partial, "w"));
    assert_string_equal(newest_in(folder).path, "");
    save(folder, SMALL, 1, 4, 0, path);
    assert_int_equal(files_in(folder), 1);
    remove_folder(folder);
    assert_string_equal(newest_in(folder).path, ""); /* the folder is absent */
}

/* What a run leaves is kept, however often a new one starts. */
static void test_set_aside(void **state)
{
    (void)state;
    char folder[64], path[128], old[128];
    make_folder(folder);
    dn_log_set_level(DN_QUIET);
    assert_int_equal(dn_checkpoint_set_aside(folder, -1), DN_OK);
    assert_int_equal(files_in(folder), 0);
    for (int run = 1; run <= 2; run++) {
        save(folder, SMALL, 1, 4, 0, path);
        save(folder, SMALL, 1, 5, 0, path);
        snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
        assert_int_equal(dn_file_write(path, "{}\n", 3), DN_OK);
        snprintf(path, sizeof path, "%s/events.out.tfevents.1.a", folder);
        assert_int_equal(dn_file_write(path, "", 0), DN_OK);
        assert_int_equal(dn_checkpoint_set_aside(folder, -1), DN_OK);
        assert_int_equal(files_in(folder), run);
        snprintf(old, sizeof old, "%s/old-%d", folder, run);
        assert_int_equal(files_in(old), 4);
        assert_int_equal(newest_in(old).step, 5);
    }
    save(folder, SMALL, 1, 4, 0, path);
    save(folder, SMALL, 1, 5, 0, path);
    assert_int_equal(dn_checkpoint_set_aside(folder, 4), DN_OK);
    assert_int_equal(newest_in(folder).step, 4);
    snprintf(old, sizeof old, "%s/old-3", folder);
    assert_int_equal(newest_in(old).step, 5);
    dn_log_set_level(DN_INFO);
    remove_folder(folder);
}

static void flip(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, at, SEEK_SET);
    const int byte = fgetc(file);
    fseek(file, at, SEEK_SET);
    fputc(byte ^ 0x10, file);
    assert_int_equal(fclose(file), 0);
}

static void test_flipped_byte(void **state)
{
    (void)state;
    char folder[64], path[128];
    struct stat info;
    make_folder(folder);
    save(folder, SMALL, 1, 4, 0, path);
    assert_int_equal(stat(path, &info), 0);
    for (long at = 0; at < info.st_size; at += 97) {
        flip(path, at);
        expect_load(path, SMALL, DN_ECORRUPT, path);
        flip(path, at);
    }
    flip(path, info.st_size - 1);
    expect_load(path, SMALL, DN_ECORRUPT, "found bytes of checksum ");
    flip(path, info.st_size - 1);
    expect_load(path, SMALL, DN_OK, NULL);
    remove_folder(folder);
}

static void test_truncated(void **state)
{
    (void)state;
    char folder[64], path[128], good[128];
    struct stat info;
    make_folder(folder);
    save(folder, SMALL, 1, 3, 0, good);
    save(folder, SMALL, 1, 4, 0, path);
    assert_int_equal(stat(path, &info), 0);
    const off_t sizes[] = {info.st_size - 1, info.st_size / 2, 100, 0};
    dn_log_set_level(DN_QUIET);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(truncate(path, sizes[i]), 0);
        expect_load(path, SMALL, DN_ECORRUPT, "found no checksum at the end");
        assert_string_equal(newest_in(folder).path, good);
    }
    dn_log_set_level(DN_INFO);
    dn_checkpoint position;
    dn_checkpoint_file *file;
    assert_int_equal(truncate(good, 5), 0);
    assert_int_equal(dn_checkpoint_open_newest(&file, folder, &position), DN_ECORRUPT);
    assert_null(file);
    assert_non_null(strstr(dn_message(),
                           ": found 2 checkpoints, none readable (--resume none starts "
                           "anew): "));
    assert_non_null(strstr(dn_message(), "checkpoint-00000004.h5: found no checksum"));
    remove_folder(folder);
}

static void test_other_model(void **state)
{
    (void)state;
    char folder[64], path[128];
    make_folder(folder);
    save(folder, SMALL, 1, 4, 0, path);
    expect_load(path, OTHER, DN_ESHAPE,
                "features.denseblock1.denselayer1.conv1.weight: found shape (8, 6, 1, 1) (model "
                "blocks=2,1:growth=4:bottleneck=2");
    expect_load(path, DEEPER, DN_ESHAPE, "features.conv0.weight: found shape (6, 3, 3, 3)");
    remove_folder(folder);
}

static void test_future_version(void **state)
{
    (void)state;
    char folder[64], path[128];
    const int64_t version = 2;
    make_folder(folder);
    save(folder, SMALL, 1, 4, 0, path);
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t attribute = H5Aopen(file, "format_version", H5P_DEFAULT);
    assert_true(H5Awrite(attribute, H5T_NATIVE_INT64, &version) >= 0);
    H5Aclose(attribute);
    H5Fclose(file);
    seal(path);
    expect_load(path, SMALL, DN_ECORRUPT, "found format version 2, expected 1");
    remove_folder(folder);
}

/* ---- files with a right checksum that dn_dist did not write ---- */

#define WEIGHT   "model/features.conv0.weight"
#define MOMENTUM "optimizer/momentum/features.conv0.weight"
#define VARIANCE "model/features.norm3.running_var"

/* Opens the file so that its end closes what it was opened for. */
static hid_t open_to_forge(const char *path)
{
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, access);
    H5Pclose(access);
    assert_true(file >= 0);
    return file;
}

static void put_attribute(hid_t file, const char *name, hid_t type, const void *value)
{
    assert_true(H5Adelete(file, name) >= 0);
    const hid_t attribute =
        H5Acreate2(file, name, type, H5Screate(H5S_SCALAR), H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(attribute, type, value) >= 0);
}

static void step_negative(hid_t file)
{
    put_attribute(file, "step", H5T_STD_I64LE, &(int64_t){-1});
}

static void step_huge(hid_t file)
{
    put_attribute(file, "step", H5T_STD_I64LE, &(int64_t){INT64_MAX});
}

static void step_nan(hid_t file)
{
    put_attribute(file, "step", H5T_IEEE_F64LE, &(double){(double)NAN});
}

static void step_other(hid_t file)
{
    put_attribute(file, "step", H5T_STD_I64LE, &(int64_t){41});
}

/* The first of the data set's floats becomes `value`. */
static void change(hid_t file, const char *name, float value)
{
    float values[4096];
    const hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    assert_true(H5Sget_simple_extent_npoints(H5Dget_space(set)) <= 4096);
    assert_true(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    values[0] = value;
    assert_true(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
}

static void weight_changed(hid_t file)
{
    change(file, WEIGHT, 0.25f);
}

static void weight_nan(hid_t file)
{
    change(file, WEIGHT, NAN);
}

static void momentum_infinite(hid_t file)
{
    change(file, MOMENTUM, INFINITY);
}

static void variance_negative(hid_t file)
{
    change(file, VARIANCE, -1);
}

/* Puts another data set in place of the weight; takes the properties. */
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

/* Puts a text of `size` bytes, none of which is zero, in place of the configuration. */
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

static void hash_missing(hid_t file)
{
    assert_true(H5Adelete(file, "weights_hash") >= 0);
}

static void test_forged(void **state)
{
    (void)state;
    static const struct {
        void (*forge)(hid_t file);
        const char *message;
    } cases[] = {
        {step_negative, "found step -1, expected 0 to 1000000000000000000"},
        {step_huge, "found step 9223372036854775807, expected 0 to 1000000000000000000"},
        {step_nan, "attribute step is missing or not as specified"},
        {step_other, "num_batches_tracked: found 42, expected the step, 41"},
        {weight_changed, "found weights of hash "},
        {weight_nan, WEIGHT ": found nan at 0, expected a finite number"},
        {momentum_infinite, MOMENTUM ": found inf at 0, expected a finite number"},
        {variance_negative, VARIANCE ": found -1 at 0, expected a finite number of 0 or more"},
        {weight_external, WEIGHT ": found no data set or one that is external"},
        {weight_virtual, WEIGHT ": found no data set or one that is external"},
        {weight_chunked, WEIGHT ": found no data set or one that is external"},
        {weight_double, WEIGHT ": found another type"},
        {weight_group, WEIGHT ": found no data set"},
        {weight_linked, WEIGHT ": found a link"},
        {model_elsewhere, ": model: found a link"},
        {config_unended, "config: found no zero byte"},
        {config_long, "config: found another type"},
        {schedule_nan, "schedule_state: found nan"},
        {hash_missing, "attribute weights_hash is missing"},
    };
    char folder[64], path[128];
    make_folder(folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        save(folder, SMALL, 3, 42, 0, path);
        const hid_t file = open_to_forge(path);
        cases[i].forge(file);
        H5Fclose(file);
        seal(path);
        expect_load(path, SMALL, DN_ECORRUPT, cases[i].message);
    }
    remove_folder(folder);
}

static void test_negative_squares(void **state)
{
    (void)state;
    char folder[64], path[128];
    make_folder(folder);
    save_with("adamw", folder, SMALL, 3, 42, 0, path);
    const hid_t file = open_to_forge(path);
    change(file, "optimizer/exp_avg/features.conv0.weight", -1);
    change(file, "optimizer/exp_avg_sq/features.conv0.weight", -1);
    H5Fclose(file);
    seal(path);
    dn_net *net = make_net(SMALL, 4);
    dn_optimizer_state vectors = make_vectors(net, "adamw", 1);
    assert_int_equal(load(path, net, &vectors), DN_ECORRUPT);
    assert_non_null(strstr(dn_message(), "exp_avg_sq/features.conv0.weight: found -1 at 0"));
    dn_optimizer_state_destroy(&vectors);
    dn_net_destroy(&net);
    remove_folder(folder);
}

static void test_missing(void **state)
{
    (void)state;
    expect_load("/nonexistent/x.h5", SMALL, DN_ENOENT, "/nonexistent/x.h5: cannot read: No such");
    expect_load("/tmp", SMALL, DN_EIO, "/tmp: cannot read: Is a directory");
}

/* A limit on the size of files refuses bytes as a full disk does. */
static void test_full_disk(void **state)
{
    (void)state;
    char folder[64];
    struct rlimit old, small;
    make_folder(folder);
    dn_net *net = make_net(SMALL, 1);
    dn_checkpoint position = make_state(net, 4);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 1000, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const dn_status status = save_net(folder, net, &position, "sgd", 0);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(status, DN_EIO);
    assert_non_null(strstr(dn_message(), "checkpoint-00000004.h5: cannot write: File too large"));
    assert_int_equal(files_in(folder), 0);
    dn_net_destroy(&net);
    remove_folder(folder);
}

static void test_refused_folder(void **state)
{
    (void)state;
    dn_net *net = make_net(SMALL, 1);
    const dn_checkpoint position = {.step = 4};
    assert_int_equal(save_net("/proc/none", net, &position, "sgd", 0), DN_EIO);
    assert_non_null(strstr(dn_message(), "/proc/none"));
    assert_int_equal(save_net("/proc", net, &position, "sgd", 0), DN_EIO);
    assert_non_null(strstr(dn_message(), "/proc/checkpoint-00000004.h5: cannot write"));
    dn_net_destroy(&net);
}

/* ---- in the background ---- */

/* A saver into `folder`. */
static dn_saver *make_saver(const dn_net *net, const dn_optimizer_state *vectors,
                            const char *folder, int keep)
{
    dn_saver *saver = NULL;
    if (dn_saver_create(&saver, net, vectors, folder, keep) != DN_OK)
        fail_msg("%s", dn_message());
    return saver;
}

/* The file holds what the vectors were when the save was started, whatever they became since. */
static void test_background(void **state)
{
    (void)state;
    char folder[64], path[128];
    make_folder(folder);
    dn_net *net = make_net(SMALL, 3), *loaded = make_net(SMALL, 4);
    dn_checkpoint position = make_state(net, 1);
    dn_optimizer_state vectors = make_vectors(net, "adam", 1), found = make_vectors(net, "adam", 7);
    const size_t count = dn_net_view(net).parameter_count, bytes = count * sizeof(float);
    const size_t running = dn_net_view(net).running_count * sizeof(float);
    float *expected = malloc(4 * bytes);
    assert_true(expected && running <= bytes);
    dn_saver *saver = make_saver(net, &vectors, folder, 2);
    for (position.step = 1; position.step <= 5; position.step++) {
        memcpy(expected, dn_net_view(net).parameters, bytes);
        memcpy(expected + count, vectors.vectors, 2 * bytes);
        memcpy(expected + 3 * count, dn_net_view(net).running, running);
        position.hash = dn_net_hash(net);
        assert_int_equal(dn_saver_start(saver, &position), DN_OK);
        for (size_t i = 0; i < count; i++)
            dn_net_view(net).parameters[i] += vectors.vectors[i] *= 2;
        memset(vectors.vectors + count, (int)position.step, bytes);
        memset(dn_net_view(net).running, (int)position.step, running);
    }
    assert_int_equal(dn_saver_wait(saver), DN_OK);
    assert_true(dn_saver_longest(saver) > 0);
    dn_saver_destroy(&saver);
    assert_null(saver);
    assert_int_equal(files_in(folder), 2);
    snprintf(path, sizeof path, "%s/checkpoint-00000005.h5", folder);
    assert_string_equal(newest_in(folder).path, path);
    assert_int_equal(load(path, loaded, &found), DN_OK);
    assert_memory_equal(dn_net_view(loaded).parameters, expected, bytes);
    assert_memory_equal(found.vectors, expected + count, 2 * bytes);
    assert_memory_equal(dn_net_view(loaded).running, expected + 3 * count, running);
    free(expected);
    dn_optimizer_state_destroy(&vectors);
    dn_optimizer_state_destroy(&found);
    dn_net_destroy(&net);
    dn_net_destroy(&loaded);
    remove_folder(folder);
}

/* A child saves what the vectors were when it was made, while this process goes on and saves; what
 * is on the disk is not saved again. */
static void test_rescue(void **state)
{
    (void)state;
    char folder[64], path[128], command[160];
    make_folder(folder);
    dn_net *net = make_net(SMALL, 3), *loaded = make_net(SMALL, 4);
    dn_checkpoint position = make_state(net, 1);
    dn_optimizer_state vectors = make_vectors(net, "sgd", 1), found = make_vectors(net, "sgd", 7);
    const size_t bytes = dn_net_view(net).parameter_count * sizeof(float);
    float *expected = malloc(bytes);
    int ending;
    assert_non_null(expected);
    dn_saver *saver = make_saver(net, &vectors, folder, 0);
    assert_int_equal(dn_saver_start(saver, &position), DN_OK);
#ifdef __SANITIZE_ADDRESS__ /* whose allocator a child finds locked where a thread was in it */
    assert_int_equal(dn_saver_wait(saver), DN_OK);
#endif
    dn_net_view(net).parameters[0] += 1;
    memcpy(expected, dn_net_view(net).parameters, bytes);
    position.step = 2;
    dn_saver_rescue(saver, &position);
    memset(dn_net_view(net).parameters, 3, bytes);
    position.step = 3;
    assert_int_equal(dn_saver_start(saver, &position), DN_OK);
    assert_int_equal(dn_saver_wait(saver), DN_OK);
    assert_true(wait(&ending) > 0);
    assert_int_equal(ending, 0);
    assert_int_equal(files_in(folder), 3);
    snprintf(path, sizeof path, "%s/checkpoint-00000002.h5", folder);
    assert_int_equal(load(path, loaded, &found), DN_OK);
    assert_memory_equal(dn_net_view(loaded).parameters, expected, bytes);
    assert_memory_equal(found.vectors, vectors.vectors, vectors.floats * sizeof(float));

    dn_saver_rescue(saver, &position);
    position.step = 2;
    strcpy(position.path, path); /* the run went on from it */
    dn_saver_rescue(saver, &position);
    assert_int_equal(wait(&ending), -1);

    snprintf(command, sizeof command, "rm -r '%s' && touch '%s'", folder, folder);
    assert_int_equal(system(command), 0);
    position.path[0] = '\0';
    dn_saver_rescue(saver, &position); /* cannot, and says so */
    assert_true(wait(&ending) > 0 && WIFEXITED(ending));
    assert_int_equal(WEXITSTATUS(ending), 1);
    dn_saver_destroy(&saver);
    free(expected);
    dn_optimizer_state_destroy(&vectors);
    dn_optimizer_state_destroy(&found);
    dn_net_destroy(&net);
    dn_net_destroy(&loaded);
    remove_folder(folder);
}

/* A failure in the background is told once, by the next call; the one after goes on. */
static void test_background_failure(void **state)
{
    (void)state;
    char parent[64], folder[80];
    make_folder(parent);
    snprintf(folder, sizeof folder, "%s/run", parent);
    fclose(fopen(folder, "w")); /* a file, where a folder is to be */
    dn_net *net = make_net(SMALL, 1);
    const dn_checkpoint position = {.step = 4};
    dn_optimizer_state vectors = make_vectors(net, "sgd", 1);
    dn_saver *saver = make_saver(net, &vectors, folder, 0);
    assert_int_equal(dn_saver_start(saver, &position), DN_OK);
    assert_int_equal(dn_saver_start(saver, &position), DN_EIO);
    assert_non_null(strstr(dn_message(), "run: found a file, expected a folder"));
    assert_int_equal(dn_saver_wait(saver), DN_OK);
    assert_int_equal(unlink(folder), 0);
    assert_int_equal(dn_saver_start(saver, &position), DN_OK);
    assert_int_equal(dn_saver_wait(saver), DN_OK);
    assert_int_equal(files_in(folder), 1);
    dn_saver_destroy(&saver);
    dn_optimizer_state_destroy(&vectors);
    dn_net_destroy(&net);
    remove_folder(parent);
    assert_int_equal(dn_saver_start(NULL, &position), DN_OK);
    assert_int_equal(dn_saver_wait(NULL), DN_OK);
    dn_saver_destroy(&saver);
}

/* Saves step after step and never ends: what test_killed kills. */
static int save_forever(const char *folder)
{
    dn_net *net = make_net("densenet-bc-100-12", 1);
    dn_checkpoint position = make_state(net, newest_in(folder).step + 1);
    const dn_optimizer_state vectors = make_vectors(net, "sgd", 1);
    dn_saver *saver = make_saver(net, &vectors, folder, 0);
    while (dn_saver_start(saver, &position) == DN_OK)
        position.step++;
    return 1;
}

/* Wherever a process is killed while it writes, the newest name is of a whole file. */
static void test_killed(void **state)
{
    (void)state;
    char folder[64], path[128];
    make_folder(folder);
    for (int i = 0, step = 0; i < 10; i++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            execl("/proc/self/exe", "test_checkpoint", "--save-forever", folder, NULL);
            _exit(127);
        }
        do { /* until it saves, and then some part of a save more */
            usleep(1000);
            snprintf(path, sizeof path, "%s/checkpoint-%08d.h5", folder, step + 1);
        } while (access(path, F_OK) != 0 && waitpid(child, NULL, WNOHANG) == 0);
        usleep(7919 * (useconds_t)i % 20000);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        for (int newer = step + 1; access(path, F_OK) == 0; newer++) {
            step = newer;
            snprintf(path, sizeof path, "%s/checkpoint-%08d.h5", folder, step + 1);
        }
        assert_int_equal(newest_in(folder).step, step);
    }
    remove_folder(folder);
}

/* What tests/load_checkpoint.py reads. */
static int leave_checkpoint(const char *folder)
{
    char path[512];
    dn_result result;
    dn_net *net = make_net(SMALL, 3);
    dn_checkpoint state = make_state(net, 42);
    dn_random_uniform(dn_net_view(net).images, BATCH * 3 * SIZE * SIZE, 2, 1, DN_STREAM_SYNTHETIC,
                      0);
    memset(dn_net_view(net).labels, 0, BATCH * sizeof(int32_t));
    dn_net_forward_eval(net, BATCH, &result);
    dn_status status = save_net(folder, net, &state, "sgd", 1);
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
    if (argc == 3 && strcmp(argv[1], "--save-forever") == 0)
        return save_forever(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_position),
        cmocka_unit_test(test_other_optimizer),
        cmocka_unit_test(test_first_files),
        cmocka_unit_test(test_keep),
        cmocka_unit_test(test_leftovers),
        cmocka_unit_test(test_set_aside),
        cmocka_unit_test(test_flipped_byte),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_other_model),
        cmocka_unit_test(test_future_version),
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_negative_squares),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_refused_folder),
        cmocka_unit_test(test_background),
        cmocka_unit_test(test_rescue),
        cmocka_unit_test(test_background_failure),
        cmocka_unit_test(test_killed),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed || argc < 2 ? failed : leave_checkpoint(argv[1]);
}
