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
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <hdf5.h>
#include <jansson.h>
#include <omp.h>
#include <xxhash.h>

#include "dn/file.h"
#include "dn/image.h"
#include "dn/loader.h"
#include "dn/rng.h"
#include "dn/shard.h"
#include "looking/looking.h"
#include "making/records.h"
#include "tfrecord/tfrecord.h"

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

static dn_raw_load load_made_up;

static const dn_raw_set made_up = {
    .info = {.dataset = "MADE_UP",
             .channels = CHANNELS,
             .height = HEIGHT,
             .width = WIDTH,
             .classes = CLASSES},
    .prefix = "made_up",
    .class_names = names,
    .count = {TRAIN, TEST},
    .form = {{.name = "made-up", .subfolder = ".", .probe = "exe"}}, /* needs no files */
    .load = load_made_up};

static dn_status load_made_up(const dn_raw_set *set, const char *source,
                              const dn_records_options *o, dn_split_id split, dn_raw_split *images)
{
    (void)source, (void)o;
    DN_TRY(dn_raw_split_create(images, set, split == DN_TRAIN ? TRAIN : TEST));
    uint8_t *pixels = images->pixels;
    for (int64_t image = 0; image < images->count; image++) {
        for (int i = 0; i < IMAGE; i++)
            *pixels++ = pixel((int)split, image, i);
        images->labels[image] = (uint16_t)label_of(image);
    }
    return DN_OK;
}

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

static dn_status load_other_label(const dn_raw_set *set, const char *source,
                                  const dn_records_options *o, dn_split_id split,
                                  dn_raw_split *images)
{
    DN_TRY(load_made_up(set, source, o, split, images));
    images->labels[0] ^= split == DN_TEST;
    return DN_OK;
}

