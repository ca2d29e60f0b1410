/*
 * Records of a made-up data set, from its adapter through TFRecord and HDF5 to the reader, and
 * every kind of damage that the reader must name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <hdf5.h>
#include <jansson.h>
#include <omp.h>

#include "dn/file.h"
#include "dn/shard.h"
#include "records.h"

enum { CHANNELS = 3, HEIGHT = 5, WIDTH = 7, CLASSES = 4, IMAGE = CHANNELS * HEIGHT * WIDTH };
enum { TRAIN = 203, TEST = 37, SHARDS = 3 };

static const char *const names[CLASSES] = {"a", "b c", "Straße", "dd"};

/* A pixel is a function of where it stands; some images are constant, so that they compress. */
static uint8_t pixel(int split, int64_t image, int i)
{
    const uint32_t x = (uint32_t)(image * IMAGE + i) * 2654435761u + (uint32_t)split;
    return image % 3 == 0 ? (uint8_t)image : (uint8_t)(x >> 24);
}

static int label_of(int64_t image)
{
    return (int)(image * 7 % CLASSES);
}

static dn_status load_made_up(const char *source, dn_split_id split, uint8_t *pixels,
                              uint16_t *labels)
{
    (void)source;
    for (int64_t image = 0; image < (split == DN_TRAIN ? TRAIN : TEST); image++) {
        for (int i = 0; i < IMAGE; i++)
            *pixels++ = pixel((int)split, image, i);
        labels[image] = (uint16_t)label_of(image);
    }
    return DN_OK;
}

static const dn_raw_set made_up = {.info = {.dataset = "MADE_UP",
                                            .channels = CHANNELS,
                                            .height = HEIGHT,
                                            .width = WIDTH,
                                            .classes = CLASSES},
                                   .prefix = "made_up",
                                   .class_names = names,
                                   .count = {TRAIN, TEST},
                                   .form = {{"made-up", ".", "exe"}}, /* needs no files */
                                   .load = load_made_up};

static char folder[] = "/tmp/dn_shard_XXXXXX";

static dn_records_options options(void)
{
    return (dn_records_options){
        .source = "/proc/self", .out = folder, .shards = SHARDS, .zstd_level = 3};
}

static void in_folder(char path[PATH_MAX], const char *name)
{
    assert_int_equal(dn_join_path(path, folder, name), DN_OK);
}

static int build_again(void **state)
{
    char path[PATH_MAX];
    (void)state;
    dn_log_set_level(DN_QUIET);
    in_folder(path, "dataset.json");
    unlink(path);
    const dn_records_options o = options();
    int made;
    return dn_records_make(&made_up, &o, &made) == DN_OK && made ? 0 : -1;
}

/* Opens the train split and reads all of it; the first failure. */
static dn_status read_train(void)
{
    dn_shards *shards;
    uint8_t pixels[TRAIN * IMAGE];
    dn_status status = dn_shards_open(&shards, folder, DN_TRAIN);
    if (status != DN_OK)
        assert_null(shards);
    else
        status = dn_shards_read(shards, 0, TRAIN, pixels);
    dn_shards_close(&shards);
    return status;
}

/* status is `expected` and the one line names the file and holds `text`. */
static void expect(dn_status status, dn_status expected, const char *file, const char *text)
{
    if (status != expected || !strstr(dn_message(), file) || !strstr(dn_message(), text) ||
        strchr(dn_message(), '\n'))
        fail_msg("found status %d, \"%s\"; expected %d, \"%s\" and \"%s\"", status, dn_message(),
                 expected, file, text);
}

/* The images [first, first + count), and nothing beside them, come out right. */
static void check_range(const dn_shards *shards, dn_split_id split, int64_t first, int64_t count)
{
    uint8_t pixels[TRAIN * IMAGE + 1];
    memset(pixels, 0xa5, sizeof pixels);
    assert_int_equal(dn_shards_read(shards, first, count, pixels), DN_OK);
    for (int64_t i = 0; i < count; i++)
        for (int p = 0; p < IMAGE; p++)
            assert_int_equal(pixels[i * IMAGE + p], pixel((int)split, first + i, p));
    assert_int_equal(pixels[count * IMAGE], 0xa5);
}

