/* inspect shows the same image as the loader; verify names what it finds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "dn/file.h"
#include "dn/image.h"
#include "dn/kernels.h"
#include "dn/loader.h"
#include "dn/rng.h"
#include "inspect/inspect.h"
#include "made_up.h"
#include "trial_files.h"

static dn_status read_shard_image(const dn_source *source, const dn_request *request,
                                  const dn_transform *transform, dn_transform_memory *memory,
                                  float *image)
{
    uint8_t pixels[IMAGE];
    (void)source;
    for (int i = 0; i < IMAGE; i++)
        pixels[i] = made_up_pixel(DN_TRAIN, request->index, i);
    return dn_transform_pixels(transform, request, pixels, HEIGHT, WIDTH, memory, image);
}

static void check_picture(const char *path, const dn_data_info *info, const float *expected)
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
    dn_shards *shards;
    dn_loader *loader;
    uint32_t order[TRAIN];
    float images[BATCH * IMAGE];
    int32_t labels[BATCH];
    dn_records_options o = {.png = "image.png", .augment = "pad-crop:2,hflip", .epoch = EPOCH};
    o.seed = SEED;
    assert_int_equal(dn_shards_open(&shards, ".", DN_TRAIN), DN_OK);
    const dn_source source = dn_shards_source(shards, read_shard_image);
    dn_transform transform;
    const dn_loader_settings settings = {.source = &source,
                                         .sequence = {0, 1, 1, BATCH, STEPS},
                                         .begin = EPOCH * STEPS,
                                         .end = EPOCH * STEPS + 1,
                                         .shuffle = 1,
                                         .transforms = &transform,
                                         .crops = 1,
                                         .seed = SEED,
                                         .depth = 1,
                                         .threads = 1};
    assert_int_equal(dn_transform_parse(&transform, dn_pixel_kernels_of(dn_kernels_get(0)),
                                        &source.info, o.augment, SEED),
                     DN_OK);
    assert_int_equal(dn_loader_create(&loader, &settings), DN_OK);
    assert_int_equal(dn_loader_load(loader, settings.begin, images, labels), DN_OK);
    dn_random_permutation(order, TRAIN, SEED, EPOCH);
    for (int i = 0; i < BATCH; i++) {
        o.sample = order[i];
        assert_int_equal(dn_records_inspect(".", &o), DN_OK);
        check_picture("image.png", &source.info, images + i * IMAGE);
    }
    dn_loader_destroy(&loader);
    dn_shards_close(&shards);
}

/* Replaces the TFRecords of a train shard by `from` to `to`, in bytes of the file twice over, with
 * its size and checksum in dataset.json. */
static void replace_records(int shard, size_t from, size_t to)
{
    dn_manifest *m;
    uint8_t *bytes;
    size_t size;
    assert_int_equal(dn_manifest_load(&m, "."), DN_OK);
    dn_manifest_file *const file = &m->split[DN_TRAIN].shard[shard].tfrecord;
    assert_int_equal(dn_file_load(file->name, &bytes, &size), DN_OK);
    uint8_t *const twice = malloc(2 * size);
    memcpy(twice, bytes, size);
    memcpy(twice + size, bytes, size);
    file->bytes = (int64_t)(to - from);
    file->hash = XXH3_64bits(twice + from, to - from);
    assert_int_equal(dn_file_write(file->name, twice + from, to - from), DN_OK);
    assert_int_equal(dn_manifest_save(m, "."), DN_OK);
    free(twice);
    free(bytes);
    free(m);
}

/* The sizes of the first record and of all TFRecords of a train shard. */
static size_t record_bytes(int shard, size_t *all)
{
    char path[64];
    uint8_t *bytes;
    snprintf(path, sizeof path, "made_up-train.tfrecord-%05d-of-%05d", shard, SHARDS);
    assert_int_equal(dn_file_load(path, &bytes, all), DN_OK);
    const size_t size = 16 + bytes[0] + 256U * bytes[1]; /* length, data, and their checksums */
    free(bytes);
    return size;
}

/* Records that are sound, but too many or too few. */
static void test_number_of_records(void **state)
{
    size_t all;
    const size_t first = record_bytes(1, &all);
    replace_records(1, 0, all + first);
    made_up_expect(dn_records_verify("."), DN_ECORRUPT, "made_up-train.tfrecord-00001",
                   "found more than the expected 68 records");
    assert_int_equal(made_up_build(state), 0);
    replace_records(1, first, all);
    made_up_expect(dn_records_verify("."), DN_ECORRUPT, "made_up-train.tfrecord-00001",
                   "record 0: ");
    assert_non_null(strstr(dn_message(), "the first of 68 faults"));
}

/* Of many faults the first is named: that of the first image in the first file. */
static void test_first_fault(void **state)
{
    for (int shard = SHARDS - 1; shard >= 0; shard--) {
        size_t all;
        const size_t first = record_bytes(shard, &all);
        replace_records(shard, first, all + first); /* the first record becomes the last */
    }
    made_up_expect(dn_records_verify("."), DN_ECORRUPT, "made_up-train.tfrecord-00000",
                   "record 0: ");
    assert_non_null(strstr(dn_message(), "the first of 203 faults"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {MADE_UP_TEST(test_inspect),
                                       MADE_UP_TEST(test_number_of_records),
                                       MADE_UP_TEST(test_first_fault)};
    return cmocka_run_group_tests(tests, trial_folder_make, trial_folder_remove);
}
