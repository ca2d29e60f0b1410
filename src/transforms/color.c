/* color-jitter and grayscale, by torchvision's functions on tensors. */
#include "transforms/step.h"

#include <string.h>

enum { RED_GREEN_BLUE = 3 };

/* Replaces every value v by ratio v + rest, clamped and truncated. */
static dn_status scale(dn_canvas *c, double ratio, float rest)
{
    uint8_t *pixels;
    DN_TRY(dn_canvas_pixels(c, &pixels));
    c->kernels->scale(pixels, (float)ratio, rest,
                      (size_t)c->transform->channels * dn_canvas_plane(c));
    return DN_OK;
}

/* *grey(height, width) = the luma, or the image itself if it is grey. */
static dn_status grey_of(dn_canvas *c, const uint8_t *pixels, uint8_t **grey)
{
    DN_TRY(dn_canvas_room(c, dn_canvas_plane(c), grey));
    if (c->transform->channels == RED_GREEN_BLUE)
        c->kernels->grey(pixels, dn_canvas_plane(c), *grey);
    else
        memcpy(*grey, pixels, dn_canvas_plane(c));
    return DN_OK;
}

dn_status dn_adjust_brightness(dn_canvas *c, double factor)
{
    return scale(c, factor, 0);
}

dn_status dn_adjust_contrast(dn_canvas *c, double factor)
{
    const size_t plane = dn_canvas_plane(c);
    uint8_t *pixels, *grey;
    uint64_t sum = 0;
    DN_TRY(dn_canvas_pixels(c, &pixels));
    DN_TRY(grey_of(c, pixels, &grey));
    for (size_t i = 0; i < plane; i++)
        sum += grey[i];
    return scale(c, factor, (float)((double)sum / (double)plane) * (float)(1 - factor));
}

dn_status dn_adjust_saturation(dn_canvas *c, double factor)
{
    const size_t plane = dn_canvas_plane(c);
    uint8_t *pixels, *grey;
    if (c->transform->channels != RED_GREEN_BLUE)
        return DN_OK;
    DN_TRY(dn_canvas_pixels(c, &pixels));
    DN_TRY(grey_of(c, pixels, &grey));
    for (size_t k = 0; k < RED_GREEN_BLUE; k++)
        c->kernels->blend(pixels + k * plane, grey, (float)factor, plane);
    return DN_OK;
}

/* Leaves grey images unchanged. */
static dn_status adjust_hue(dn_canvas *c, double factor)
{
    uint8_t *pixels;
    if (c->transform->channels != RED_GREEN_BLUE)
        return DN_OK;
    DN_TRY(dn_canvas_pixels(c, &pixels));
    c->kernels->hue(pixels, dn_canvas_plane(c), (float)factor);
    return DN_OK;
}

/* ---- color-jitter (torchvision's ColorJitter) ---- */

enum { BRIGHTNESS, CONTRAST, SATURATION, HUE, ADJUSTMENTS };

/* The four factors, then the order in which they are applied. */
static void draw_jitter(const dn_transform_step *s, dn_draws *d, double drawn[DN_DRAWN])
{
    double *const order = drawn + ADJUSTMENTS;
    for (int i = 0; i < ADJUSTMENTS; i++) {
        const int j = dn_draw_below(d, i + 1);
        drawn[i] = dn_draw_between(d, s->value[i]);
        order[i] = order[j];
        order[j] = i;
    }
}

static dn_status apply_jitter(const dn_transform_step *s, const double drawn[DN_DRAWN],
                              dn_canvas *c)
{
    static dn_status (*const adjust[])(dn_canvas *, double) = {
        dn_adjust_brightness, dn_adjust_contrast, dn_adjust_saturation, adjust_hue};
    (void)s;
    for (int i = 0; i < ADJUSTMENTS; i++) {
        const int which = (int)drawn[ADJUSTMENTS + i];
        if (drawn[which] != (which == HUE ? 0 : 1))
            DN_TRY(adjust[which](c, drawn[which]));
    }
    return DN_OK;
}

const dn_transform_row dn_transform_color_jitter = {
    "color-jitter",
    "color-jitter:brightness=0:contrast=0:saturation=0:hue=0\n"
    "      X: factors from 1 - X to 1 + X; or LEAST-MOST; hue: fraction of the circle",
    {{"brightness", DN_PARAMETER_AROUND_1, 0, 100, "0"},
     {"contrast", DN_PARAMETER_AROUND_1, 0, 100, "0"},
     {"saturation", DN_PARAMETER_AROUND_1, 0, 100, "0"},
     {"hue", DN_PARAMETER_AROUND_0, -0.5, 0.5, "0"}},
    .draw = draw_jitter,
    .apply = apply_jitter};

/* ---- grayscale (torchvision's RandomGrayscale) ---- */

static dn_status apply_grayscale(const dn_transform_step *s, const double drawn[DN_DRAWN],
                                 dn_canvas *c)
{
    uint8_t *pixels, *grey;
    (void)s;
    if (drawn[0] == 0 || c->transform->channels != RED_GREEN_BLUE)
        return DN_OK;
    DN_TRY(dn_canvas_pixels(c, &pixels));
    DN_TRY(grey_of(c, pixels, &grey));
    for (size_t k = 0; k < RED_GREEN_BLUE; k++)
        memcpy(pixels + k * dn_canvas_plane(c), grey, dn_canvas_plane(c));
    return DN_OK;
}

const dn_transform_row dn_transform_grayscale = {"grayscale",
                                                 "grayscale:p=0.1",
                                                 {{"p", DN_PARAMETER_REAL, 0, 1, "0.1"}},
                                                 .draw = dn_transform_draw_chance,
                                                 .apply = apply_grayscale};
