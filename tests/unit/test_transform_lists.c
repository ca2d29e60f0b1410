/* Lists of transform steps, and --normalize: valid and invalid texts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dn/kernels.h"
#include "dn/rng.h"
#include "transforms/step.h"
#include "unit.h"

static const dn_pixel_kernels *pixel_kernels; /* the environment's */

static int set_up(void **state)
{
    const dn_kernels *kernels;
    if (dn_kernels_select(&kernels, "") != DN_OK)
        return -1;
    pixel_kernels = dn_pixel_kernels_of(kernels);
    return 0;
}

static const struct {
    const char *list, *reason;
    int height, width; /* stored, and where there is no reason expected: 12 x 12 */
} lists[] = {
    {"random-resized-crop:12,hflip", NULL, 0, 0},
    {"random-resized-crop:12:0.5:1", NULL, 30, 40},
    {"resize:14,center-crop:12,pad-crop:2,hflip", NULL, 0, 0},
    {"center-crop:12", NULL, 30, 40},
    {"random-resized-crop:12:0.5-1:ratio=0.5-2,vflip:p=0.25", NULL, 30, 40},
    {"random-resized-crop:scale=0.5:size=12,rotate:-10-10:bilinear", NULL, 30, 40},
    {"resize:12,rotate:30:fill=none,affine:0:0.1-0.2:0.5-2:-5-5--3-3,center-crop:12", NULL, 0, 0},
    {"pad-crop:2,center-crop:12,gaussian-blur:3:1,perspective:1:1", NULL, 30, 40},
    {"center-crop:12,color-jitter:0.4:0.3-2:0:-0.1-0.2,grayscale:1,trivial-augment", NULL, 30, 40},
    {"center-crop:12,rand-augment,rand-augment:3:30:bilinear:fill=9", NULL, 30, 40},
    {"rand-augment:7", "num_ops: found '7', expected a whole number from 1 to 6", 30, 40},
    {"rand-augment:2:31", "magnitude: found '31', expected a whole number from 0 to", 30, 40},
    {"center-crop:12,gaussian-blur:3:1e-1", NULL, 30, 40},
    {"center-crop:12,random-erasing,random-erasing:value=-1.5", NULL, 30, 40},
    {"", "each of a size of its own", 0, 0},
    {"resize:14", "each of a size of its own", 0, 0},
    {"resize:4096", "resize: found 4096 x 5461 pixels", 30, 40},
    {"center-crop:12", "each of a size of its own, expected resize:12 or more", 0, 0},
    {"center-crop:31", "expected at least 31", 30, 40},
    {"mixup", "expected one of random-resized-crop,", 30, 40},
    {"color-jiter:0.1", "did you mean 'color-jitter'?", 30, 40},
    {"hflip,", "comma", 30, 40},
    {",hflip", "found the step ''", 30, 40},
    {"resize", "resize: found no size, expected resize:size=N", 30, 40},
    {"resize:", "resize, size: found '', expected a whole number from 1 to 4096", 30, 40},
    {"resize:0", "expected a whole number from 1 to 4096", 30, 40},
    {"resize:12.5", "expected a whole number from 1 to 4096", 30, 40},
    {"resize:0x10", "size: found '0x10', expected a whole number", 30, 40},
    {"resize:1e2", "size: found '1e2', expected a whole number", 30, 40},
    {"rotate:0x1p3", "degrees: found '0x1p3', expected X for -X to X", 30, 40},
    {"random-resized-crop:12:ratio=3/0x4", "ratio: found '3/0x4'", 30, 40},
    {"resize:nan", "expected a whole number from 1 to 4096", 30, 40},
    {"resize:12:12", "expected 1 to 1 values", 30, 40},
    {"resize:12:size=12", "resize: found size twice", 30, 40},
    {"resize:sise=12", "did you mean 'size'?", 30, 40},
    {"hflip:1.5", "hflip, p: found '1.5', expected a number from 0 to 1", 30, 40},
    {"hflip:0.5:0.5", "expected 0 to 1 values", 30, 40},
    {"random-resized-crop:12:0.5:0.4", "scale: found '0.5-0.4', expected LEAST", 30, 40},
    {"random-resized-crop:12:0-1", "expected LEAST or LEAST-MOST from 1e-06 to 1", 30, 40},
    {"color-jitter:-1", "brightness: found '-1', expected X for 1 - X to 1 + X", 30, 40},
    {"color-jitter:hue=0.6", "hue: found '0.6', expected X for -X to X", 30, 40},
    {"color-jitter:hue=-0.1", "hue: found '-0.1'", 30, 40},
    {"rotate:30:cubic", "found 'cubic', expected nearest or bilinear", 30, 40},
    {"rotate:30:fill=256", "expected none, or a whole number from 0 to 255", 30, 40},
    {"affine:0:shear=1-2-3", "shear: found '1-2-3'", 30, 40},
    {"rotate:1-2-3-4", "degrees: found '1-2-3-4'", 30, 40},
    {"affine:0:scale=2-1", "scale: found '2-1'", 30, 40},
    {"gaussian-blur:4", "kernel_size: found '4', expected an odd number from 1 to 255", 30, 40},
    {"gaussian-blur:3:1e400", "sigma: found '1e400'", 30, 40},
    {"random-erasing,hflip", "found hflip after random-erasing", 30, 40},
    {"hflip:p=0123456789012345678901234567890123456789012345678901234567890123",
     "expected at most 63 characters", 30, 40},
    {"hflip,hflip,hflip,hflip,hflip,hflip,hflip,hflip,hflip,hflip,hflip,hflip,hflip,hflip,"
     "hflip,hflip,hflip",
     "more than 16", 30, 40},
};

