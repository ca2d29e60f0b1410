/*
 * Transforms of stored images: normalisation, crops and flips, and what they are drawn from.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dn/rng.h"
#include "dn/transform.h"

/* fp32: a division, a subtraction and a division round a value of at most 2. */
#define PIXEL_TOLERANCE 1e-6

enum { COUNT = 150, CHANNELS = 3, HEIGHT = 7, WIDTH = 10, PLANE = HEIGHT * WIDTH, PAD = 4 };
enum { FLOATS = CHANNELS * PLANE, CROPS = 2 * PAD + 1 };

typedef struct fixture {
    dn_shard_info info;
    uint8_t pixels[COUNT * FLOATS];
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    for (size_t i = 0; i < sizeof f->pixels; i++)
        f->pixels[i] = (uint8_t)dn_random(3, DN_STREAM_SYNTHETIC, 0, i).word[0];
    f->info = (dn_shard_info){.dataset = "TEST",
                              .channels = CHANNELS,
                              .height = HEIGHT,
                              .width = WIDTH,
                              .classes = 2000,
                              .mean = {0.4, 0.5, 0.6},
                              .std = {0.2, 0.25, 0.3}};
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
    const dn_shard_info *info = &f->info;
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

/* x(COUNT, FLOATS) = the images in stored order. */
static void transform_all(const fixture *f, const char *list, uint64_t seed, int64_t epoch,
                          float *x)
{
    dn_transform transform;
    assert_int_equal(dn_transform_parse(&transform, &f->info, list, seed), DN_OK);
    assert_true(transform.height == HEIGHT && transform.width == WIDTH);
    for (int64_t i = 0; i < COUNT; i++)
        assert_int_equal(
            dn_transform_pixels(&transform,
                                &(dn_request){.index = i, .epoch = epoch, .position = COUNT - i},
                                f->pixels + i * FLOATS, HEIGHT, WIDTH, NULL, x + i * FLOATS),
            DN_OK);
}

static void test_normalised(void **state)
{
    const fixture *f = *state;
    float *x = malloc(COUNT * FLOATS * sizeof *x);
    assert_non_null(x);
    transform_all(f, "none", 4, 6, x);
    for (size_t i = 0; i < COUNT; i++)
        assert_true(is_view(f, x + i * FLOATS, i, 0, 0, 0));
    free(x);
}

/* Each augmented image is one of the 9 x 9 crops of the padded layout one, mirrored or not; all
 * nine shifts either way and both flips occur among COUNT images of a few epochs. */
static void test_augmentation(void **state)
{
    const fixture *f = *state;
    int tops[CROPS] = {0}, lefts[CROPS] = {0}, flips[2] = {0};
    float *x = malloc(COUNT * FLOATS * sizeof *x);
    assert_non_null(x);
    transform_all(f, "pad-crop:4,hflip", 4, 6, x);
    for (size_t i = 0; i < COUNT; i++) {
        int found = 0;
        for (int view = 0; view < 2 * CROPS * CROPS && !found; view++) {
            const int top = view / (2 * CROPS), left = view / 2 % CROPS, flip = view % 2;
            found = is_view(f, x + i * FLOATS, i, top - PAD, left - PAD, flip);
            tops[top] += found;
            lefts[left] += found;
            flips[flip] += found;
        }
        assert_true(found);
    }
    for (int i = 0; i < CROPS; i++) /* COUNT / 9 = 17 on average */
        assert_true(tops[i] >= 5 && lefts[i] >= 5);
    assert_true(flips[0] >= 50 && flips[1] >= 50);
    free(x);
}

/* A row narrower than the shift has no column left to show. */
static void test_narrow(void **state)
{
    const fixture *f = *state;
    dn_shard_info info = f->info;
    info.channels = info.height = 1;
    info.width = PAD - 1;
    dn_transform transform;
    int seen = 0;
    assert_int_equal(dn_transform_parse(&transform, &info, "pad-crop:4,hflip", 4), DN_OK);
    for (int64_t i = 0; i < COUNT; i++) {
        float x[PAD + 1] = {[PAD - 1] = 7, [PAD] = 7};
        assert_int_equal(dn_transform_pixels(&transform, &(dn_request){.position = i}, f->pixels, 1,
                                             PAD - 1, NULL, x),
                         DN_OK);
        assert_true(x[PAD - 1] == 7 && x[PAD] == 7);
        seen += x[0] != 0 || x[1] != 0 || x[2] != 0;
    }
    assert_true(seen > 0 && seen < COUNT / 2); /* one row and five shifts of nine show something */
}

/* Another seed or epoch augments the same images otherwise. */
static void test_draws(void **state)
{
    const fixture *f = *state;
    static const struct {
        uint64_t seed;
        int64_t epoch;
    } others[] = {{5, 6}, {4, 7}};
    const size_t bytes = COUNT * FLOATS * sizeof(float);
    float *first = malloc(bytes), *other = malloc(bytes);
    assert_true(first && other);
    transform_all(f, "pad-crop:4,hflip", 4, 6, first);
    transform_all(f, "pad-crop:4,hflip", 4, 6, other);
    assert_memory_equal(first, other, bytes);
    for (size_t o = 0; o < sizeof others / sizeof others[0]; o++) {
        int same = 0;
        transform_all(f, "pad-crop:4,hflip", others[o].seed, others[o].epoch, other);
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
        cmocka_unit_test(test_normalised),
        cmocka_unit_test(test_augmentation),
        cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_draws),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
