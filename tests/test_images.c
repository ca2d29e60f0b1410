/*
 * Batches from stored images: order, labels, normalisation, crops and flips, and that none of it
 * depends on how an epoch's positions are cut into calls.
 */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dn/images.h"
#include "dn/rng.h"

/* fp32: a division, a subtraction and a division round a value of at most 2. */
#define PIXEL_TOLERANCE 1e-6

enum { COUNT = 150, CHANNELS = 3, HEIGHT = 7, WIDTH = 10, PLANE = HEIGHT * WIDTH, PAD = 4 };
enum { FLOATS = CHANNELS * PLANE, CROPS = 2 * PAD + 1 };

typedef struct fixture {
    uint8_t pixels[COUNT * FLOATS];
    uint16_t labels[COUNT];
    uint32_t order[COUNT];
    dn_images images;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    for (size_t i = 0; i < sizeof f->pixels; i++)
        f->pixels[i] = (uint8_t)dn_random(3, DN_STREAM_SYNTHETIC, 0, i).word[0];
    for (size_t i = 0; i < COUNT; i++)
        f->labels[i] = (uint16_t)(1000 + i);
    dn_random_permutation(f->order, COUNT, 9, 0);
    f->images = (dn_images){.info = {.dataset = "TEST",
                                     .channels = CHANNELS,
                                     .height = HEIGHT,
                                     .width = WIDTH,
                                     .classes = 2000,
                                     .mean = {0.4, 0.5, 0.6},
                                     .std = {0.2, 0.25, 0.3}},
                            .count = COUNT,
                            .pixels = f->pixels,
                            .labels = f->labels};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

/* Pixel (r, c) of the stored image, normalised; 0 outside. */
static double stored(const fixture *f, size_t image, int channel, int r, int c)
{
    if (r < 0 || r >= HEIGHT || c < 0 || c >= WIDTH)
        return 0;
    const dn_shard_info *info = &f->images.info;
    const uint8_t value = f->pixels[image * FLOATS + (size_t)(channel * PLANE + r * WIDTH + c)];
    return (value / 255.0 - info->mean[channel]) / info->std[channel];
}

/* Whether `x` is the stored image seen from (top, left), mirrored after the cut where flip. */
static int is_view(const fixture *f, const float *x, size_t image, int top, int left, int flip)
{
    for (int k = 0; k < CHANNELS; k++)
        for (int r = 0; r < HEIGHT; r++)
            for (int c = 0; c < WIDTH; c++) {
                const int from = flip ? WIDTH - 1 - c : c;
                const double expected = stored(f, image, k, r + top, from + left);
                if (!(fabs((double)*x++ - expected) <= PIXEL_TOLERANCE))
                    return 0;
            }
    return 1;
}

static void test_order(void **state)
{
    const fixture *f = *state;
    const uint32_t *orders[] = {NULL, f->order};
    float x[20 * FLOATS];
    int32_t labels[20];
    for (int o = 0; o < 2; o++) {
        const dn_batch batch = {.order = orders[o], .position = 31, .count = 20};
        dn_images_batch(&f->images, &batch, x, labels);
        for (size_t i = 0; i < 20; i++) {
            const size_t image = orders[o] ? orders[o][31 + i] : 31 + i;
            assert_int_equal(labels[i], f->labels[image]);
            assert_true(is_view(f, x + i * FLOATS, image, 0, 0, 0));
        }
    }
}

/* Each augmented image is one of the 9 x 9 crops of the padded layout one, mirrored or not; all
 * nine shifts either way and both flips occur among COUNT images of a few epochs. */
static void test_augmentation(void **state)
{
    const fixture *f = *state;
    int tops[CROPS] = {0}, lefts[CROPS] = {0}, flips[2] = {0};
    float *x = malloc(COUNT * FLOATS * sizeof *x);
    int32_t labels[COUNT];
    assert_non_null(x);
    const dn_batch batch = {.order = f->order, .count = COUNT, .augment = 1, .seed = 4, .epoch = 6};
    dn_images_batch(&f->images, &batch, x, labels);
    for (size_t i = 0; i < COUNT; i++) {
        int found = 0;
        for (int view = 0; view < 2 * CROPS * CROPS && !found; view++) {
            const int top = view / (2 * CROPS), left = view / 2 % CROPS, flip = view % 2;
            found = is_view(f, x + i * FLOATS, f->order[i], top - PAD, left - PAD, flip);
            tops[top] += found;
            lefts[left] += found;
            flips[flip] += found;
        }
        assert_true(found);
        assert_int_equal(labels[i], f->labels[f->order[i]]);
    }
    for (int i = 0; i < CROPS; i++) /* COUNT / 9 = 17 on average */
        assert_true(tops[i] >= 5 && lefts[i] >= 5);
    assert_true(flips[0] >= 50 && flips[1] >= 50);
    free(x);
}

/* Fills images and labels by calls of `step` images each. */
static void fill(const fixture *f, dn_batch batch, int step, float *x, int32_t *labels)
{
    for (int i = 0; i < COUNT; i += step) {
        batch.position = i;
        batch.count = COUNT - i < step ? COUNT - i : step;
        dn_images_batch(&f->images, &batch, x + (size_t)i * FLOATS, labels + i);
    }
}

static void test_cut(void **state)
{
    const fixture *f = *state;
    static const int cuts[] = {1, 7, 64};
    const size_t bytes = COUNT * FLOATS * sizeof(float);
    float *whole = malloc(bytes), *parts = malloc(bytes);
    int32_t whole_labels[COUNT], labels[COUNT];
    assert_true(whole && parts);
    const dn_batch batch = {.order = f->order, .augment = 1, .seed = 4, .epoch = 6};
    omp_set_num_threads(1);
    fill(f, batch, COUNT, whole, whole_labels);
    for (int threads = 1; threads <= 3; threads++)
        for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
            omp_set_num_threads(threads);
            memset(parts, 0xff, bytes);
            fill(f, batch, cuts[c], parts, labels);
            assert_memory_equal(whole, parts, bytes);
            assert_memory_equal(whole_labels, labels, sizeof labels);
        }
    free(whole);
    free(parts);
}

/* Another seed or epoch augments the same images otherwise. */
static void test_draws(void **state)
{
    const fixture *f = *state;
    static const dn_batch batches[] = {{.augment = 1, .seed = 4, .epoch = 6},
                                       {.augment = 1, .seed = 5, .epoch = 6},
                                       {.augment = 1, .seed = 4, .epoch = 7}};
    const size_t bytes = COUNT * FLOATS * sizeof(float);
    float *first = malloc(bytes), *other = malloc(bytes);
    int32_t labels[COUNT];
    assert_true(first && other);
    fill(f, batches[0], COUNT, first, labels);
    for (size_t b = 1; b < sizeof batches / sizeof batches[0]; b++) {
        int same = 0;
        fill(f, batches[b], COUNT, other, labels);
        for (size_t i = 0; i < COUNT; i++)
            same += memcmp(first + i * FLOATS, other + i * FLOATS, FLOATS * sizeof(float)) == 0;
        assert_true(same < 10); /* one in 162 on average */
    }
    free(first);
    free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_augmentation),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_draws),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
