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

/* ---- resizing, against the definition in double ---- */

/* The weight of input x for an output whose triangle of half-width w stands at `center`. */
static double triangle(double center, double w, int x)
{
    return fmax(1 - fabs((x + 0.5 - center) / w), 0);
}

/* Output (r, c) of a plane whose inputs [first, last) count. */
static double resized(const uint8_t *plane, int width, const dn_box *box, const int rows[2],
                      const int columns[2], int r, int c, int side)
{
    const double down = box->height / side, across = box->width / side;
    const double y = box->top + (r + 0.5) * down, x = box->left + (c + 0.5) * across;
    double sum = 0, weights = 0;
    for (int i = rows[0]; i < rows[1]; i++)
        for (int j = columns[0]; j < columns[1]; j++) {
            const double w = triangle(y, fmax(down, 1), i) * triangle(x, fmax(across, 1), j);
            sum += w * plane[i * width + j];
            weights += w;
        }
    return sum / weights;
}

static void test_resize(void **state)
{
    const fixture *f = *state;
    enum { H = 30, W = 40, SIDE = 12 };
    static const dn_box boxes[] = {
        {0, 0, W, H}, {3, 5, 20, 11}, {7.25, 2.5, 30.5, 25}, {10, 10, 5, 6}};
    dn_buffer resizing = {0};
    uint8_t to[SIDE * SIDE];
    for (size_t b = 0; b < sizeof boxes / sizeof *boxes; b++) {
        const dn_box *const box = &boxes[b];
        const int rows[2] = {(int)box->top, (int)ceil(box->top + box->height)};
        const int columns[2] = {(int)box->left, (int)ceil(box->left + box->width)};
        const dn_raster from = {f->pixels, H, W, 1};
        assert_int_equal(dn_resize(&resizing, &from, box, box, SIDE, SIDE, to), DN_OK);
        for (int r = 0; r < SIDE; r++)
            for (int c = 0; c < SIDE; c++) {
                const double expected = resized(f->pixels, W, box, rows, columns, r, c, SIDE);
                if (!(fabs(to[r * SIDE + c] - expected) <= 1.01)) /* rounded twice */
                    fail_msg("box %zu, (%d, %d): found %d, expected %g", b, r, c, to[r * SIDE + c],
                             expected);
            }
    }
    dn_buffer_free(&resizing);
}

/* ---- lists of steps ---- */

static void test_lists(void **state)
{
    (void)state;
    static const struct {
        const char *list, *reason;
        int height, width; /* stored, and where there is no reason expected: SIDE */
    } cases[] = {
        {"random-resized-crop:12,hflip", NULL, 0, 0},
        {"random-resized-crop:12:0.5:1", NULL, 30, 40},
        {"resize:14,center-crop:12,pad-crop:2,hflip", NULL, 0, 0},
        {"center-crop:12", NULL, 30, 40},
        {"", "several sizes", 0, 0},
        {"resize:14", "several sizes", 0, 0},
        {"center-crop:12", "expected at least 12", 0, 0},
        {"center-crop:31", "expected at least 31", 30, 40},
        {"pad-crop:2,center-crop:12", "behind pad-crop", 30, 40},
        {"mixup", "expected one of random-resized-crop,", 30, 40},
        {"hflip,", "comma", 30, 40},
        {",hflip", "found the step ''", 30, 40},
        {"resize", "expected 1 to 1 values", 30, 40},
        {"resize:", "expected a number from 1 to 4096", 30, 40},
        {"resize:0", "expected a number from 1 to 4096", 30, 40},
        {"resize:12.5", "expected a number from 1 to 4096", 30, 40},
        {"resize:nan", "expected a number from 1 to 4096", 30, 40},
        {"resize:12:12", "expected 1 to 1 values", 30, 40},
        {"hflip:0.5", "expected 0 to 0 values", 30, 40},
        {"hflip,hflip,hflip,hflip,hflip,hflip,hflip,hflip,hflip", "more than 8", 30, 40},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const dn_shard_info info = {
            .channels = 3, .height = cases[i].height, .width = cases[i].width, .std = {1, 1, 1}};
        dn_transform t;
        const dn_status status = dn_transform_parse(&t, &info, cases[i].list, 1);
        if (cases[i].reason && (status != DN_EINVAL || !strstr(dn_message(), cases[i].reason)))
            fail_msg("%s: found '%s', expected '%s'", cases[i].list,
                     status == DN_OK ? "" : dn_message(), cases[i].reason);
        if (!cases[i].reason && (status != DN_OK || t.height != 12 || t.width != 12))
            fail_msg("%s: found '%s'", cases[i].list, dn_message());
    }
}

/* Crops of random size stay within the image, and are those of another seed or epoch otherwise. */
static void test_random_resized_crop(void **state)
{
    const fixture *f = *state;
    enum { SIDE = 5 };
    dn_transform t;
    dn_workspace workspace = {0};
    float first[3 * SIDE * SIDE], other[3 * SIDE * SIDE];
    int same = 0;
    assert_int_equal(dn_transform_parse(&t, &f->info, "random-resized-crop:5,hflip", 4), DN_OK);
    for (int i = 0; i < COUNT; i++) {
        const dn_request request = {.index = i, .epoch = 1, .position = i};
        const dn_request later = {.index = i, .epoch = 2, .position = i};
        const uint8_t *const pixels = f->pixels + (ptrdiff_t)i * FLOATS;
        dn_transform_pixels(&t, &request, pixels, HEIGHT, WIDTH, &workspace, first);
        dn_transform_pixels(&t, &request, pixels, HEIGHT, WIDTH, &workspace, other);
        assert_memory_equal(first, other, sizeof first);
        dn_transform_pixels(&t, &later, pixels, HEIGHT, WIDTH, &workspace, other);
        same += memcmp(first, other, sizeof first) == 0;
        for (int k = 0; k < 3 * SIDE * SIDE; k++) {
            const int c = k / (SIDE * SIDE);
            assert_true(first[k] >= t.value[c][0] && first[k] <= t.value[c][255]);
        }
    }
    assert_true(same < COUNT / 10);
    dn_workspace_free(&workspace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normalised),
        cmocka_unit_test(test_augmentation),
        cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_draws),
        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_random_resized_crop),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