static dn_status load_other_pixel(const dn_raw_set *set, const char *source,
                                  const dn_records_options *o, dn_split_id split,
                                  dn_raw_split *images)
{
    DN_TRY(load_made_up(set, source, o, split, images));
    images->pixels[0] ^= 1;
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

/* One changed byte anywhere in a shard, or in dataset.json, is found before anything is read. */
static void test_flipped_byte(void **state)
{
    (void)state;
    char path[PATH_MAX];
    dn_manifest *m;
    struct stat info;
    in_folder(path, "made_up-train-00001-of-00003.h5");
    assert_int_equal(stat(path, &info), 0);
    for (long offset = 0; offset < info.st_size; offset += 13) {
        flip(path, offset);
        expect(read_train(), DN_ECORRUPT, path, "found bytes of checksum");
        if (offset % 8 == 0)
            expect(dn_records_verify(folder), DN_ECORRUPT, path, "");
        flip(path, offset);
    }
    in_folder(path, "dataset.json");
    assert_int_equal(stat(path, &info), 0);
    for (long offset = 0; offset < info.st_size; offset++) {
        flip(path, offset);
        assert_int_not_equal(dn_manifest_load(&m, folder), DN_OK);
        assert_null(m);
        assert_non_null(strstr(dn_message(), path));
        flip(path, offset);
    }
    assert_int_equal(read_train(), DN_OK);
}

/* ---- what somebody wrote on purpose, with its checksums renewed ---- */

static void run(const char *format, const char *argument, const char *path)
{
    char command[4 * PATH_MAX];
    snprintf(command, sizeof command, format, argument, path);
    assert_int_equal(system(command), 0);
}

/* Gives dataset.json the seal of what it holds, by the specification. */
static void seal_manifest(void)
{
    enum { SEAL = 31 };
    char path[PATH_MAX];
    uint8_t *bytes;
    size_t size;
    in_folder(path, "dataset.json");
    assert_int_equal(dn_file_load(path, &bytes, &size), DN_OK);
    FILE *const file = fopen(path, "w");
    assert_non_null(file);
    fwrite(bytes, 1, size - SEAL, file);
    fprintf(file, "  \"xxh3\": \"%016" PRIx64 "\"\n}\n", XXH3_64bits(bytes, size - SEAL));
    assert_int_equal(fclose(file), 0);
    free(bytes);
}

/* Notes the size and checksum of each train shard as it is now. */
static void seal_shards(void)
{
    dn_manifest *m;
    assert_int_equal(dn_manifest_load(&m, folder), DN_OK);
    for (int i = 0; i < m->split[DN_TRAIN].shards; i++) {
        dn_manifest_file *const file = &m->split[DN_TRAIN].shard[i].hdf5;
        char path[PATH_MAX];
        uint8_t *bytes;
        size_t size;
        in_folder(path, file->name);
        assert_int_equal(dn_file_load(path, &bytes, &size), DN_OK);
        file->bytes = (int64_t)size;
        file->hash = XXH3_64bits(bytes, size);
        free(bytes);
    }
    assert_int_equal(dn_manifest_save(m, folder), DN_OK);
    free(m);
}

/* The opened first shard of the train split, to be changed. */
static hid_t edit_shard(char path[PATH_MAX])
{
    in_folder(path, "made_up-train-00000-of-00003.h5");
    return H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
}

/* Both readers refuse the edited shard, by name. */
static void refused(hid_t file, const char *path, const char *text)
{
    assert_true(H5Fclose(file) >= 0);
    seal_shards();
    expect(read_train(), DN_ECORRUPT, path, text);
    expect(dn_records_verify(folder), DN_ECORRUPT, path, text);
}

static void set_attribute(hid_t file, const char *name, hid_t type, const void *value)
{
    const hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
    assert_true(H5Awrite(attribute, type, value) >= 0);
    H5Aclose(attribute);
}

static void test_wrong_attributes(void **state)
{
    static const struct {
        const char *name;
        int64_t value;
        const char *text;
    } cases[] = {{"format_version", 2, "format_version 2, expected 1"},
                 {"shard_index", 1, "shard_index 1, expected 0"},
                 {"shard_count", -1, "shard_count -1, expected 3"},
                 {"count", INT64_MAX, "count 9223372036854775807, expected 67"}};
    static const char *const channels[] = {"mean", "std"};
    static const double values[CHANNELS] = {0.25, 0.25, 0.25};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(build_again(state), 0);
        const hid_t file = edit_shard(path);
        set_attribute(file, cases[i].name, H5T_NATIVE_INT64, &cases[i].value);
        refused(file, path, cases[i].text);
    }
    for (int i = 0; i < 2; i++) {
        char text[64];
        assert_int_equal(build_again(state), 0);
        hid_t file = edit_shard(path);
        set_attribute(file, channels[i], H5T_NATIVE_DOUBLE, values);
        snprintf(text, sizeof text, "channel 0: found %s 0.25", channels[i]);
        refused(file, path, text);
        file = edit_shard(path);
        H5Adelete(file, channels[i]);
        snprintf(text, sizeof text, "attribute %s is missing", channels[i]);
        refused(file, path, text);
    }
}

static void test_wrong_label(void **state)
{
    (void)state;
    char path[PATH_MAX];
    uint16_t labels[TRAIN];
    const hid_t file = edit_shard(path);
    const hid_t set = H5Dopen2(file, "labels", H5P_DEFAULT);
    assert_true(H5Dread(set, H5T_NATIVE_UINT16, H5S_ALL, H5S_ALL, H5P_DEFAULT, labels) >= 0);
    labels[5] = 2;
    assert_true(H5Dwrite(set, H5T_NATIVE_UINT16, H5S_ALL, H5S_ALL, H5P_DEFAULT, labels) >= 0);
    H5Dclose(set);
    refused(file, path, "found labels_xxh3");
}

static void test_wrong_class_names(void **state)
{
    (void)state;
    static const char reversed[CLASSES][7] = {"dd", {'S', 't', 'r', 'a', '\xc3', '\x9f', 'e'}, "b"};
    char path[PATH_MAX];
    const hid_t file = edit_shard(path);
    const hid_t set = H5Dopen2(file, "class_names", H5P_DEFAULT), type = H5Dget_type(set);
    assert_true(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, reversed) >= 0);
    H5Tclose(type);
    H5Dclose(set);
    refused(file, path, "found class name 0 \"dd\", expected \"a\"");
}

