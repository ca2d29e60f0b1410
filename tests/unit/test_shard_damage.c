/* Records that are damaged, missing or forged: for each, one line names the file and says what was
 * found and what was expected. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <hdf5.h>
#include <xxhash.h>

#include "data/shard_reader.h"
#include "dn/child.h"
#include "dn/file.h"
#include "inspect/inspect.h"
#include "made_up.h"
#include "trial_files.h"

#define FIRST  "made_up-train-00000-of-00003.h5"
#define SECOND "made_up-train-00001-of-00003.h5"

static void test_missing(void **state)
{
    dn_shards *shards;
    made_up_expect(dn_shards_open(&shards, "nowhere", DN_TRAIN), DN_ENOENT, "nowhere/dataset.json",
                   "create_records");
    assert_int_equal(unlink(SECOND), 0);
    made_up_expect(made_up_read(), DN_ENOENT, SECOND, "No such file");
}

static void test_no_file(void **state)
{
    assert_int_equal(unlink(FIRST), 0);
    assert_int_equal(mkdir(FIRST, 0777), 0);
    made_up_expect(made_up_read(), DN_EIO, FIRST, "Is a directory");
    assert_int_equal(rmdir(FIRST), 0);
    assert_int_equal(unlink(MANIFEST), 0);
    assert_int_equal(mkfifo(MANIFEST, 0777), 0);
    made_up_expect(made_up_read(), DN_EIO, MANIFEST, "no regular file");
}

static void test_cut_short(void **state)
{
    assert_int_equal(truncate("made_up-train-00002-of-00003.h5", 4000), 0);
    made_up_expect(made_up_read(), DN_ECORRUPT, "made_up-train-00002-of-00003.h5", "4000 bytes");
}

/* A changed byte anywhere in a shard or in dataset.json is detected before anything is read. */
static void test_flipped_byte(void **state)
{
    dn_manifest *m;
    struct stat info;
    assert_int_equal(stat(SECOND, &info), 0);
    for (long offset = 0; offset < info.st_size; offset += 97) {
        trial_flip(SECOND, offset);
        made_up_expect(made_up_read(), DN_ECORRUPT, SECOND, "found bytes of checksum");
        if (offset % 8 == 0)
            made_up_expect(dn_records_verify("."), DN_ECORRUPT, SECOND, "");
        trial_flip(SECOND, offset);
    }
    assert_int_equal(stat(MANIFEST, &info), 0);
    for (long offset = 0; offset < info.st_size; offset++) {
        trial_flip(MANIFEST, offset);
        assert_int_not_equal(dn_manifest_load(&m, "."), DN_OK);
        assert_null(m);
        assert_non_null(strstr(dn_message(), MANIFEST));
        trial_flip(MANIFEST, offset);
    }
    assert_int_equal(made_up_read(), DN_OK);
}

/* ---- forged files with renewed checksums ---- */

/* Stores the present size and checksum of each train shard in dataset.json. */
static void seal_shards(void)
{
    dn_manifest *m;
    assert_int_equal(dn_manifest_load(&m, "."), DN_OK);
    for (int i = 0; i < m->split[DN_TRAIN].shards; i++) {
        dn_manifest_file *const file = &m->split[DN_TRAIN].shard[i].hdf5;
        uint8_t *bytes;
        size_t size;
        assert_int_equal(dn_file_load(file->name, &bytes, &size), DN_OK);
        file->bytes = (int64_t)size;
        file->hash = XXH3_64bits(bytes, size);
        free(bytes);
    }
    assert_int_equal(dn_manifest_save(m, "."), DN_OK);
    free(m);
}

/* Both readers refuse the edited shard and name it. */
static void refused(hid_t file, const char *text)
{
    assert_true(H5Fclose(file) >= 0);
    seal_shards();
    made_up_expect(made_up_read(), DN_ECORRUPT, FIRST, text);
    made_up_expect(dn_records_verify("."), DN_ECORRUPT, FIRST, text);
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
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(made_up_build(state), 0);
        const hid_t file = H5Fopen(FIRST, H5F_ACC_RDWR, H5P_DEFAULT);
        set_attribute(file, cases[i].name, H5T_NATIVE_INT64, &cases[i].value);
        refused(file, cases[i].text);
    }
    for (int i = 0; i < 2; i++) {
        char text[64];
        assert_int_equal(made_up_build(state), 0);
        hid_t file = H5Fopen(FIRST, H5F_ACC_RDWR, H5P_DEFAULT);
        set_attribute(file, channels[i], H5T_NATIVE_DOUBLE, values);
        snprintf(text, sizeof text, "channel 0: found %s 0.25", channels[i]);
        refused(file, text);
        file = H5Fopen(FIRST, H5F_ACC_RDWR, H5P_DEFAULT);
        H5Adelete(file, channels[i]);
        snprintf(text, sizeof text, "attribute %s is missing", channels[i]);
        refused(file, text);
    }
}

