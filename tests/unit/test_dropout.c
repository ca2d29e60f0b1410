/* Dropout's masks: what is drawn for which value, however the row is laid out. */
#include <math.h>
#include <string.h>

#include "dn/rng.h"
#include "layers/dropout.h"
#include "unit.h"

enum { IMAGES = 5, HEIGHT = 23, WIDTH = 31, LAYER = 3, CHANNEL = 7, SEED = 11, STEP = 9, RANK = 2 };
#define RATE 0.3f

static const dn_layer layer = {.index = LAYER, .dropout = RATE};
static const dn_pass pass = {.seed = SEED, .step = STEP, .virtual_rank = RANK};

static float factor_of(size_t value)
{
    const uint64_t b = ((uint64_t)LAYER << 16 | CHANNEL) << 32 | value / 4;
    const dn_random4 r = dn_random(SEED, DN_STREAM_DROPOUT, STEP * 65536 + RANK, b);
    return dn_random_unit(r.word[value % 4]) < RATE ? 0 : 1 / (1 - RATE);
}

/* A row of ones becomes the factors of the values from `first` on, image by image; its borders
 * stay.
 */
static void check_layout(const dn_padded *padded, const dn_piece *piece, ptrdiff_t source,
                         size_t first)
{
    static float row[IMAGES * (HEIGHT + 2) * (WIDTH + 2)];
    const dn_feature_map out = {.layout = dn_layout_create(IMAGES, HEIGHT, WIDTH)};
    const dn_visit visit = {.layer = &layer, .out = &out};
    const size_t floats = dn_padded_floats(padded);
    size_t inside = 0;
    assert_true(floats <= sizeof row / sizeof *row);
    for (size_t p = 0; p < floats; p++)
        row[p] = 1;
    dn_dropout(&visit, &pass, padded, piece, source, CHANNEL, row);
    for (int i = 0; i < padded->images; i++)
        for (int r = 0; r < padded->rows; r++)
            for (int c = 0; c < padded->width; c++) {
                const size_t at = (size_t)(i * padded->image_rows + padded->skip + r);
                float *p = row + at * padded->pitch + c;
                assert_true(*p == factor_of(first + (size_t)(i * HEIGHT * WIDTH + r * WIDTH + c)));
                *p = 1;
                inside++;
            }
    assert_int_equal(inside, (size_t)padded->images * (size_t)(padded->rows * padded->width));
    for (size_t p = 0; p < floats; p++)
        assert_true(row[p] == 1);
}

static void test_masks(void **state)
{
    const dn_layout layout = dn_layout_create(IMAGES, HEIGHT, WIDTH);
    for (int i = 0; i < layout.pieces; i++) {
        const dn_piece piece = dn_layout_piece(&layout, i);
        ptrdiff_t source;
        const dn_padded padded = dn_piece_padded(&layout, &piece, &source);
        const size_t before = (size_t)(piece.strip * layout.strip_images) * HEIGHT * WIDTH;
        const dn_padded none = dn_padded_none(piece.pixels);
        check_layout(&padded, &piece, source, before + piece.offset + (size_t)source);
        check_layout(&none, &piece, 0, before + piece.offset);
    }
}

/* Of those factors, and of a channel's over the images, as many are 0 as the rate says; 6 standard
 * errors. */
static void test_rate(void **state)
{
    enum { VALUES = 100000 };
    const double most = 6 * sqrt((double)RATE * (1 - (double)RATE) / VALUES);
    const dn_layer channel_layer = {.index = LAYER, .channel_dropout = RATE};
    const dn_visit visit = {.layer = &channel_layer};
    int dropped = 0, channels = 0;
    for (size_t value = 0; value < VALUES; value++)
        dropped += factor_of(value) == 0;
    for (int64_t image = 0; image < VALUES; image++) {
        const float factor = dn_dropout_channel(&visit, &pass, image, CHANNEL);
        assert_true(factor == 0 || factor == 1 / (1 - RATE));
        channels += factor == 0;
    }
    assert_true(fabs((double)dropped / VALUES - (double)RATE) < most);
    assert_true(fabs((double)channels / VALUES - (double)RATE) < most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_masks), cmocka_unit_test(test_rate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
