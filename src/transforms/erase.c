/* random-erasing (Zhong et al. 2020, torchvision's RandomErasing), of the normalised image. */
#include "transforms/step.h"

enum { CHANCE, SCALE, RATIO, VALUE };
enum { TOP, LEFT, HEIGHT, WIDTH, IS_ERASED };

static void draw_erasing(const dn_transform_step *s, dn_draws *d, double drawn[DN_DRAWN])
{
    enum { TRIES = 10 };
    const int is_chosen = dn_draw_chance(d, s->value[CHANCE][0]);
    for (int i = 0; i < TRIES && is_chosen && drawn[IS_ERASED] == 0; i++) {
        int w, h;
        dn_draw_sides(d, s->value[SCALE], s->value[RATIO], &h, &w);
        if (h >= d->height || w >= d->width)
            continue;
        drawn[HEIGHT] = h;
        drawn[WIDTH] = w;
        drawn[TOP] = dn_draw_below(d, d->height - h + 1);
        drawn[LEFT] = dn_draw_below(d, d->width - w + 1);
        drawn[IS_ERASED] = 1;
    }
}

static dn_status apply_erasing(const dn_transform_step *s, const double drawn[DN_DRAWN],
                               dn_canvas *c)
{
    if (drawn[IS_ERASED] != 0)
        c->erased[c->erasures++] =
            (dn_erasure){(int)drawn[TOP], (int)drawn[LEFT], (int)drawn[HEIGHT], (int)drawn[WIDTH],
                         (float)s->value[VALUE][0]};
    return DN_OK;
}

const dn_transform_row dn_transform_random_erasing = {
    "random-erasing",
    "random-erasing:p=0.5:scale=0.02-0.33:ratio=0.3-3.3:value=0\n"
    "      last in the list; ratio: height / width; value: after normalisation",
    {{"p", DN_PARAMETER_REAL, 0, 1, "0.5"},
     {"scale", DN_PARAMETER_FIXED, 1e-6, 1, "0.02-0.33"},
     {"ratio", DN_PARAMETER_FIXED, 1e-3, 1e3, "0.3-3.3"},
     {"value", DN_PARAMETER_REAL, -1000, 1000, "0"}},
    .draw = draw_erasing,
    .apply = apply_erasing,
    .is_last = 1};