static void test_wrong_label(void **state)
{
    uint16_t labels[TRAIN];
    const hid_t file = H5Fopen(FIRST, H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t set = H5Dopen2(file, "labels", H5P_DEFAULT);
    assert_true(H5Dread(set, H5T_NATIVE_UINT16, H5S_ALL, H5S_ALL, H5P_DEFAULT, labels) >= 0);
    labels[5] = 2;
    assert_true(H5Dwrite(set, H5T_NATIVE_UINT16, H5S_ALL, H5S_ALL, H5P_DEFAULT, labels) >= 0);
    H5Dclose(set);
    refused(file, "found labels_xxh3");
}

static void test_wrong_class_names(void **state)
{
    static const char reversed[CLASSES][7] = {"dd", {'S', 't', 'r', 'a', '\xc3', '\x9f', 'e'}, "b"};
    const hid_t file = H5Fopen(FIRST, H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t set = H5Dopen2(file, "class_names", H5P_DEFAULT), type = H5Dget_type(set);
    assert_true(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, reversed) >= 0);
    H5Tclose(type);
    H5Dclose(set);
    refused(file, "found class name 0 \"dd\", expected \"a\"");
}

/* Replaces the labels or images by a data set of the same size with other storage. */
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

/* A shard cannot cause another file to be read. */
static void test_elsewhere(void **state)
{
    static const hsize_t count = 67, shape[4] = {67, CHANNELS, HEIGHT, WIDTH};
    for (int way = 0; way < 4; way++) {
        assert_int_equal(made_up_build(state), 0);
        const hid_t file = H5Fopen(FIRST, H5F_ACC_RDWR, H5P_DEFAULT),
                    properties = H5Pcreate(H5P_DATASET_CREATE);
        if (way < 2) {
            H5Ldelete(file, "labels", H5P_DEFAULT);
            if (way == 0)
                H5Lcreate_external(SECOND, "labels", file, "labels", H5P_DEFAULT, H5P_DEFAULT);
            else
                H5Lcreate_soft("/class_names", file, "labels", H5P_DEFAULT, H5P_DEFAULT);
            refused(file, "labels: found a link");
        } else if (way == 2) {
            H5Pset_external(properties, "/etc/passwd", 0, 2 * count);
            replace_set(file, "labels", H5T_STD_U16LE, 1, &count, properties);
            refused(file, "labels: found no data set or one that is external");
        } else {
            const hid_t space = H5Screate_simple(4, shape, NULL);
            H5Pset_virtual(properties, space, SECOND, "images", space);
            H5Sclose(space);
            replace_set(file, "images", H5T_STD_U8LE, 4, shape, properties);
            refused(file, "images: found no data set or one that is external");
        }
    }
}

/* An edited dataset.json is refused, with or without a valid checksum. */
static void test_bad_manifest(void **state)
{
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
        {"s/\"file\": \"made_up-test/\"file\": \".made_up-test/", "plain one"},
        {"s/\"file\": \"made_up-test/\"file\": \"a\\/made_up-test/", "plain one"},
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
        {"/\"source\"/d", "not valid: Object item not found: source"}};
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        assert_int_equal(link(MANIFEST, "good"), 0);
        made_up_edit(edits[i][0]);
        assert_int_not_equal(made_up_read(), DN_OK);
        made_up_seal();
        made_up_expect(made_up_read(), DN_ECORRUPT, "./", edits[i][1]);
        made_up_expect(dn_records_verify("."), DN_ECORRUPT, "./", edits[i][1]);
        assert_int_equal(rename("good", MANIFEST), 0);
    }
    made_up_edit("s/\"format_version\": 4/\"format_version\": 3/");
    made_up_expect(made_up_read(), DN_EINVAL, MANIFEST, "format_version 3, expected 4");
    made_up_edit("s/\"format_version\": 3/\"format_version\": 5/");
    made_up_expect(made_up_read(), DN_EINVAL, MANIFEST, "format_version 5, expected 4");
}

/* Label sets belong to format version 5, are lists of increasing classes, at most 65535, and also
 * in the shards. A list of unknown classes may end one, in version 6. */