/* Puts a data set in place of labels or images; one that is whole, but for its storage. */
static void replace_set(hid_t file, const char *name, hid_t type, int rank, const hsize_t *size,
                        hid_t properties)
{
    const hid_t space = H5Screate_simple(rank, size, NULL);
    H5Ldelete(file, name, H5P_DEFAULT);
    const hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    assert_true(set >= 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Pclose(properties);
}

/* A shard makes nobody read another file. */
static void test_elsewhere(void **state)
{
    static const hsize_t count = 67, shape[4] = {67, CHANNELS, HEIGHT, WIDTH};
    char path[PATH_MAX];
    for (int way = 0; way < 4; way++) {
        assert_int_equal(build_again(state), 0);
        const hid_t file = edit_shard(path), properties = H5Pcreate(H5P_DATASET_CREATE);
        if (way < 2) {
            H5Ldelete(file, "labels", H5P_DEFAULT);
            if (way == 0)
                H5Lcreate_external("made_up-train-00001-of-00003.h5", "labels", file, "labels",
                                   H5P_DEFAULT, H5P_DEFAULT);
            else
                H5Lcreate_soft("/class_names", file, "labels", H5P_DEFAULT, H5P_DEFAULT);
            refused(file, path, "labels: found a link");
        } else if (way == 2) {
            H5Pset_external(properties, "/etc/passwd", 0, 2 * count);
            replace_set(file, "labels", H5T_STD_U16LE, 1, &count, properties);
            refused(file, path, "labels: found no data set or one that is external");
        } else {
            const hid_t space = H5Screate_simple(4, shape, NULL);
            H5Pset_virtual(properties, space, "made_up-train-00001-of-00003.h5", "images", space);
            H5Sclose(space);
            replace_set(file, "images", H5T_STD_U8LE, 4, shape, properties);
            refused(file, path, "images: found no data set or one that is external");
        }
    }
}

/* An edit of dataset.json is refused, sealed or not. */
static void test_bad_manifest(void **state)
{
    (void)state;
    static const char *const edits[][2] = {
        {"s/^{/[/", "not valid JSON"},
        {"s/dn_dist data set/another thing/", "another thing"},
        {"s/\"channels\": 3/\"channels\": 9/", "channels"},
        {"s/\"channels\": 3/\"channels\": 4294967299/", "channels: found 4294967299"},
        {"s/\"height\": 5/\"height\": 65535/;s/\"width\": 7/\"width\": 65535/", "at most"},
        {"s/\"count\": 203/\"count\": 204/", "found shards with 203 images, expected 204"},
        {"s/\"count\": 67/\"count\": 9223372036854775807/", "found 9223372036854775807"},
        {"s/\"count\": 6[78]/\"count\": 4294967295/", "found 4294967295 images"},
        {"s/\"count\": 67/\"count\": 0/", "found 0"},
        {"s/\"bytes\": [0-9]*/\"bytes\": -1/", "found -1"},
        {"s/\"file\": \"made_up-test/\"file\": \"..\\/made_up-test/", "plain one"},
        {"s/\"file\": \"made_up-test/\"file\": \"\\\\nmade_up-test/", "plain one"},
        {"s/   \"xxh3\": \"....../   \"xxh3\": \"/", "16 hex digits"},
        {"s/   \"xxh3\": \".../   \"xxh3\": \"0x1/", "16 hex digits"},
        {"s/\"classes\": 4/\"classes\": 5/", "found 4 class names, expected 5"},
        {"s/\"class_names\": \\[/\"class_names\": [ null,/", "found 5 class names, expected 4"},
        {"s/\"b c\"/7/", "class name 1"},
        {"s/\"b c\"/\"a\"/", "\"a\" a second time"},
        {"s/\"b c\"/\"b d\"/", "\"b c\", expected \"b d\""},
        {"s/\"mean\": \\[/\"mean\": [ null,/", "3 numbers"},
        {"/\"mean\"/{n;s/[0-9.]*,/-0.5,/}", "mean of -0.5"},
        {"/\"mean\"/{n;s/[0-9.]*,/0.5,/}", "found mean"},
        {"/\"std\"/{n;s/[0-9.]*,/0,/}", "channel 0: found a std of 0"},
        {"/\"std\"/{n;s/[0-9.]*,/1e39,/}", "channel 0: found a std of 1e+39"},
        {"/\"std\"/{n;s/[0-9.]*,/1e-46,/}", "channel 0: found a std"},
        {"s/\"zstd_level\"/\"more\": 1, &/", "not valid: 1 object item(s) left unpacked: more"},
        {"s/\"channels\"/\"conversion\": \"short side 5\", &/",
         "conversion: found \"short side 5\""},
        {"s/\"splits\": {/& \"more\": 1,/", "left unpacked: more"},
        {"s/\"tfrecord\": {/& \"more\": 1,/", "left unpacked: more"},
        {"s/\"format_version\": 2/\"format_version\": 1/", "expected both from version 2 on"}};
    char path[PATH_MAX];
    in_folder(path, "dataset.json");
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        run("sed -i.good '%s' %s", edits[i][0], path);
        assert_int_not_equal(read_train(), DN_OK);
        seal_manifest();
        expect(read_train(), DN_ECORRUPT, folder, edits[i][1]);
        expect(dn_records_verify(folder), DN_ECORRUPT, folder, edits[i][1]);
        run("mv %s.good %s", path, path);
    }
    run("sed -i 's/\"format_version\": 2/\"format_version\": %s/' %s", "4", path);
    expect(read_train(), DN_EINVAL, path, "format_version 4, expected 1 to 3");
}

