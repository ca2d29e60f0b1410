/* inspect shows the same image as the loader. */
#include <math.h>
#include <stdlib.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {MADE_UP_TEST(test_inspect)};
    return cmocka_run_group_tests(tests, trial_folder_make, trial_folder_remove);
}