static void check_split(dn_split_id split, int64_t count)
{
    dn_shards *shards;
    assert_int_equal(dn_shards_open(&shards, folder, split), DN_OK);
    const dn_source images = dn_shards_source(shards, NULL);
    const dn_shard_info *const info = &images.info;
    assert_string_equal(info->dataset, "MADE_UP");
    assert_true(images.count == count && info->channels == CHANNELS && info->height == HEIGHT &&
                info->width == WIDTH && info->classes == CLASSES);
    for (int64_t i = 0; i < count; i++)
        assert_int_equal(images.labels[i], label_of(i));
    check_range(shards, split, 0, count);
    for (int64_t first = 0; first + 19 <= count; first += 11) /* across chunks and shards */
        check_range(shards, split, first, 1 + first % 19);
    check_range(shards, split, count, 0);
    dn_shards_close(&shards);
    assert_null(shards);
}

static void test_round_trip(void **state)
{
    (void)state;
    check_split(DN_TRAIN, TRAIN);
    check_split(DN_TEST, TEST);
    assert_int_equal(dn_records_verify(folder), DN_OK);
}

/* Names of any length and in UTF-8 stand in dataset.json and in every shard. */
static void test_class_names(void **state)
{
    (void)state;
    char path[PATH_MAX], found[CLASSES][8];
    in_folder(path, "dataset.json");
    json_t *const root = json_load_file(path, 0, NULL);
    json_t *const listed = json_object_get(root, "class_names");
    in_folder(path, "made_up-test-00000-of-00001.h5");
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    const hid_t set = H5Dopen2(file, "class_names", H5P_DEFAULT), type = H5Tcopy(set);
    assert_int_equal(H5Tget_size(type), strlen("Straße"));
    H5Tset_size(type, sizeof *found);
    assert_true(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, found) >= 0);
    for (int i = 0; i < CLASSES; i++) {
        assert_string_equal(json_string_value(json_array_get(listed, (size_t)i)), names[i]);
        assert_string_equal(found[i], names[i]);
    }
    H5Tclose(type);
    H5Dclose(set);
    H5Fclose(file);
    json_decref(root);
}

/* Integer sums rounded once against a plain two-pass computation; 1e-12: its rounding errors. */
static void test_statistics(void **state)
{
    (void)state;
    const int pixels = HEIGHT * WIDTH;
    dn_manifest *m;
    assert_int_equal(dn_manifest_load(&m, folder), DN_OK);
    for (int c = 0; c < CHANNELS; c++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < TRAIN; i++)
            for (int p = 0; p < pixels; p++)
                sum += pixel(DN_TRAIN, i, c * pixels + p) / 255.0;
        const double mean = sum / (TRAIN * pixels);
        for (int64_t i = 0; i < TRAIN; i++)
            for (int p = 0; p < pixels; p++)
                squares += pow(pixel(DN_TRAIN, i, c * pixels + p) / 255.0 - mean, 2);
        assert_true(fabs(m->info.mean[c] - mean) < 1e-12);
        assert_true(fabs(m->info.std[c] - sqrt(squares / (TRAIN * pixels))) < 1e-12);
    }
    free(m);
}

/* The same source gives the same bytes, on any number of threads. */
static void test_reproducible(void **state)
{
    dn_manifest *before, *after;
    const int threads = omp_get_max_threads();
    assert_int_equal(dn_manifest_load(&before, folder), DN_OK);
    omp_set_num_threads(threads == 1 ? 2 : 1);
    assert_int_equal(build_again(state), 0);
    omp_set_num_threads(threads);
    assert_int_equal(dn_manifest_load(&after, folder), DN_OK);
    for (int i = 0; i < SHARDS; i++) {
        const dn_manifest_shard *const a = &before->split[DN_TRAIN].shard[i];
        const dn_manifest_shard *const b = &after->split[DN_TRAIN].shard[i];
        assert_true(a->hdf5.hash == b->hdf5.hash && a->tfrecord.hash == b->tfrecord.hash);
    }
    free(before);
    free(after);
}

/* Whether records of these options had to be made. */
static int made_by(const dn_records_options *o)
{
    int made;
    assert_int_equal(dn_records_make(&made_up, o, &made), DN_OK);
    return made;
}

