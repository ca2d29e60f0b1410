/* Records of a made-up data set, from its adapter through TFRecord and HDF5 to the reader. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <hdf5.h>
#include <jansson.h>
#include <omp.h>

#include "inspect/inspect.h"
#include "made_up.h"
#include "trial_files.h"

static void test_round_trip(void **state)
{
    made_up_check(DN_TRAIN);
    made_up_check(DN_TEST);
    assert_int_equal(dn_records_verify("."), DN_OK);
}

/* dataset.json and every shard hold the class names, of any length and in UTF-8. */
static void test_class_names(void **state)
{
    char found[CLASSES][8];
    json_t *const root = json_load_file(MANIFEST, 0, NULL);
    json_t *const listed = json_object_get(root, "class_names");
    const hid_t file = H5Fopen("made_up-test-00000-of-00001.h5", H5F_ACC_RDONLY, H5P_DEFAULT);
    const hid_t set = H5Dopen2(file, "class_names", H5P_DEFAULT), type = H5Tcopy(set);
    assert_int_equal(H5Tget_size(type), strlen("Straße"));
    H5Tset_size(type, sizeof *found);
    assert_true(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, found) >= 0);
    for (int i = 0; i < CLASSES; i++) {
        assert_string_equal(json_string_value(json_array_get(listed, (size_t)i)),
                            made_up.class_names[i]);
        assert_string_equal(found[i], made_up.class_names[i]);
    }
    H5Tclose(type);
    H5Dclose(set);
    H5Fclose(file);
    json_decref(root);
}

/* Integer sums, rounded once, against a plain two-pass computation, whose rounding errors are below
 * 1e-12. */
static void test_statistics(void **state)
{
    const int pixels = HEIGHT * WIDTH;
    dn_manifest *m;
    assert_int_equal(dn_manifest_load(&m, "."), DN_OK);
    for (int c = 0; c < CHANNELS; c++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < TRAIN; i++)
            for (int p = 0; p < pixels; p++)
                sum += made_up_pixel(DN_TRAIN, i, c * pixels + p) / 255.0;
        const double mean = sum / (TRAIN * pixels);
        for (int64_t i = 0; i < TRAIN; i++)
            for (int p = 0; p < pixels; p++)
                squares += pow(made_up_pixel(DN_TRAIN, i, c * pixels + p) / 255.0 - mean, 2);
        assert_true(fabs(m->info.mean[c] - mean) < 1e-12);
        assert_true(fabs(m->info.std[c] - sqrt(squares / (TRAIN * pixels))) < 1e-12);
    }
    free(m);
}

/* Label sets are saved and loaded unchanged; the sets and the number of classes of an image follow,
 * and the description by which a resumed run knows its images. */
static void test_label_sets(void **state)
{
    static const uint8_t sets[3][CLASSES] = {{1, 0, 0, 1}, {0}, {0, 1, 2, 0}};
    static const uint8_t other_sets[3][CLASSES] = {{1, 0, 0, 1}, {0}, {0, 1, 1, 0}};
    static const uint16_t labels[] = {0, 2, 0, 1, 2, 0};
    dn_manifest *m, *again;
    char text[8], before[256], after[256];
    int64_t *count;
    assert_int_equal(dn_manifest_load(&m, "."), DN_OK);
    m->info.label_sets = 3;
    m->label_sets = *sets;
    assert_int_equal(dn_manifest_save(m, "."), DN_OK);
    assert_int_equal(dn_manifest_load(&again, "."), DN_OK);
    assert_true(dn_manifest_is_same(m, again));
    assert_memory_equal(again->label_sets, sets, sizeof sets);
    dn_manifest_label_text(again, 0, text, sizeof text);
    assert_string_equal(text, "a|dd");
    dn_manifest_label_text(again, 1, text, sizeof text);
    assert_string_equal(text, "(no cla");
    dn_manifest_label_text(again, 2, text, sizeof text);
    assert_string_equal(text, "b c|?St");
    dn_source source = {
        .info = again->info, .count = 6, .labels = labels, .label_sets = again->label_sets};
    assert_int_equal(dn_source_count(&source, &count), DN_OK);
    assert_memory_equal(count, ((const int64_t[2 *CLASSES]){3, 2, 0, 3, 6, 6, 4, 6}),
                        2 * CLASSES * sizeof *count);
    free(count);
    assert_int_equal(dn_image_presence(&source, 0, 3), DN_PRESENT);
    assert_int_equal(dn_image_presence(&source, 3, 1), DN_ABSENT);
    assert_int_equal(dn_image_presence(&source, 1, 2), DN_UNKNOWN);
    dn_source_describe(&source, before, sizeof before);
    source.label_sets = *other_sets;
    dn_source_describe(&source, after, sizeof after);
    assert_string_not_equal(before, after);
    m->info.label_sets = 2;
    assert_false(dn_manifest_is_same(m, again));
    free(again);
    free(m);
}

static rlim_t set_files(rlim_t files)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = files;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return before;
}

/* No file stays open, so any number of shards can be read. Running out of files is not reported as
 * damage. */
static void test_few_files(void **state)
{
    enum { FILES = 32 };
    dn_shards *shards;
    dn_records_options o = made_up_options();
    int made;
    o.shards = 2 * FILES;
    assert_int_equal(dn_records_make(&made_up, &o, &made), DN_OK);
    const rlim_t files = set_files(FILES);
    const int threads = omp_get_max_threads();
    omp_set_num_threads(2); /* each thread may have files open */
    made_up_check(DN_TRAIN);
    assert_int_equal(dn_records_verify("."), DN_OK);
    omp_set_num_threads(threads);
    set_files(3);
    const dn_status status = dn_shards_open(&shards, ".", DN_TRAIN);
    set_files(files);
    made_up_expect(status, DN_EIO, MANIFEST, "Too many open files");
}

int main(void)
{
    const struct CMUnitTest tests[] = {MADE_UP_TEST(test_round_trip),
                                       cmocka_unit_test(test_class_names),
                                       cmocka_unit_test(test_statistics),
                                       MADE_UP_TEST(test_label_sets), MADE_UP_TEST(test_few_files)};
    return cmocka_run_group_tests(tests, trial_folder_make, trial_folder_remove);
}