/* Records without TFRecords, or with those of one shard alone: only version 3 can say it. */
static void test_without_tfrecords(void **state)
{
    (void)state;
    char path[PATH_MAX];
    dn_manifest *m;
    dn_records_options o = options();
    o.tfrecords = DN_TFRECORDS_DROP;
    assert_true(made_by(&o));
    assert_false(made_by(&o));
    in_folder(path, "made_up-train.tfrecord-00001-of-00003");
    assert_int_not_equal(access(path, F_OK), 0);
    check_split(DN_TRAIN, TRAIN);
    assert_int_equal(dn_records_verify(folder), DN_OK);
    o.tfrecords = DN_TFRECORDS_KEEP;
    assert_false(made_by(&o)); /* to-tfrecord adds them */
    int made;
    assert_int_equal(dn_to_tfrecord(folder, NULL, &made), DN_OK);
    assert_true(made);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(dn_records_verify(folder), DN_OK);
    in_folder(path, "dataset.json");
    run("grep -q '\"format_version\": %s' %s", "2", path);

    assert_int_equal(dn_manifest_load(&m, folder), DN_OK);
    m->shard[1].tfrecord.name[0] = '\0';
    assert_int_equal(dn_manifest_save(m, folder), DN_OK);
    free(m);
    run("grep -q '\"format_version\": %s' %s", "3", path);
    check_split(DN_TRAIN, TRAIN);
    assert_int_equal(dn_records_verify(folder), DN_OK);
    run("sed -i 's/\"format_version\": 3/\"format_version\": %s/' %s", "2", path);
    seal_manifest();
    expect(read_train(), DN_ECORRUPT, path, "found no tfrecord in format_version 2");
    o.tfrecords = DN_TFRECORDS_DROP;
    assert_true(made_by(&o));
}

/* What an older create_records wrote has no seal; it is read as strictly. */
static void test_first_version(void **state)
{
    (void)state;
    char path[PATH_MAX];
    in_folder(path, "dataset.json");
    run("sed -i '/\"source\"/d; /^  \"xxh3\"/d; s/^  },$/  }/; "
        "s/\"format_version\": 2/\"format_version\": %s/' %s",
        "1", path);
    check_split(DN_TRAIN, TRAIN);
    assert_int_equal(dn_records_verify(folder), DN_OK);
    run("sed -i 's/\"zstd_level\"/\"more\": %s, &/' %s", "1", path);
    expect(read_train(), DN_ECORRUPT, path, "left unpacked: more");
}

/* ---- what the system refuses ---- */

static rlim_t set_files(rlim_t files)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = files;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return before;
}

/* No file stays open, so any number of shards can be read; and no lack of files is called damage.
 */
static void test_few_files(void **state)
{
    (void)state;
    dn_shards *shards;
    dn_records_options o = options();
    int made;
    o.shards = TRAIN;
    assert_int_equal(dn_records_make(&made_up, &o, &made), DN_OK);
    const rlim_t files = set_files(32);
    const int threads = omp_get_max_threads();
    omp_set_num_threads(2); /* each may have files open */
    check_split(DN_TRAIN, TRAIN);
    assert_int_equal(dn_records_verify(folder), DN_OK);
    omp_set_num_threads(threads);
    set_files(3);
    const dn_status status = dn_shards_open(&shards, folder, DN_TRAIN);
    set_files(files);
    expect(status, DN_EIO, folder, "Too many open files");
}