static void test_complete(void **state)
{
    (void)state;
    int made;
    char path[PATH_MAX];
    dn_records_options o = options();
    assert_false(made_by(&o));
    o.zstd_level = 4;
    assert_true(made_by(&o));
    assert_false(made_by(&o));
    in_folder(path, "made_up-train.tfrecord-00001-of-00003");
    assert_int_equal(truncate(path, 100), 0);
    assert_true(made_by(&o));
    expect(dn_records_make(&dn_raw_cifar10, &o, &made), DN_EINVAL, folder, "CIFAR10");
    assert_false(made);
}

static dn_status load_other_label(const char *source, dn_split_id split, uint8_t *pixels,
                                  uint16_t *labels)
{
    DN_TRY(load_made_up(source, split, pixels, labels));
    labels[0] ^= split == DN_TEST;
    return DN_OK;
}

static dn_status load_other_pixel(const char *source, dn_split_id split, uint8_t *pixels,
                                  uint16_t *labels)
{
    DN_TRY(load_made_up(source, split, pixels, labels));
    pixels[0] ^= 1;
    return DN_OK;
}

/* Records of another source are not replaced; those that do not name theirs are known by mean and
 * std. */
static void test_other_source(void **state)
{
    (void)state;
    int made;
    dn_manifest *m;
    dn_raw_set other = made_up;
    const dn_records_options o = options();
    other.load = load_other_label;
    expect(dn_records_make(&other, &o, &made), DN_EINVAL, folder, "other images or labels");
    assert_false(made);
    assert_false(made_by(&o));
    assert_int_equal(dn_manifest_load(&m, folder), DN_OK);
    m->class_names = names;
    m->source = 0;
    assert_int_equal(dn_manifest_save(m, folder), DN_OK);
    free(m);
    assert_false(made_by(&o));
    other.load = load_other_pixel;
    expect(dn_records_make(&other, &o, &made), DN_EINVAL, folder, "other images or labels");
}

/* Fewer shards: the files of the replaced records are gone. */
static void test_replaced_removed(void **state)
{
    (void)state;
    char path[PATH_MAX];
    dn_records_options o = options();
    o.shards = 1;
    assert_true(made_by(&o));
    in_folder(path, "made_up-train-00000-of-00003.h5");
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(dn_records_verify(folder), DN_OK);
}

static void test_missing(void **state)
{
    (void)state;
    dn_shards *shards;
    char path[PATH_MAX];
    expect(dn_shards_open(&shards, "/nonexistent", DN_TRAIN), DN_ENOENT,
           "/nonexistent/dataset.json", "create_records");
    in_folder(path, "made_up-train-00001-of-00003.h5");
    assert_int_equal(unlink(path), 0);
    expect(read_train(), DN_ENOENT, path, "No such file");
}

static void test_cut_short(void **state)
{
    (void)state;
    char path[PATH_MAX];
    in_folder(path, "made_up-train-00002-of-00003.h5");
    assert_int_equal(truncate(path, 4000), 0);
    expect(read_train(), DN_ECORRUPT, path, "4000 bytes");
}

static void flip(const char *path, long offset)
{
    FILE *const file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, offset, SEEK_SET);
    const int byte = fgetc(file);
    fseek(file, offset, SEEK_SET);
    fputc(byte ^ 0x10, file);
    fclose(file);
}

/* One changed byte anywhere in a shard is found by reading, or changed nothing that is read; verify
 * finds all of them. */
static void test_flipped_byte(void **state)
{
    (void)state;
    char path[PATH_MAX];
    dn_manifest *m;
    in_folder(path, "made_up-train-00001-of-00003.h5");
    assert_int_equal(dn_manifest_load(&m, folder), DN_OK);
    const long bytes = (long)m->split[DN_TRAIN].shard[1].hdf5.bytes;
    free(m);
    int unseen = 0;
    for (long offset = 0; offset < bytes; offset += 13) {
        flip(path, offset);
        if (read_train() == DN_OK) {
            check_split(DN_TRAIN, TRAIN);
            unseen++;
        } else {
            assert_non_null(strstr(dn_message(), path));
        }
        if (offset % 8 == 0)
            expect(dn_records_verify(folder), DN_ECORRUPT, path, "");
        flip(path, offset);
    }
    assert_true(unseen < bytes / 13 / 4);
    assert_int_equal(read_train(), DN_OK);
}