static void test_lists(void **state)
{
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const dn_data_info info = {
            .channels = 3, .height = lists[i].height, .width = lists[i].width, .std = {1, 1, 1}};
        dn_transform t;
        const dn_status status = dn_transform_parse(&t, pixel_kernels, &info, lists[i].list, 1);
        if (lists[i].reason && (status != DN_EINVAL || !strstr(dn_message(), lists[i].reason)))
            fail_msg("%s: found '%s', expected '%s'", lists[i].list,
                     status == DN_OK ? "" : dn_message(), lists[i].reason);
        if (!lists[i].reason && (status != DN_OK || t.height != 12 || t.width != 12))
            fail_msg("%s: found '%s'", lists[i].list, dn_message());
    }
}

/* --help lists the parameters of each step with their defaults. */
static void test_usage(void **state)
{
    const dn_transform_row *row;
    for (int i = 0; (row = dn_transform_row_get(i)) != NULL; i++)
        for (const dn_parameter *p = row->parameters; p->name; p++) {
            char expected[64];
            snprintf(expected, sizeof expected, ":%s=%s", p->name, p->initial ? p->initial : "");
            if (!strstr(dn_transform_usage(i), expected))
                fail_msg("%s: found '%s', expected %s", row->name, dn_transform_usage(i), expected);
        }
}

/* Random lists of words that occur in lists: each is accepted, or refused in one line. An accepted
 * list transforms an image to finite numbers, the same each time. */