static void test_bad_label_sets(void **state)
{
    static const char *const edits[][2] = {
        {"[[0], []]", "label_sets is missing"},
        {"[[0, [1]]]", "found format_version 1, expected 2"},
        {"[[0, [1, 0]]]", "label set 0: found an entry that is no class after 1"},
        {"[[0, [0]]]", "label set 0: found an entry that is no class after -1"},
        {"[[[4]]]", "expected increasing numbers below 4, each once"},
        {"[[[[1]]]]", "label set 0: found an entry that is no class"},
        {"[[0, []]]", "label set 0: found an entry that is no class after 0"},
        {"[[[1], 0]]", "label set 0: found an entry that is no class after -1"},
        {"[[0], [2, 1]]", "label set 1: found an entry that is no class after 2"},
        {"[[0], [1, 1]]", "label set 1: found an entry that is no class after 1"},
        {"[[0, 4]]", "expected increasing numbers below 4"},
        {"[[-1]]", "label set 0: found an entry that is no class"},
        {"[[\"a\"]]", "label set 0: found an entry that is no class"},
        {"[[], 0]", "label set 1: found no list"},
        {"[]", "found 0 label sets of 4 classes, expected 1 to 65535"},
        {"{}", "found 0 label sets of 4 classes"},
        {"null", "found 0 label sets of 4 classes"}};
    char commands[128];
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        assert_int_equal(link(MANIFEST, "good"), 0);
        const int version = strstr(edits[i][0], "]]]") ? 6 : 5;
        snprintf(commands, sizeof commands, "s/version\": 4/version\": %d, \"label_sets\": %s/",
                 version, edits[i][0]);
        made_up_edit(commands);
        made_up_seal();
        made_up_expect(made_up_read(), i == 0 ? DN_ENOENT : DN_ECORRUPT, "./", edits[i][1]);
        assert_int_equal(rename("good", MANIFEST), 0);
    }
    made_up_edit("s/\"mean\"/\"label_sets\": [[]], &/");
    made_up_expect(made_up_read(), DN_EINVAL, MANIFEST, "format_version 4, expected 5");
    made_up_edit("s/version\": 4/version\": 5/; s/\\[\\[\\]\\]/[[[0]]]/");
    made_up_expect(made_up_read(), DN_EINVAL, MANIFEST, "format_version 5, expected 6");
    made_up_edit("s/\\[\\[\\[0\\]\\]\\]/[[]]/");
    for (int i = 0; i < 16; i++)
        made_up_edit("s/\\[\\]/&, &/g");
    made_up_seal();
    made_up_expect(made_up_read(), DN_ECORRUPT, MANIFEST, "found 65536 label sets of 4 classes");
}

static dn_status overwrite(void *labels)
{
    memset(labels, 0xff, TRAIN * sizeof(uint16_t));
    return DN_OK;
}

enum { PARTS = 2 };

/* A child that overwrites another's results is detected; the validated index is out of its reach.
 */
static void test_overwritten(void **state)
{
    dn_shards *shards;
    assert_int_equal(dn_shards_load(&shards, ".", DN_TRAIN, 0, 1), DN_OK);
    void *const index = dn_child_pages(dn_shards_index_bytes(shards));
    assert_non_null(index);
    dn_shards_use_index(shards, index);
    uint16_t *const labels = (uint16_t *)dn_shards_source(shards, NULL).labels;
    assert_int_equal(dn_shards_read_index(shards, 0, 1), DN_OK);
    assert_int_equal(dn_child_run("child", overwrite, labels), DN_OK);
    made_up_expect(dn_shards_check_index(shards, 0, 1), DN_ECORRUPT, FIRST,
                   "image 0 has label 65535");

    for (int part = 0; part < PARTS; part++)
        assert_int_equal(dn_shards_read_index(shards, part, PARTS), DN_OK);
    for (int part = 0; part < PARTS; part++)
        assert_int_equal(dn_shards_check_index(shards, part, PARTS), DN_OK);
    assert_int_equal(dn_child_run("child", overwrite, labels), DN_ECORRUPT);
    assert_int_equal(dn_shards_check_index(shards, 0, 1), DN_OK);
    dn_child_pages_free(index, dn_shards_index_bytes(shards));
    dn_shards_close(&shards);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MADE_UP_TEST(test_missing),           MADE_UP_TEST(test_no_file),
        MADE_UP_TEST(test_cut_short),         MADE_UP_TEST(test_flipped_byte),
        MADE_UP_TEST(test_wrong_attributes),  MADE_UP_TEST(test_wrong_label),
        MADE_UP_TEST(test_wrong_class_names), MADE_UP_TEST(test_elsewhere),
        MADE_UP_TEST(test_bad_manifest),      MADE_UP_TEST(test_bad_label_sets),
        MADE_UP_TEST(test_overwritten)};
    return cmocka_run_group_tests(tests, trial_folder_make, trial_folder_remove);
}
