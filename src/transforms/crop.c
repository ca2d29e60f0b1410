/* The steps that only move the view: crops, resizes and flips. */
#include "transforms/step.h"

#include <limits.h>
#include <math.h>

#include "dn/math.h"

/* ---- random-resized-crop (torchvision's RandomResizedCrop) ---- */

enum { SIZE, SCALE, RATIO };
enum { TOP, LEFT, HEIGHT, WIDTH };

void dn_draw_sides(dn_draws *d, const double scale[2], const double ratio[2], int *width,
                   int *height)
{
    const double part = (double)d->height * d->width * dn_draw_between(d, scale);
    const double log_ratio[] = {dn_log(ratio[0]), dn_log(ratio[1])};
    const double drawn = dn_exp(dn_draw_between(d, log_ratio));
    *width = (int)lrint(sqrt(part * drawn));
    *height = (int)lrint(sqrt(part / drawn));
}

/* The largest centre crop with an allowed aspect ratio. */
static void central_crop(const double ratio[2], int height, int width, double drawn[DN_DRAWN])
{
    const double found = (double)width / height;
    const int h = found < ratio[0] ? (int)lrint(width / ratio[0]) : height;
    const int w = found > ratio[1] ? (int)lrint(height * ratio[1]) : width;
    const int crop_height = h < height ? h : height, crop_width = w < width ? w : width;
    drawn[HEIGHT] = crop_height > 0 ? crop_height : 1;
    drawn[WIDTH] = crop_width > 0 ? crop_width : 1;
    drawn[TOP] = (height - (int)drawn[HEIGHT]) / 2;
    drawn[LEFT] = (width - (int)drawn[WIDTH]) / 2;
}

static void draw_resized_crop(const dn_transform_step *s, dn_draws *d, double drawn[DN_DRAWN])
{
    enum { TRIES = 10 };
    for (int i = 0; i < TRIES; i++) {
        int w, h;
        dn_draw_sides(d, s->value[SCALE], s->value[RATIO], &w, &h);
        if (w < 1 || h < 1 || w > d->width || h > d->height)
            continue;
        drawn[TOP] = dn_draw_below(d, d->height - h + 1);
        drawn[LEFT] = dn_draw_below(d, d->width - w + 1);
        drawn[HEIGHT] = h;
        drawn[WIDTH] = w;
        return;
    }
    central_crop(s->value[RATIO], d->height, d->width, drawn);
}

static dn_status apply_resized_crop(const dn_transform_step *s, const double drawn[DN_DRAWN],
                                    dn_canvas *c)
{
    const int side = (int)s->value[SIZE][0];
    DN_TRY(dn_canvas_crop(c, (int)drawn[TOP], (int)drawn[LEFT], (int)drawn[HEIGHT],
                          (int)drawn[WIDTH]));
    return dn_canvas_resize(c, side, side);
}

static void square(const dn_transform_step *s, int *height, int *width)
{
    *height = *width = (int)s->value[SIZE][0];
}

const dn_transform_row dn_transform_random_resized_crop = {
    "random-resized-crop",
    "random-resized-crop:size=N:scale=0.08-1:ratio=3/4-4/3\n"
    "      scale: fraction of the area; ratio: width / height",
    {{"size", DN_PARAMETER_WHOLE, 1, DN_MAX_SIDE, NULL},
     {"scale", DN_PARAMETER_LEAST, 1e-6, 1, "0.08-1"},
     {"ratio", DN_PARAMETER_FIXED, 1e-3, 1e3, "3/4-4/3"}},
    .size = square,
    .draw = draw_resized_crop,
    .apply = apply_resized_crop};

/* ---- resize ---- */

/* Scales the shorter side to `side` and the other in proportion, limited to an int. */
static void resize_side(int *height, int *width, int side)
{
    const int h = *height, w = *width;
    *height = h < w ? side : (int)fmin((double)side * h / w, INT_MAX);
    *width = w <= h ? side : (int)fmin((double)side * w / h, INT_MAX);
}

static dn_status apply_resize(const dn_transform_step *s, const double drawn[DN_DRAWN],
                              dn_canvas *c)
{
    int height = c->view.height, width = c->view.width;
    (void)drawn;
    resize_side(&height, &width, (int)s->value[SIZE][0]);
    return dn_canvas_resize(c, height, width);
}

static void resized(const dn_transform_step *s, int *height, int *width)
{
    if (*height > 0 && *width > 0)
        resize_side(height, width, (int)s->value[SIZE][0]);
}