static void test_made_up_lists(void **state)
{
    enum { LISTS = 4000, MOST_WORDS = 10, LEAST_TAKEN = 100 };
    enum { CHANNELS = 3, HEIGHT = 7, WIDTH = 10 };
    static const dn_data_info info = {
        .channels = CHANNELS, .height = HEIGHT, .width = WIDTH, .std = {1, 1, 1}};
    static const char *const words[] = {
        ":",   ":",  ",",  ",", "=",    "-",     "0.5", "1",     "3",        "5",        "1-2",
        "1e9", "/2", "p=", ".", "none", "size=", "x",   "fill=", "degrees=", "bilinear", "scale="};
    enum { WORDS = sizeof words / sizeof *words };
    uint8_t pixels[CHANNELS * HEIGHT * WIDTH];
    dn_transform_memory memory = {0};
    int taken = 0, rows = 0;
    while (dn_transform_row_get(rows) != NULL)
        rows++;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)dn_random(3, DN_STREAM_SYNTHETIC, 0, i).word[0];
    for (uint64_t i = 0; i < LISTS; i++) {
        char list[512] = "";
        const int count = (int)dn_random(1, DN_STREAM_SYNTHETIC, i, 0).word[0] % MOST_WORDS;
        for (int w = 0; w < count; w++) {
            const dn_random4 drawn = dn_random(1, DN_STREAM_SYNTHETIC, i, 1 + (uint64_t)w);
            const int is_name = w == 0 || list[strlen(list) - 1] == ',';
            strcat(list, is_name ? dn_transform_row_get((int)(drawn.word[1] % (uint32_t)rows))->name
                                 : words[drawn.word[0] % WORDS]);
        }
        dn_transform t;
        if (dn_transform_parse(&t, pixel_kernels, &info, list, i) != DN_OK) {
            assert_true(dn_message()[0] != '\0' && !strchr(dn_message(), '\n'));
            continue;
        }
        if (t.height > 64 || t.width > 64)
            continue;
        const size_t floats = dn_transform_values(&t);
        float *const x = malloc(2 * floats * sizeof *x);
        assert_non_null(x);
        for (int again = 0; again < 2; again++)
            assert_int_equal(dn_transform_pixels(&t, &(dn_request){.position = (int64_t)i}, pixels,
                                                 HEIGHT, WIDTH, &memory,
                                                 x + (size_t)again * floats),
                             DN_OK);
        for (size_t k = 0; k < floats; k++)
            assert_true(isfinite(x[k]));
        assert_memory_equal(x, x + floats, floats * sizeof *x);
        free(x);
        taken++;
    }
    assert_true(taken > LEAST_TAKEN);
    dn_transform_memory_free(&memory);
}

static void test_normalize(void **state)
{
    static const struct {
        const char *text;
        int channels;
        double mean, std; /* of the last channel; std 0: refused */
    } cases[] = {
        {"none", 3, 0, 1},
        {"imagenet", 3, 0.406, 0.225},
        {"imagenet", 1, 0.449, 0.226},
        {"0.5/0.25", 3, 0.5, 0.25},
        {"1,2,-3/4,5,6", 3, -3, 6},
        {"0.1/0.2,0.3,0.4", 3, 0.1, 0.4},
        {"0.5", 3, 0, 0},
        {"0.5/0", 3, 0, 0},
        {"1,2/3", 3, 0, 0},
        {"1,2,3,4/1", 3, 0, 0},
        {"1/2/3", 3, 0, 0},
        {"1,/2", 1, 0, 0},
        {"", 3, 0, 0},
        {"nan/1", 1, 0, 0},
        {"0x1/1", 1, 0, 0},
        {"0/0x1p-3", 1, 0, 0},
        {"1e-3/1e+1", 1, 1e-3, 10},
        {"imagenet", 2, 0, 0},
        {"1/2 ", 1, 0, 0},
        {"/", 1, 0, 0},
        {"1/-1", 1, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dn_data_info info = {.channels = cases[i].channels}, again = info;
        const dn_status status = dn_normalize_parse(&info, cases[i].text);
        if (status != (cases[i].std > 0 ? DN_OK : DN_EINVAL))
            fail_msg("'%s': found %s", cases[i].text, status == DN_OK ? "" : dn_message());
        if (status != DN_OK)
            continue;
        char text[256];
        const int last = info.channels - 1;
        assert_true(info.mean[last] == cases[i].mean && info.std[last] == cases[i].std);
        dn_normalize_describe(&info, text, sizeof text);
        assert_int_equal(dn_normalize_parse(&again, text), DN_OK);
        for (int c = 0; c <= last; c++)
            assert_true((float)again.mean[c] == (float)info.mean[c] &&
                        (float)again.std[c] == (float)info.std[c]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_made_up_lists),
        cmocka_unit_test(test_normalize),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
