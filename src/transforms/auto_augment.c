/*
 * Random operations out of fourteen. trivial-augment (Mueller and Hutter 2021, "TrivialAugment:
 * tuning-free yet state-of-the-art data augmentation"; torchvision's TrivialAugmentWide) applies
 * one of a random magnitude; rand-augment (Cubuk et al. 2020, "RandAugment: practical automated
 * data augmentation with a reduced search space") applies several of a given magnitude, from
 * narrower ranges.
 */
#include "transforms/step.h"

#include <math.h>
#include <string.h>

/* ---- operations; magnitudes as torchvision passes them ---- */

/* x is taken from x + across y, y from y + down x, relative to the upper left corner. */
static dn_status shear(dn_sampling s, double across, double down, dn_canvas *c)
{
    const double right = c->view.width / 2.0, bottom = c->view.height / 2.0;
    const dn_warp warp = {.m = {1, across, across * bottom, down, 1, down * right}, .sampling = s};
    return dn_canvas_warp(c, &warp);
}

static dn_status shear_x(dn_sampling s, double magnitude, dn_canvas *c)
{
    return shear(s, magnitude, 0, c);
}

static dn_status shear_y(dn_sampling s, double magnitude, dn_canvas *c)
{
    return shear(s, 0, magnitude, c);
}

static dn_status translate_x(dn_sampling s, double magnitude, dn_canvas *c)
{
    return dn_canvas_affine(c, &(dn_affine){.scale = 1, .shift = {trunc(magnitude), 0}}, s);
}

static dn_status translate_y(dn_sampling s, double magnitude, dn_canvas *c)
{
    return dn_canvas_affine(c, &(dn_affine){.scale = 1, .shift = {0, trunc(magnitude)}}, s);
}

static dn_status rotate(dn_sampling s, double magnitude, dn_canvas *c)
{
    return dn_canvas_affine(c, &(dn_affine){.scale = 1, .angle = -magnitude}, s);
}

/* to(height, width) = x + (1 - factor) (smoothed x - x), unchanged at the edges. */
static void sharpen(const uint8_t *x, int height, int width, float factor, uint8_t *to)
{
    memcpy(to, x, (size_t)height * (size_t)width);
    for (ptrdiff_t r = 1; r < height - 1; r++)
        for (ptrdiff_t i = r * width + 1; i < (r + 1) * width - 1; i++) {
            int sum = 4 * x[i];
            for (ptrdiff_t j = i - width - 1; j <= i + width - 1; j += width)
                sum += x[j] + x[j + 1] + x[j + 2];
            const int smooth = (sum + 6) / 13; /* rounded to nearest: no ties, 13 is odd */
            const float sharp = (float)x[i] + (float)(smooth - x[i]) * (1 - factor);
            to[i] = (uint8_t)(sharp > 0 ? sharp < 255 ? sharp : 255 : 0);
        }
}

static dn_status sharpness(dn_sampling s, double magnitude, dn_canvas *c)
{
    const size_t plane = dn_canvas_plane(c), channels = (size_t)c->transform->channels;
    uint8_t *pixels, *room;
    (void)s;
    DN_TRY(dn_canvas_pixels(c, &pixels));
    DN_TRY(dn_canvas_room(c, channels * plane, &room));
    for (size_t k = 0; k < channels; k++)
        sharpen(pixels + k * plane, c->view.height, c->view.width, (float)(1 + magnitude),
                room + k * plane);
    dn_canvas_swap(c);
    return DN_OK;
}

/* Computes a lookup table from the image's histogram. */
typedef void make_fn(const uint32_t histogram[256], double magnitude, uint8_t table[256]);

/* Maps each channel through the table that `make` computes for it. */
static dn_status look_up(dn_canvas *c, double magnitude, make_fn *make)
{
    const size_t plane = dn_canvas_plane(c);
    uint8_t table[256], *pixels;
    DN_TRY(dn_canvas_pixels(c, &pixels));
    for (int k = 0; k < c->transform->channels; k++, pixels += plane) {
        uint32_t histogram[256] = {0};
        for (size_t i = 0; i < plane; i++)
            histogram[pixels[i]]++;
        make(histogram, magnitude, table);
        for (size_t i = 0; i < plane; i++)
            pixels[i] = table[pixels[i]];
    }
    return DN_OK;
}

