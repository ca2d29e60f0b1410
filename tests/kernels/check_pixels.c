/* Kernels on pixels: the same bytes from every table. What they mean is checked against torchvision
 * by transforms.py. */
#include "check_kernels.h"
#include "dn/resize.h"
#include "expect.h"
#include "transforms/pixel_kernels.h"

#include <stdlib.h>
#include <string.h>

enum { PLANES = 3, MOST_TAPS = 70, TURNED_ROWS = 17, SIDE = 9, BORDERED = SIDE + 4 };
enum {
    SUMMED,
    SUMMED_MORE,
    SUMMED_MANY,
    TURNED,
    SCALED,
    BLENDED,
    GREY,
    HUE,
    BLURRED,
    ROUNDED,
    X,
    Y,
    NEAREST,
    BILINEAR,
    OUTPUTS
};

/* What all tables work on; `bytes` and `floats` have n floats a row. */
typedef struct pixel_case {
    size_t n, count; /* count: bytes in n floats */
    dn_guarded bytes;
    int32_t few[PLANES], many[MOST_TAPS]; /* weights */
    int taps, more_taps, fill;
    float factor, part;
    uint8_t bordered[BORDERED * BORDERED];
    dn_grid grid;
} pixel_case;

static uint8_t *bytes_of(const dn_guarded *m, int row)
{
    return dn_guarded_at(m, row, 0);
}

static void draw_bytes(uint8_t *to, size_t count, uint64_t seed)
{
    for (size_t i = 0; i < count; i++)
        to[i] = (uint8_t)(dn_guarded_draw(&seed) >> 24);
}

static float unit(void)
{
    return (float)dn_trial_draw(-1000, 1000) / 1000;
}

static pixel_case draw_case(size_t n)
{
    pixel_case c = {.n = n,
                    .count = n * sizeof(float),
                    .bytes = dn_trial_matrix(PLANES, 0, n),
                    .taps = dn_trial_draw(1, PLANES),
                    .more_taps = dn_trial_draw(PLANES, 20),
                    .fill = dn_trial_draw(-1, 255),
                    .factor = 1 + unit(),
                    .part = unit() / 2};
    for (int row = 0; row < PLANES; row++)
        draw_bytes(bytes_of(&c.bytes, row), c.count, dn_trial_seed());
    for (int t = 0; t < c.taps; t++)
        c.few[t] = (1 << DN_PIXEL_WEIGHT_BITS) / c.taps;
    for (int t = 0; t < MOST_TAPS; t++)
        c.many[t] = (1 << DN_PIXEL_WEIGHT_BITS) / MOST_TAPS;
    draw_bytes(c.bordered, sizeof c.bordered, dn_trial_seed());
    c.grid = (dn_grid){.height = SIDE, .width = SIDE, .left = unit(), .top = unit()};
    for (int i = 0; i < 8; i++)
        c.grid.m[i] = unit();
    return c;
}

/* Each kernel's output in a row of its own. Those of planes work on three of n bytes each. */
static void run_all(const dn_pixel_kernels *k, const pixel_case *c, const dn_guarded *to)
{
    const size_t stride = c->bytes.ld * sizeof(float), n = c->n;
    const uint8_t *const in = bytes_of(&c->bytes, 0);
    float *const sum = (float *)bytes_of(to, BLURRED), *const x = (float *)bytes_of(to, X);
    float *const y = (float *)bytes_of(to, Y);
    k->sum_rows(in, stride, c->few, c->taps, bytes_of(to, SUMMED), c->count);
    k->sum_rows(in, 0, c->many, MOST_TAPS, bytes_of(to, SUMMED_MANY), c->count);
    k->sum_rows(in, 0, c->many, c->more_taps, bytes_of(to, SUMMED_MORE), c->count);
    memset(bytes_of(to, TURNED), 0, c->count);
    k->turn(in, c->count / TURNED_ROWS, TURNED_ROWS, c->count / TURNED_ROWS, bytes_of(to, TURNED),
            TURNED_ROWS);
    memcpy(bytes_of(to, SCALED), in, c->count);
    k->scale(bytes_of(to, SCALED), c->factor, 100 * c->part, c->count);
    memcpy(bytes_of(to, BLENDED), in, c->count);
    k->blend(bytes_of(to, BLENDED), bytes_of(&c->bytes, 1), c->factor, c->count);
    memset(bytes_of(to, GREY), 0, c->count);
    k->grey(in, n, bytes_of(to, GREY));
    memcpy(bytes_of(to, HUE), in, c->count);
    k->hue(bytes_of(to, HUE), n, c->part);
    memset(sum, 0, c->count);
    k->add_bytes(in, 0.3F, sum, n);
    k->add_floats(sum, 0.6F, sum, n);
    memset(bytes_of(to, ROUNDED), 0, c->count);
    k->round(sum, bytes_of(to, ROUNDED), n);
    k->places(&c->grid, -3, 2, x, y, n);
    memset(bytes_of(to, NEAREST), 0, c->count);
    k->nearest(c->bordered, SIDE, x, y, bytes_of(to, NEAREST), n);
    memset(bytes_of(to, BILINEAR), 0, c->count);
    k->bilinear(c->bordered, SIDE, SIDE, c->fill, x, y, bytes_of(to, BILINEAR), n);
}

void dn_check_pixels(size_t n)
{
    pixel_case c = draw_case(n);
    dn_guarded to = dn_trial_matrix(OUTPUTS, 0, n), first = dn_trial_matrix(OUTPUTS, 0, n);
    dn_trial_describe("pixel kernels, %zu", n);
    run_all(dn_pixel_kernels_of(dn_kernels_get(0)), &c, &first);
    const dn_kernels *table;
    for (int i = 0; (table = dn_trial_table(i)) != NULL; i++) {
        run_all(dn_pixel_kernels_of(table), &c, &to);
        for (int row = 0; row < OUTPUTS; row++)
            if (memcmp(bytes_of(&to, row), bytes_of(&first, row), c.count) != 0)
                dn_trial_fail("pixel kernel %d: other bytes than generic", row);
        if (!dn_guarded_intact(&to))
            dn_trial_fail("pixel kernels: wrote outside their outputs");
    }
    DN_GUARDED_DESTROY(&c.bytes, &to, &first);
}
