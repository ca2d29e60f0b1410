/*
 * Transforms of stored images: normalisation, crops and flips, and what they are drawn from.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dn/kernels.h"
#include "dn/rng.h"
#include "transforms/step.h"
#include "unit.h"

/* fp32: a division, a subtraction and a division round a value of at most 2. */
#define PIXEL_TOLERANCE 1e-6

enum { COUNT = 150, CHANNELS = 3, HEIGHT = 7, WIDTH = 10, PLANE = HEIGHT * WIDTH, PAD = 4 };
enum { FLOATS = CHANNELS * PLANE, CROPS = 2 * PAD + 1 };

typedef struct fixture {
    dn_data_info info;
    uint8_t pixels[COUNT * FLOATS];
} fixture;

static const dn_pixel_kernels *pixel_kernels; /* the environment's */

static int set_up(void **state)
{
    const dn_kernels *kernels;
    fixture *f = calloc(1, sizeof *f);
    if (!f || dn_kernels_select(&kernels, "") != DN_OK)
        return -1;
    pixel_kernels = dn_pixel_kernels_of(kernels);
    for (size_t i = 0; i < sizeof f->pixels; i++)
        f->pixels[i] = (uint8_t)dn_random(3, DN_STREAM_SYNTHETIC, 0, i).word[0];
    f->info = (dn_data_info){.dataset = "TEST",
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

/* Parses the list, for images as `info` says. */
static void parse(dn_transform *t, const dn_data_info *info, const char *list, uint64_t seed)
{
    if (dn_transform_parse(t, pixel_kernels, info, list, seed) != DN_OK)
        fail_msg("%s: %s", list, dn_message());
}

/* A PNG file of pixels(height, width, channels); the caller frees its bytes. */
static dn_encoded make_png(const char *name, const uint8_t *pixels, int height, int width,
                           int channels)
{
    dn_encoded file = {.name = name};
    uint8_t *bytes;
    assert_int_equal(dn_png_encode(pixels, height, width, channels, &bytes, &file.size), DN_OK);
    file.bytes = bytes;
    return file;
}

/* Pixel (r, c) of the stored image, normalised; 0 outside. */
static double stored(const fixture *f, size_t image, int channel, int r, int c)
{
    if (r < 0 || r >= HEIGHT || c < 0 || c >= WIDTH)
        return 0;
    const dn_data_info *info = &f->info;
    const uint8_t value = f->pixels[image * FLOATS + (size_t)(channel * PLANE + r * WIDTH + c)];
    return (value / 255.0 - info->mean[channel]) / info->std[channel];
}

/* Whether `x` is the stored image seen from (top, left) and then, with `flip`, mirrored. */
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

/* x(COUNT, FLOATS) = the transformed images in stored order. */
static void transform_all(const fixture *f, const char *list, uint64_t seed, int64_t epoch,
                          float *x)
{
    dn_transform transform;
    parse(&transform, &f->info, list, seed);
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

/* Each augmented image is one of the 9 x 9 crops of the padded one, mirrored or not; all nine
 * shifts in either direction and both flips occur among COUNT images. */
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

/* If the shift is at least the width, no column of the image remains. */
static void test_narrow(void **state)
{
    const fixture *f = *state;
    dn_data_info info = f->info;
    info.channels = info.height = 1;
    info.width = PAD - 1;
    dn_transform transform;
    int seen = 0;
    parse(&transform, &info, "pad-crop:4,hflip", 4);
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

/* With another seed or epoch the same images are augmented differently. */
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

enum { H = 100, W = 104, RESIZED = 37 };

/* The weight of input x for an output whose triangle has its center there and half-width w. */
static double triangle(double center, double w, int x)
{
    return fmax(1 - fabs((x + 0.5 - center) / w), 0);
}

/* Input row `row`, resized across from columns [first, last) and rounded. */
static double resized_across(const uint8_t *row, const dn_box *box, const int columns[2], int c)
{
    const double across = box->width / RESIZED, x = box->left + (c + 0.5) * across;
    double sum = 0, weights = 0;
    for (int j = columns[0]; j < columns[1]; j++) {
        const double w = triangle(x, fmax(across, 1), j);
        sum += w * row[CHANNELS * j];
        weights += w;
    }
    return floor(sum / weights + 0.5);
}

/* Output (r, c) of a channel: across, then down. */
static double resized(const uint8_t *channel, const dn_box *box, int r, int c)
{
    const int rows[2] = {(int)box->top, (int)ceil(box->top + box->height)};
    const int columns[2] = {(int)box->left, (int)ceil(box->left + box->width)};
    const double down = box->height / RESIZED, y = box->top + (r + 0.5) * down;
    double sum = 0, weights = 0;
    for (int i = rows[0]; i < rows[1]; i++) {
        const double w = triangle(y, fmax(down, 1), i);
        if (w > 0)
            sum += w * resized_across(channel + (ptrdiff_t)i * CHANNELS * W, box, columns, c);
        weights += w;
    }
    return sum / weights;
}

/* Resizing down before across would change every fourth of these pixels. */
static void test_resize(void **state)
{
    const fixture *f = *state;
    static const dn_box boxes[] = {
        {0, 0, W, H},  {3, 5, 50, 41},   {7.25, 2.5, 70.5, 65},        {10, 10, 15, 16},
        {0, 0, 20, H}, {0, 40.5, W, 20}, {1.5, 1.5, RESIZED, RESIZED}, {30, 20, 40, 7}};
    const dn_raster from = {f->pixels, H, W, CHANNELS};
    dn_buffer resizing = {0};
    uint8_t to[CHANNELS * RESIZED * RESIZED];
    for (size_t b = 0; b < sizeof boxes / sizeof *boxes; b++) {
        const dn_box *const box = &boxes[b];
        int others = 0;
        assert_int_equal(dn_resize(pixel_kernels, &resizing, &from, box, box, RESIZED, RESIZED, to),
                         DN_OK);
        for (int i = 0; i < CHANNELS * RESIZED * RESIZED; i++) {
            const int k = i / (RESIZED * RESIZED), r = i / RESIZED % RESIZED, c = i % RESIZED;
            const double expected = resized(f->pixels + k, box, r, c);
            others += to[i] != (int)(expected + 0.5);
            if (!(fabs(to[i] - expected) <= 1.51)) /* two values on the edge of rounding */
                fail_msg("box %zu, channel %d, (%d, %d): found %d, expected %g", b, k, r, c, to[i],
                         expected);
        }
        if (others > CHANNELS * RESIZED * RESIZED / 20)
            fail_msg("box %zu: found %d other values", b, others);
    }
    dn_buffer_free(&resizing);
}

/* A second resize applies to the pixels of the first, wherever the crop between them is. */
static void test_two_resizes(void **state)
{
    enum { FIRST = 42, CROP = 40, SIDE = 29, FILE_SIDE = 18 };
    const fixture *f = *state;
    const dn_raster from = {f->pixels, FILE_SIDE, FILE_SIDE, 3};
    const dn_box whole = {0, 0, FILE_SIDE, FILE_SIDE}, middle = {1, 1, CROP, CROP};
    const dn_data_info info = {.channels = 3, .std = {1, 1, 1}};
    const dn_encoded file = make_png("small.png", f->pixels, FILE_SIDE, FILE_SIDE, 3);
    dn_transform t;
    dn_transform_memory memory = {0};
    dn_buffer resizing = {0};
    uint8_t first[3 * FIRST * FIRST], second[3 * SIDE * SIDE];
    float x[3 * SIDE * SIDE];
    assert_int_equal(
        dn_resize(pixel_kernels, &resizing, &from, &whole, &whole, FIRST, FIRST, first), DN_OK);
    for (size_t k = 0; k < 3; k++) {
        const dn_raster plane = {first + k * FIRST * FIRST, FIRST, FIRST, 1};
        assert_int_equal(dn_resize(pixel_kernels, &resizing, &plane, &middle, &middle, SIDE, SIDE,
                                   second + k * SIDE * SIDE),
                         DN_OK);
    }
    parse(&t, &info, "resize:42,center-crop:40,resize:29", 1);
    assert_int_equal(dn_transform_encoded(&t, &(dn_request){0}, &file, &memory, x), DN_OK);
    for (size_t i = 0; i < 3 * SIDE * SIDE; i++)
        assert_true(x[i] == t.value[i / (SIDE * SIDE)][second[i]]);
    dn_buffer_free(&resizing);
    dn_transform_memory_free(&memory);
    free((void *)file.bytes);
}

/* A resize whose input has fractional edges does not read outside the file's pixels. */
static void test_edges(void **state)
{
    enum { SIDE = 64, FILE_HEIGHT = 48, FILE_WIDTH = 64, DRAWS = 2000 };
    static const char *const lists[] = {"resize:300,center-crop:300,resize:64",
                                        "resize:23,random-resized-crop:64",
                                        "random-resized-crop:31,random-resized-crop:64"};
    const fixture *f = *state;
    const dn_data_info info = {.channels = 3, .std = {1, 1, 1}};
    const dn_encoded file = make_png("small.png", f->pixels, FILE_HEIGHT, FILE_WIDTH, 3);
    dn_transform t;
    dn_transform_memory memory = {0};
    static float x[3 * SIDE * SIDE];
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        parse(&t, &info, lists[i], 1);
        for (int64_t p = 0; p < DRAWS; p++)
            if (dn_transform_encoded(&t, &(dn_request){.position = p}, &file, &memory, x) != DN_OK)
                fail_msg("%s: found '%s'", lists[i], dn_message());
    }
    dn_transform_memory_free(&memory);
    free((void *)file.bytes);
}

/* dn_transform_byte inverts the normalisation for every mean and std. */
static void test_byte(void **state)
{
    static const char *const texts[] = {"none", "0.485/0.229", "1000/1e-6", "-1000/1000",
                                        "0.1/1000"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        dn_data_info info = {.channels = 1, .height = 1, .width = 1};
        dn_transform t;
        assert_int_equal(dn_normalize_parse(&info, texts[i]), DN_OK);
        parse(&t, &info, "none", 1);
        for (int byte = 0; byte < 256; byte++)
            if (dn_transform_byte(&t, 0, t.value[0][byte]) != byte)
                fail_msg("%s: found %d, expected %d", texts[i],
                         dn_transform_byte(&t, 0, t.value[0][byte]), byte);
        assert_int_equal(dn_transform_byte(&t, 0, 2 * t.value[0][255] - t.value[0][0]), 255);
    }
}

/* An image so long that, after resizing, its longer side exceeds an int. */
static void test_long_image(void **state)
{
    enum { LENGTH = 1 << 20, SIDE = 8, GREY = 50 };
    const dn_data_info info = {.channels = 1, .std = {1}};
    dn_transform t;
    dn_transform_memory memory = {0};
    uint8_t *const pixels = malloc(LENGTH);
    assert_non_null(pixels);
    memset(pixels, GREY, LENGTH);
    parse(&t, &info, "resize:4096,center-crop:8", 1);
    for (int upright = 0; upright < 2; upright++) {
        float x[SIDE * SIDE];
        assert_int_equal(dn_transform_pixels(&t, &(dn_request){.index = 0}, pixels,
                                             upright ? LENGTH : 1, upright ? 1 : LENGTH, &memory,
                                             x),
                         DN_OK);
        for (int i = 0; i < SIDE * SIDE; i++)
            assert_true(x[i] == t.value[0][GREY]);
    }
    free(pixels);
    dn_transform_memory_free(&memory);
}

/* A crop after two resizes limits the memory of the second. */
static void test_long_pixels(void **state)
{
    enum { LENGTH = 1 << 16, SIDE = 64, MOST_BYTES = 1 << 23 };
    const dn_data_info info = {.channels = 1, .std = {1}};
    dn_transform t;
    dn_transform_memory memory = {0};
    static float x[SIDE * SIDE];
    uint8_t *const pixels = calloc(LENGTH, 1);
    assert_non_null(pixels);
    parse(&t, &info, "resize:2,resize:64,center-crop:64", 1);
    assert_int_equal(dn_transform_pixels(&t, &(dn_request){0}, pixels, 1, LENGTH, &memory, x),
                     DN_OK);
    assert_true(memory.resizing.size < MOST_BYTES);
    free(pixels);
    dn_transform_memory_free(&memory);
}

/* A small file that a step would expand to gigabytes is refused by name, also if it was sampled
 * before; a crop right after the resize is accepted. */
static void test_long_file(void **state)
{
    enum { LENGTH = 60000, SIDE = 224 };
    static const char *const refused[] = {
        "resize:256,color-jitter:brightness=0.4,center-crop:224",
        "grayscale:1,resize:256,grayscale:1,center-crop:224",
        "resize:256,resize:224,center-crop:224",
    };
    const dn_data_info info = {.channels = 3, .std = {1, 1, 1}};
    static uint8_t pixels[LENGTH];
    const dn_encoded file = make_png("long.png", pixels, 1, LENGTH, 1);
    dn_transform t;
    dn_transform_memory memory = {0};
    float *const x = malloc(3 * SIDE * SIDE * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        parse(&t, &info, refused[i], 1);
        assert_int_equal(dn_transform_encoded(&t, &(dn_request){0}, &file, &memory, x), DN_EINVAL);
        assert_string_equal(dn_message(),
                            "long.png: found 15360000 x 256 pixels once it is resized, expected at "
                            "most 268435456; crop right after the resize");
    }
    parse(&t, &info, "resize:256,center-crop:224,color-jitter:0.4", 1);
    assert_int_equal(dn_transform_encoded(&t, &(dn_request){0}, &file, &memory, x), DN_OK);
    dn_transform_memory_free(&memory);
    free((void *)file.bytes);
    free(x);
}

static int sums; /* calls of count_sum */

static void count_sum(const uint8_t *from, size_t stride, const int32_t *weight, int taps,
                      uint8_t *to, size_t count)
{
    sums++;
    pixel_kernels->sum_rows(from, stride, weight, taps, to, count);
}

/* A transform uses the kernels that it was given, not those that the environment selects. */
static void test_kernels(void **state)
{
    enum { SIDE = 5 };
    const fixture *f = *state;
    dn_pixel_kernels counted = *pixel_kernels;
    dn_transform t;
    dn_transform_memory memory = {0};
    float x[CHANNELS * SIDE * SIDE];
    counted.sum_rows = count_sum;
    assert_int_equal(dn_transform_parse(&t, &counted, &f->info, "resize:5,center-crop:5", 1),
                     DN_OK);
    assert_int_equal(
        dn_transform_pixels(&t, &(dn_request){0}, f->pixels, HEIGHT, WIDTH, &memory, x), DN_OK);
    assert_int_equal(sums, CHANNELS * (SIDE + SIDE)); /* columns, then rows */
    dn_transform_memory_free(&memory);
}

/* Crops of random size stay within the image, and differ between epochs. */
static void test_random_resized_crop(void **state)
{
    const fixture *f = *state;
    enum { SIDE = 5 };
    dn_transform t;
    dn_transform_memory memory = {0};
    float first[3 * SIDE * SIDE], other[3 * SIDE * SIDE];
    int same = 0;
    parse(&t, &f->info, "random-resized-crop:5,hflip", 4);
    for (int i = 0; i < COUNT; i++) {
        const dn_request request = {.index = i, .epoch = 1, .position = i};
        const dn_request later = {.index = i, .epoch = 2, .position = i};
        const uint8_t *const pixels = f->pixels + (ptrdiff_t)i * FLOATS;
        dn_transform_pixels(&t, &request, pixels, HEIGHT, WIDTH, &memory, first);
        dn_transform_pixels(&t, &request, pixels, HEIGHT, WIDTH, &memory, other);
        assert_memory_equal(first, other, sizeof first);
        dn_transform_pixels(&t, &later, pixels, HEIGHT, WIDTH, &memory, other);
        same += memcmp(first, other, sizeof first) == 0;
        for (int k = 0; k < 3 * SIDE * SIDE; k++) {
            const int c = k / (SIDE * SIDE);
            assert_true(first[k] >= t.value[c][0] && first[k] <= t.value[c][255]);
        }
    }
    assert_true(same < COUNT / 10);
    dn_transform_memory_free(&memory);
}

/* drawn = what a list of one step draws for image `i` of 60 x 100 pixels. */
static void draw(const fixture *f, const char *list, int64_t i, double drawn[DN_DRAWN])
{
    dn_transform t;
    parse(&t, &f->info, list, 4);
    dn_draws draws = dn_draws_of(&t, &(dn_request){.position = i});
    draws.height = 60;
    draws.width = 100;
    memset(drawn, 0, DN_DRAWN * sizeof *drawn);
    t.step[0].row->draw(&t.step[0], &draws, drawn);
}

/* The draws are distributed as torchvision's: a ratio is as frequent as its inverse, shifts are
 * relative to their side, and colours are adjusted in each of 24 orders. */
static void test_distributions(void **state)
{
    enum { DRAWS = 4000 };
    const fixture *f = *state;
    double d[DN_DRAWN], wide = 0, most_x = 0, most_y = 0;
    int orders[256] = {0}, pairs[14][14] = {0}, found = 0, found_pairs = 0;
    for (int64_t i = 0; i < DRAWS; i++) {
        draw(f, "random-resized-crop:8:scale=0.1-0.2:ratio=1/4-4", i, d);
        wide += log(d[3] / d[2]) / DRAWS;
        draw(f, "random-erasing:p=1:scale=0.1-0.2:ratio=1-2", i, d);
        assert_true(d[4] == 1 && d[2] >= 0.9 * d[3] && d[2] <= 2.2 * d[3]); /* height / width */
        draw(f, "affine:0:translate=0.3", i, d);
        most_x = fmax(most_x, fabs(d[1]));
        most_y = fmax(most_y, fabs(d[2]));
        draw(f, "perspective:0.5:p=1", i, d); /* clockwise from the upper left */
        assert_true(d[0] < 50 && d[2] >= 50 && d[4] >= 50 && d[6] < 50);
        assert_true(d[1] < 30 && d[3] < 30 && d[5] >= 30 && d[7] >= 30);
        draw(f, "color-jitter:0.4:0.4:0.4:0.1", i, d);
        found += !orders[(int)(64 * d[4] + 16 * d[5] + 4 * d[6] + d[7])]++;
        draw(f, "rand-augment", i, d); /* 2 numbers an operation, also for one drawn twice */
        found_pairs += !pairs[(int)d[0]][(int)d[2]]++;
        assert_true(d[0] != d[2] || fabs(d[1]) == fabs(d[3]));
        draw(f, "random-resized-crop:8:scale=1-1:ratio=2-4", i, d); /* none fits */
        assert_true(d[2] == 50 && d[3] == 100 && d[0] == 5 && d[1] == 0);
    }
    assert_true(fabs(wide) < 0.06); /* 5 standard errors */
    assert_true(most_x == 30 && most_y == 18);
    assert_int_equal(found, 24);
    assert_int_equal(found_pairs, 14 * 14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normalised), cmocka_unit_test(test_augmentation),
        cmocka_unit_test(test_narrow),     cmocka_unit_test(test_draws),
        cmocka_unit_test(test_resize),     cmocka_unit_test(test_random_resized_crop),
        cmocka_unit_test(test_long_image), cmocka_unit_test(test_long_file),
        cmocka_unit_test(test_kernels),    cmocka_unit_test(test_two_resizes),
        cmocka_unit_test(test_edges),      cmocka_unit_test(test_long_pixels),
        cmocka_unit_test(test_byte),       cmocka_unit_test(test_distributions),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