/* Sets the integer attribute `name` of a shard. */
static void set_attribute(const char *path, const char *name, int64_t value)
{
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
    assert_true(H5Awrite(attribute, H5T_NATIVE_INT64, &value) >= 0);
    H5Aclose(attribute);
    assert_true(H5Fclose(file) >= 0);
}

static void test_future_version(void **state)
{
    (void)state;
    char path[PATH_MAX], command[2 * PATH_MAX];
    in_folder(path, "made_up-train-00000-of-00003.h5");
    set_attribute(path, "format_version", 2);
    expect(read_train(), DN_EINVAL, path, "format_version 2, expected 1");
    in_folder(path, "dataset.json");
    snprintf(command, sizeof command, "sed -i 's/\"format_version\": 1/\"format_version\": 2/' %s",
             path);
    assert_int_equal(system(command), 0);
    expect(read_train(), DN_EINVAL, path, "format_version 2, expected 1");
}

static void test_wrong_shard(void **state)
{
    (void)state;
    char path[PATH_MAX];
    in_folder(path, "made_up-train-00000-of-00003.h5");
    set_attribute(path, "shard_index", 1);
    expect(read_train(), DN_ECORRUPT, path, "shard_index 1, expected 0");
}

static void test_wrong_label(void **state)
{
    (void)state;
    char path[PATH_MAX];
    uint16_t labels[TRAIN];
    in_folder(path, "made_up-train-00000-of-00003.h5");
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t set = H5Dopen2(file, "labels", H5P_DEFAULT);
    assert_true(H5Dread(set, H5T_NATIVE_UINT16, H5S_ALL, H5S_ALL, H5P_DEFAULT, labels) >= 0);
    labels[5] = 2;
    assert_true(H5Dwrite(set, H5T_NATIVE_UINT16, H5S_ALL, H5S_ALL, H5P_DEFAULT, labels) >= 0);
    H5Dclose(set);
    H5Fclose(file);
    expect(read_train(), DN_ECORRUPT, path, "found labels_xxh3");
}

static void test_bad_manifest(void **state)
{
    (void)state;
    static const char *const edits[][2] = {
        {"s/^{/[/", "not valid JSON"},
        {"s/dn_dist data set/another thing/", "another thing"},
        {"s/\"channels\": 3/\"channels\": 9/", "channels"},
        {"s/\"count\": 203/\"count\": 204/", "found shards with 203 images, expected 204"},
        {"s/\"file\": \"made_up-test/\"file\": \"..\\/made_up-test/", "plain one"},
        {"s/\"xxh3\": \"....../\"xxh3\": \"/", "16 hex digits"},
        {"s/\"class_names\": \\[/\"class_names\": [ null,/", "found 5 class names, expected 4"},
        {"s/\"mean\": \\[/\"mean\": [ null,/", "3 numbers"}};
    char path[PATH_MAX], command[3 * PATH_MAX];
    in_folder(path, "dataset.json");
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        snprintf(command, sizeof command, "sed -i.good '%s' %s", edits[i][0], path);
        assert_int_equal(system(command), 0);
        expect(read_train(), DN_ECORRUPT, path, edits[i][1]);
        snprintf(command, sizeof command, "mv %s.good %s", path, path);
        assert_int_equal(system(command), 0);
    }
}

/* HDF5 1.10 itself loses memory when it opens an object whose header is damaged. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(test_round_trip, build_again),
                                       cmocka_unit_test(test_class_names),
                                       cmocka_unit_test(test_statistics),
                                       cmocka_unit_test(test_reproducible),
                                       cmocka_unit_test_setup(test_complete, build_again),
                                       cmocka_unit_test_setup(test_other_source, build_again),
                                       cmocka_unit_test_setup(test_replaced_removed, build_again),
                                       cmocka_unit_test_setup(test_missing, build_again),
                                       cmocka_unit_test_setup(test_cut_short, build_again),
                                       cmocka_unit_test_setup(test_flipped_byte, build_again),
                                       cmocka_unit_test_setup(test_future_version, build_again),
                                       cmocka_unit_test_setup(test_wrong_shard, build_again),
                                       cmocka_unit_test_setup(test_wrong_label, build_again),
                                       cmocka_unit_test_setup(test_bad_manifest, build_again)};
    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0 || failed;
}