static void test_no_file(void **state)
{
    (void)state;
    char path[PATH_MAX];
    in_folder(path, "made_up-train-00000-of-00003.h5");
    run("rm %s && mkdir %s", path, path);
    expect(read_train(), DN_EIO, path, "Is a directory");
    run("rmdir %s", path, "");
    in_folder(path, "dataset.json");
    run("rm %s && mkfifo %s", path, path);
    expect(read_train(), DN_EIO, path, "no regular file");
}

/* ---- what inspect shows ---- */

static dn_status read_shard_image(const dn_source *source, const dn_request *request,
                                  const dn_transform *transform, dn_workspace *workspace,
                                  float *image)
{
    uint8_t pixels[IMAGE];
    (void)source;
    for (int i = 0; i < IMAGE; i++)
        pixels[i] = pixel(DN_TRAIN, request->index, i);
    return dn_transform_pixels(transform, request, pixels, HEIGHT, WIDTH, workspace, image);
}

static void check_picture(const char *path, const dn_shard_info *info, const float *expected)
{
    dn_encoded file = {.name = path};
    uint8_t *bytes;
    dn_pixels found = {0};
    assert_int_equal(dn_file_load(path, &bytes, &file.size), DN_OK);
    file.bytes = bytes;
    assert_int_equal(dn_image_decode(&file, NULL, 1, &found), DN_OK);
    assert_true(found.height == HEIGHT && found.width == WIDTH);
    for (int c = 0; c < CHANNELS; c++)
        for (int i = 0; i < HEIGHT * WIDTH; i++)
            assert_int_equal(
                found.rgb.bytes[CHANNELS * i + c],
                lrint(255 * (expected[c * HEIGHT * WIDTH + i] * info->std[c] + info->mean[c])));
    dn_buffer_free(&found.rgb);
    free(bytes);
}

/* An image of an epoch is what the loader makes of it there. */
static void test_inspect(void **state)
{
    enum { SEED = 5, EPOCH = 2, BATCH = 8, STEPS = TRAIN / BATCH };
    (void)state;
    char path[PATH_MAX];
    dn_shards *shards;
    dn_loader *loader;
    uint32_t order[TRAIN];
    float images[BATCH * IMAGE];
    int32_t labels[BATCH];
    dn_records_options o = {.png = path, .augment = "pad-crop:2,hflip", .epoch = EPOCH};
    o.seed = SEED;
    in_folder(path, "image.png");
    assert_int_equal(dn_shards_open(&shards, folder, DN_TRAIN), DN_OK);
    const dn_source source = dn_shards_source(shards, read_shard_image);
    dn_loader_settings settings = {.source = &source,
                                   .sequence = {0, 1, 1, BATCH, STEPS},
                                   .begin = EPOCH * STEPS,
                                   .end = EPOCH * STEPS + 1,
                                   .shuffle = 1,
                                   .seed = SEED,
                                   .depth = 1,
                                   .threads = 1};
    assert_int_equal(dn_transform_parse(&settings.transform, &source.info, o.augment, SEED), DN_OK);
    assert_int_equal(dn_loader_create(&loader, &settings), DN_OK);
    assert_int_equal(dn_loader_load(loader, settings.begin, images, labels), DN_OK);
    dn_random_permutation(order, TRAIN, SEED, EPOCH);
    for (int i = 0; i < BATCH; i++) {
        o.sample = order[i];
        assert_int_equal(dn_records_inspect(folder, &o), DN_OK);
        check_picture(path, &source.info, images + i * IMAGE);
    }
    dn_loader_destroy(&loader);
    dn_shards_close(&shards);
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
                                       cmocka_unit_test(test_wrong_attributes),
                                       cmocka_unit_test_setup(test_wrong_label, build_again),
                                       cmocka_unit_test_setup(test_wrong_class_names, build_again),
                                       cmocka_unit_test(test_elsewhere),
                                       cmocka_unit_test_setup(test_bad_manifest, build_again),
                                       cmocka_unit_test_setup(test_first_version, build_again),
                                       cmocka_unit_test_setup(test_without_tfrecords, build_again),
                                       cmocka_unit_test_setup(test_few_files, build_again),
                                       cmocka_unit_test_setup(test_no_file, build_again),
                                       cmocka_unit_test_setup(test_inspect, build_again)};
    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0 || failed;
}