const dn_transform_row dn_transform_resize = {"resize",
                                              "resize:size=N\n      N: the shorter side",
                                              {{"size", DN_PARAMETER_WHOLE, 1, DN_MAX_SIDE, NULL}},
                                              .size = resized,
                                              .apply = apply_resize};

/* ---- center-crop ---- */

static dn_status apply_center_crop(const dn_transform_step *s, const double drawn[DN_DRAWN],
                                   dn_canvas *c)
{
    const int side = (int)s->value[SIZE][0];
    (void)drawn;
    return dn_canvas_crop(c, (int)lrint((c->view.height - side) / 2.0),
                          (int)lrint((c->view.width - side) / 2.0), side, side);
}

const dn_transform_row dn_transform_center_crop = {
    "center-crop",
    "center-crop:size=N",
    {{"size", DN_PARAMETER_WHOLE, 1, DN_MAX_SIDE, NULL}},
    .size = square,
    .apply = apply_center_crop,
    .is_crop = 1};

/* ---- ten-crop: one of ten (Krizhevsky, Sutskever, Hinton 2012): the corners, the centre, then the
 * same mirrored ---- */

enum { CROP = 1 };

static dn_status apply_ten_crop(const dn_transform_step *s, const double drawn[DN_DRAWN],
                                dn_canvas *c)
{
    const int side = (int)s->value[SIZE][0], index = (int)s->value[CROP][0], place = index % 5;
    DN_TRY(place == 4 ? apply_center_crop(s, drawn, c)
                      : dn_canvas_crop(c, place / 2 * (c->view.height - side),
                                       place % 2 * (c->view.width - side), side, side));
    c->view.hflip ^= index >= 5;
    return DN_OK;
}

const dn_transform_row dn_transform_ten_crop = {
    "ten-crop",
    "ten-crop:size=N:crop=0\n      0 to 9: one of the crops of eval --crops 10",
    {{"size", DN_PARAMETER_WHOLE, 1, DN_MAX_SIDE, NULL}, {"crop", DN_PARAMETER_WHOLE, 0, 9, "0"}},
    .size = square,
    .apply = apply_ten_crop,
    .is_crop = 1};

/* ---- pad-crop: of the image's size, from one with a border (He et al. 2016); torchvision's
 * RandomCrop ---- */

enum { PADDING, FILL };

static void draw_shift(const dn_transform_step *s, dn_draws *d, double drawn[DN_DRAWN])
{
    const int pad = (int)s->value[PADDING][0];
    drawn[TOP] = dn_draw_below(d, 2 * pad + 1) - pad;
    drawn[LEFT] = dn_draw_below(d, 2 * pad + 1) - pad;
}

static dn_status apply_shift(const dn_transform_step *s, const double drawn[DN_DRAWN], dn_canvas *c)
{
    return dn_canvas_shift(c, (int)drawn[TOP], (int)drawn[LEFT], (int)s->value[FILL][0]);
}

const dn_transform_row dn_transform_pad_crop = {
    "pad-crop",
    "pad-crop:padding=4:fill=none\n      a random crop of the original size; none: 0 after "
    "normalisation",
    {{"padding", DN_PARAMETER_WHOLE, 1, 1024, "4"}, {"fill", DN_PARAMETER_FILL, 0, 255, "none"}},
    .draw = draw_shift,
    .apply = apply_shift};

/* ---- flips ---- */

static dn_status apply_hflip(const dn_transform_step *s, const double drawn[DN_DRAWN], dn_canvas *c)
{
    (void)s;
    c->view.hflip ^= (int)drawn[0];
    return DN_OK;
}

static dn_status apply_vflip(const dn_transform_step *s, const double drawn[DN_DRAWN], dn_canvas *c)
{
    (void)s;
    c->view.vflip ^= (int)drawn[0];
    return DN_OK;
}

const dn_transform_row dn_transform_hflip = {"hflip",
                                             "hflip:p=0.5",
                                             {{"p", DN_PARAMETER_REAL, 0, 1, "0.5"}},
                                             .draw = dn_transform_draw_chance,
                                             .apply = apply_hflip};

const dn_transform_row dn_transform_vflip = {"vflip",
                                             "vflip:p=0.5",
                                             {{"p", DN_PARAMETER_REAL, 0, 1, "0.5"}},
                                             .draw = dn_transform_draw_chance,
                                             .apply = apply_vflip};