static void make_posterize(const uint32_t histogram[256], double bits, uint8_t table[256])
{
    (void)histogram;
    for (int v = 0; v < 256; v++)
        table[v] = (uint8_t)(v & (0xff << (8 - (int)bits)));
}

static void make_solarize(const uint32_t histogram[256], double part, uint8_t table[256])
{
    const float threshold = (float)(255 * part);
    (void)histogram;
    for (int v = 0; v < 256; v++)
        table[v] = (uint8_t)((float)v >= threshold ? 255 - v : v);
}

/* Stretches the darkest value to 0 and the brightest to 255. */
static void make_autocontrast(const uint32_t histogram[256], double magnitude, uint8_t table[256])
{
    int least = 0, most = 255;
    (void)magnitude;
    while (least < 255 && histogram[least] == 0)
        least++;
    while (most > least && histogram[most] == 0)
        most--;
    const float scale = (float)(most - least) * (1 / 255.0F);
    for (int v = 0; v < 256; v++) {
        const float x = (float)(v - least) / (most > least ? scale : 1);
        table[v] = (uint8_t)(most == least ? v : x > 0 ? x < 255 ? x : 255 : 0);
    }
}

/* As PIL: value v becomes the number of pixels below it, in units of 1/255 of all pixels but those
 * of the brightest value. */
static void make_equalize(const uint32_t histogram[256], double magnitude, uint8_t table[256])
{
    uint64_t all = 0, below = 0;
    int most = 255;
    (void)magnitude;
    while (most > 0 && histogram[most] == 0)
        most--;
    for (int v = 0; v < most; v++)
        all += histogram[v];
    const uint64_t step = all / 255;
    for (int v = 0; v < 256; v++) {
        const uint64_t level = step > 0 ? (below + step / 2) / step : (uint64_t)v;
        table[v] = (uint8_t)(level < 255 ? level : 255);
        below += histogram[v];
    }
}

/* ---- the table, in torchvision's order ---- */

enum { WIDE, NARROW, SPACES };      /* ranges: trivial-augment's, rand-augment's */
enum { UNIT, OF_WIDTH, OF_HEIGHT }; /* of the narrow range's end */

/* Magnitude i of n is on the line from `first` to `last`; signed: its sign is random. An operation
 * without a function leaves the image unchanged. */
static const struct operation {
    const char *name;
    double first, last[SPACES];
    int is_signed, is_whole, unit;
    dn_status (*apply)(dn_sampling sampling, double magnitude, dn_canvas *canvas);
    dn_status (*adjust)(dn_canvas *canvas, double factor); /* by 1 + magnitude */
    make_fn *make;
} operations[] = {{.name = "Identity"},
                  {"ShearX", 0, {0.99, 0.3}, 1, .apply = shear_x},
                  {"ShearY", 0, {0.99, 0.3}, 1, .apply = shear_y},
                  {"TranslateX", 0, {32, 150.0 / 331}, 1, .unit = OF_WIDTH, .apply = translate_x},
                  {"TranslateY", 0, {32, 150.0 / 331}, 1, .unit = OF_HEIGHT, .apply = translate_y},
                  {"Rotate", 0, {135, 30}, 1, .apply = rotate},
                  {"Brightness", 0, {0.99, 0.9}, 1, .adjust = dn_adjust_brightness},
                  {"Color", 0, {0.99, 0.9}, 1, .adjust = dn_adjust_saturation},
                  {"Contrast", 0, {0.99, 0.9}, 1, .adjust = dn_adjust_contrast},
                  {"Sharpness", 0, {0.99, 0.9}, 1, .apply = sharpness},
                  {"Posterize", 8, {2, 4}, 0, .is_whole = 1, .make = make_posterize},
                  {"Solarize", 1, {0, 0}, 0, .make = make_solarize},
                  {.name = "AutoContrast", .make = make_autocontrast},
                  {.name = "Equalize", .make = make_equalize}};

enum { OPERATIONS = sizeof operations / sizeof *operations };
enum { OPERATION, MAGNITUDE, NUMBERS }; /* drawn for an operation */

/* The end of the range for an image. */
static float last_of(const struct operation *o, int space, const dn_draws *d)
{
    const int unit = space == NARROW ? o->unit : UNIT;
    const int side = unit == OF_WIDTH ? d->width : unit == OF_HEIGHT ? d->height : 1;
    return (float)(o->last[space] * side);
}

