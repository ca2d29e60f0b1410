/* Mixup and CutMix: what they draw, and what becomes of images. */
#include <math.h>
#include <string.h>

#include "dn/mixing.h"
#include "dn/rng.h"
#include "unit.h"

enum { DRAWS = 20000, BATCH = 5, CHANNELS = 2, HEIGHT = 6, WIDTH = 9 };

/* Beta(a, a) has mean 1/2 and variance 1 / (8 a + 4); 6 standard errors are allowed, where those of
 * the variance come from a fourth moment of at most 1/16. */
static void test_ratios(void **state)
{
    static const double alphas[] = {0.01, 0.2, 1, 4};
    for (size_t k = 0; k < sizeof alphas / sizeof *alphas; k++) {
        const dn_mixing mixing = {.mixup = alphas[k]};
        const double variance = 1 / (8 * alphas[k] + 4);
        double sum = 0, squares = 0;
        for (int i = 0; i < DRAWS; i++) {
            const dn_mix mix = dn_mix_draw(&mixing, 3, (uint64_t)i / 4, (uint64_t)i % 4, 1, 1);
            const double x = (double)mix.share - 0.5;
            assert_true(fabs(x) <= 0.5);
            sum += x;
            squares += x * x;
        }
        assert_true(fabs(sum / DRAWS) < 6 * sqrt(variance / DRAWS));
        assert_true(fabs(squares / DRAWS - variance) < 6 * 0.25 / sqrt(DRAWS));
    }
}

static void fill(float *images)
{
    dn_random_uniform(images, (size_t)BATCH * CHANNELS * HEIGHT * WIDTH, 1, 7, DN_STREAM_SYNTHETIC,
                      0);
}

/* Every pixel is what the definition says; returns those that are the neighbour's alone. */
static int check_images(const dn_mix *mix)
{
    static float before[BATCH][CHANNELS][HEIGHT][WIDTH], after[BATCH][CHANNELS][HEIGHT][WIDTH];
    int taken = 0;
    fill(&before[0][0][0][0]);
    fill(&after[0][0][0][0]);
    dn_mix_images(mix, &after[0][0][0][0], BATCH, CHANNELS, HEIGHT, WIDTH);
    const int has_box = mix->bottom > mix->top && mix->right > mix->left;
    for (int i = 0; i < BATCH; i++)
        for (int c = 0; c < CHANNELS; c++)
            for (int y = 0; y < HEIGHT; y++)
                for (int x = 0; x < WIDTH; x++) {
                    const float own = before[i][c][y][x];
                    const float other = before[dn_mix_partner(i, BATCH)][c][y][x];
                    const int is_in = has_box && y >= mix->top && y < mix->bottom &&
                                      x >= mix->left && x < mix->right;
                    const float expected = is_in     ? other
                                           : has_box ? own
                                                     : mix->share * own + (1 - mix->share) * other;
                    assert_true(fabsf(after[i][c][y][x] - expected) < 1e-6F);
                    taken += is_in && i == 0 && c == 0;
                }
    return taken;
}

static void test_mixup(void **state)
{
    const dn_mixing mixing = {.mixup = 1};
    for (uint64_t step = 0; step < 20; step++) {
        const dn_mix mix = dn_mix_draw(&mixing, 1, step, 0, HEIGHT, WIDTH);
        assert_int_equal(check_images(&mix), 0);
        assert_true(dn_mix_draw(&mixing, 1, step, 1, HEIGHT, WIDTH).share != mix.share);
    }
}

/* The share is what the box leaves; all of the image is hit by some box. */
static void test_cutmix(void **state)
{
    const dn_mixing mixing = {.cutmix = 1};
    int least_top = HEIGHT, most_bottom = 0, empty = 0;
    for (uint64_t step = 0; step < 200; step++) {
        const dn_mix mix = dn_mix_draw(&mixing, 1, step, 2, HEIGHT, WIDTH);
        const int taken = check_images(&mix);
        assert_true(fabs((double)mix.share - (1 - taken / (double)(HEIGHT * WIDTH))) < 1e-6);
        assert_true(mix.top >= 0 && mix.left >= 0 && mix.bottom <= HEIGHT && mix.right <= WIDTH);
        least_top = taken > 0 && mix.top < least_top ? mix.top : least_top;
        most_bottom = taken > 0 && mix.bottom > most_bottom ? mix.bottom : most_bottom;
        empty += taken == 0;
    }
    assert_int_equal(least_top, 0);
    assert_int_equal(most_bottom, HEIGHT);
    assert_true(empty > 0 && empty < 100);
}

static void test_choice(void **state)
{
    const dn_mixing both = {.mixup = 0.01, .cutmix = 50}, none = {0};
    int cuts = 0;
    for (uint64_t step = 0; step < 1000; step++) {
        const dn_mix mix = dn_mix_draw(&both, 1, step, 0, 32, 32);
        const dn_mix again = dn_mix_draw(&both, 1, step, 0, 32, 32);
        assert_memory_equal(&mix, &again, sizeof mix);
        cuts += mix.bottom > 0;
        assert_true(mix.right - mix.left <= 26); /* its share by cutmix's alpha: about a half */
        assert_true(dn_mix_draw(&none, 1, step, 0, 32, 32).share == 1);
    }
    assert_true(cuts > 400 && cuts < 600); /* 6 standard deviations */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ratios), cmocka_unit_test(test_mixup),
                                       cmocka_unit_test(test_cutmix),
                                       cmocka_unit_test(test_choice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