/* In float and computed from the nearer end, as torch.linspace does. */
static double magnitude_of(const struct operation *o, float last, int index, int bins)
{
    const float first = (float)o->first, step = (last - first) / (float)(bins - 1);
    const float x =
        index < bins / 2 ? first + step * (float)index : last - step * (float)(bins - 1 - index);
    return o->is_whole ? rint(x) : x;
}

enum { RANDOM = -1 };

/* Draws an operation, its magnitude number `index` of `bins`, or RANDOM, and its sign. */
static void draw(dn_draws *d, int space, int index, int bins, double drawn[NUMBERS])
{
    const int operation = dn_draw_below(d, OPERATIONS);
    const struct operation *const o = &operations[operation];
    const double magnitude = magnitude_of(o, last_of(o, space, d),
                                          index == RANDOM ? dn_draw_below(d, bins) : index, bins);
    const int is_negative = dn_draw_chance(d, 0.5) && o->is_signed;
    drawn[OPERATION] = operation;
    drawn[MAGNITUDE] = is_negative ? -magnitude : magnitude;
}

static dn_status apply(dn_sampling s, const double drawn[NUMBERS], dn_canvas *c)
{
    const struct operation *const o = &operations[(int)drawn[OPERATION]];
    const double magnitude = drawn[MAGNITUDE];
    return o->apply    ? o->apply(s, magnitude, c)
           : o->adjust ? o->adjust(c, 1 + magnitude)
           : o->make   ? look_up(c, magnitude, o->make)
                       : DN_OK;
}

/* ---- trivial-augment ---- */

enum { TRIVIAL_BINS, TRIVIAL_INTERPOLATION };

static void draw_trivial(const dn_transform_step *s, dn_draws *d, double drawn[DN_DRAWN])
{
    draw(d, WIDE, RANDOM, (int)s->value[TRIVIAL_BINS][0], drawn);
}

static dn_status apply_trivial(const dn_transform_step *s, const double drawn[DN_DRAWN],
                               dn_canvas *c)
{
    return apply(dn_sampling_of(s, TRIVIAL_INTERPOLATION), drawn, c);
}

const dn_transform_row dn_transform_trivial_augment = {
    "trivial-augment",
    "trivial-augment:num_magnitude_bins=31:interpolation=nearest:fill=none\n"
    "      one of 14 operations",
    {{"num_magnitude_bins", DN_PARAMETER_WHOLE, 2, 1000, "31"},
     {"interpolation", DN_PARAMETER_METHOD, 0, 1, "nearest"},
     {"fill", DN_PARAMETER_FILL, 0, 255, "none"}},
    .draw = draw_trivial,
    .apply = apply_trivial};

/* ---- rand-augment ---- */

enum { RAND_OPS, RAND_MAGNITUDE, RAND_INTERPOLATION };
enum { RAND_BINS = 31 };

static void draw_rand(const dn_transform_step *s, dn_draws *d, double drawn[DN_DRAWN])
{
    for (int i = 0; i < (int)s->value[RAND_OPS][0]; i++)
        draw(d, NARROW, (int)s->value[RAND_MAGNITUDE][0], RAND_BINS,
             drawn + (ptrdiff_t)NUMBERS * i);
}

static dn_status apply_rand(const dn_transform_step *s, const double drawn[DN_DRAWN], dn_canvas *c)
{
    for (int i = 0; i < (int)s->value[RAND_OPS][0]; i++)
        DN_TRY(apply(dn_sampling_of(s, RAND_INTERPOLATION), drawn + (ptrdiff_t)NUMBERS * i, c));
    return DN_OK;
}

const dn_transform_row dn_transform_rand_augment = {
    "rand-augment",
    "rand-augment:num_ops=2:magnitude=9:interpolation=nearest:fill=none\n"
    "      num_ops of the same 14, at a magnitude from 0 to 30",
    {{"num_ops", DN_PARAMETER_WHOLE, 1, DN_DRAWN / NUMBERS, "2"},
     {"magnitude", DN_PARAMETER_WHOLE, 0, RAND_BINS - 1, "9"},
     {"interpolation", DN_PARAMETER_METHOD, 0, 1, "nearest"},
     {"fill", DN_PARAMETER_FILL, 0, 255, "none"}},
    .draw = draw_rand,
    .apply = apply_rand};
