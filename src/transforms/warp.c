/*
 * rotate, affine and perspective: each output pixel is looked up at its source coordinates, as
 * torchvision does with tensors. Pixels from outside are filled.
 */
#include "transforms/step.h"

#include <math.h>
#include <string.h>

#include "dn/math.h"

/* ---- lookup ---- */

enum { BORDER = 2 };

/* to(height + 4, width + 4) = a plane with its border. */
static void add_border(const uint8_t *plane, size_t height, size_t width, uint8_t fill, uint8_t *to)
{
    const size_t stride = width + 2 * BORDER;
    memset(to, fill, (height + 2 * BORDER) * stride);
    for (size_t r = 0; r < height; r++)
        memcpy(to + (r + BORDER) * stride + BORDER, plane + r * width, width);
}

static dn_grid grid_of(const dn_warp *warp, int height, int width)
{
    const int whole = warp->is_perspective;
    dn_grid grid = {.height = height,
                    .width = width,
                    .left = whole ? 0.5F : (float)(1 - width) / 2,
                    .top = whole ? 0.5F : (float)(1 - height) / 2,
                    .origin = (float)whole};
    for (int i = 0; i < 8; i++) {
        const int side = i < 3 ? width : height;
        grid.m[i] = (float)warp->m[i] / (i < 6 ? (float)side / 2 : 1);
    }
    return grid;
}

/* plane(height, width) = `bordered`, a plane with its border, warped. */
static void warp_plane(const dn_canvas *c, const dn_warp *warp, const uint8_t *bordered,
                       uint8_t *plane)
{
    enum { BLOCK = 256 };
    const int height = c->view.height, width = c->view.width;
    const dn_grid grid = grid_of(warp, height, width);
    float x[BLOCK], y[BLOCK];
    for (int r = 0; r < height; r++)
        for (int first = 0; first < width; first += BLOCK) {
            uint8_t *const to = plane + (size_t)r * (size_t)width + first;
            const size_t count = (size_t)(width - first < BLOCK ? width - first : BLOCK);
            c->kernels->places(&grid, first, r, x, y, count);
            if (warp->sampling.is_bilinear)
                c->kernels->bilinear(bordered, height, width, warp->sampling.fill, x, y, to, count);
            else
                c->kernels->nearest(bordered, width, x, y, to, count);
        }
}

dn_status dn_canvas_warp(dn_canvas *c, const dn_warp *warp)
{
    const size_t height = (size_t)c->view.height, width = (size_t)c->view.width;
    const dn_sampling *const s = &warp->sampling;
    const uint8_t fill = s->is_bilinear || s->fill < 0 ? 0 : (uint8_t)s->fill;
    uint8_t *planes, *bordered;
    DN_TRY(dn_canvas_pixels(c, &planes));
    DN_TRY(dn_canvas_room(c, (height + 2 * BORDER) * (width + 2 * BORDER), &bordered));
    for (int k = 0; k < c->transform->channels; k++, planes += height * width) {
        add_border(planes, height, width, fill, bordered);
        warp_plane(c, warp, bordered, planes);
    }
    return DN_OK;
}

static double radians(double degrees)
{
    return degrees * (DN_PI / 180);
}

/* The inverse of rotation x scale x shears, then the shift. */
dn_status dn_canvas_affine(dn_canvas *canvas, const dn_affine *t, dn_sampling sampling)
{
    dn_warp warp = {.sampling = sampling};
    const double turn = radians(t->angle), shear = radians(t->shear[0]),
                 lean = radians(t->shear[1]);
    const double tan_x = dn_sin(shear) / dn_cos(shear), cos_y = dn_cos(lean);
    const double a = dn_cos(turn - lean) / cos_y, c = dn_sin(turn - lean) / cos_y;
    const double b = -(a * tan_x + dn_sin(turn)), d = dn_cos(turn) - c * tan_x;
    const double inverse[2][2] = {{d / t->scale, -b / t->scale}, {-c / t->scale, a / t->scale}};
    for (int i = 0; i < 2; i++) {
        const double *const row = inverse[i];
        warp.m[3 * i] = row[0];
        warp.m[3 * i + 1] = row[1];
        warp.m[3 * i + 2] = -row[0] * t->shift[0] - row[1] * t->shift[1];
    }
    return dn_canvas_warp(canvas, &warp);
}

/* ---- rotate (torchvision's RandomRotation) and affine (RandomAffine) ---- */

enum { ROTATE_INTERPOLATION = 1 };
enum { DEGREES, TRANSLATE, SCALE, SHEAR, AFFINE_INTERPOLATION };
enum { ANGLE, SHIFT_X, SHIFT_Y, ZOOM, SHEAR_X, SHEAR_Y };

static void draw_angle(const dn_transform_step *s, dn_draws *d, double drawn[DN_DRAWN])
{
    drawn[ANGLE] = dn_draw_between(d, s->value[DEGREES]);
}

static dn_status apply_rotate(const dn_transform_step *s, const double drawn[DN_DRAWN],
                              dn_canvas *c)
{
    return dn_canvas_affine(c, &(dn_affine){.angle = -drawn[ANGLE], .scale = 1},
                            dn_sampling_of(s, ROTATE_INTERPOLATION));
}

const dn_transform_row dn_transform_rotate = {
    "rotate",
    "rotate:degrees=D:interpolation=nearest:fill=0\n"
    "      from -D to D, or LEAST-MOST",
    {{"degrees", DN_PARAMETER_AROUND_0, -360, 360, NULL},
     {"interpolation", DN_PARAMETER_METHOD, 0, 1, "nearest"},
     {"fill", DN_PARAMETER_FILL, 0, 255, "0"}},
    .draw = draw_angle,
    .apply = apply_rotate};

static void draw_affine(const dn_transform_step *s, dn_draws *d, double drawn[DN_DRAWN])
{
    const double across = s->value[TRANSLATE][0] * d->width;
    const double down = s->value[TRANSLATE][1] * d->height;
    drawn[ANGLE] = dn_draw_between(d, s->value[DEGREES]);
    drawn[SHIFT_X] = rint(dn_draw_between(d, (double[]){-across, across}));
    drawn[SHIFT_Y] = rint(dn_draw_between(d, (double[]){-down, down}));
    drawn[ZOOM] = dn_draw_between(d, s->value[SCALE]);
    drawn[SHEAR_X] = dn_draw_between(d, s->value[SHEAR]);
    drawn[SHEAR_Y] = dn_draw_between(d, s->value[SHEAR] + 2);
}

static dn_status apply_affine(const dn_transform_step *s, const double drawn[DN_DRAWN],
                              dn_canvas *c)
{
    const dn_affine affine = {.angle = drawn[ANGLE],
                              .shift = {drawn[SHIFT_X], drawn[SHIFT_Y]},
                              .scale = drawn[ZOOM],
                              .shear = {drawn[SHEAR_X], drawn[SHEAR_Y]}};
    return dn_canvas_affine(c, &affine, dn_sampling_of(s, AFFINE_INTERPOLATION));
}

const dn_transform_row dn_transform_affine = {
    "affine",
    "affine:degrees=D:translate=0-0:scale=1-1:shear=0-0-0-0:interpolation=nearest:fill=0\n"
    "      translate: X-Y, fractions of the sides; shear: degrees, along x, then along y",
    {{"degrees", DN_PARAMETER_AROUND_0, -360, 360, NULL},
     {"translate", DN_PARAMETER_PAIR, 0, 1, "0-0"},
     {"scale", DN_PARAMETER_FIXED, 0.01, 100, "1-1"},
     {"shear", DN_PARAMETER_AXES, -89, 89, "0-0-0-0"},
     {"interpolation", DN_PARAMETER_METHOD, 0, 1, "nearest"},
     {"fill", DN_PARAMETER_FILL, 0, 255, "0"}},
    .draw = draw_affine,
    .apply = apply_affine};

/* ---- perspective (torchvision's RandomPerspective) ---- */

enum { DISTORTION, CHANCE, INTERPOLATION };
enum { EQUATIONS = 8 };

/* Solves a(8, 8) m = a's last column by elimination with pivoting; returns 0 if a is singular. */
static int solve(double a[EQUATIONS][EQUATIONS + 1], double m[EQUATIONS])
{
    for (int k = 0; k < EQUATIONS; k++) {
        int best = k;
        for (int i = k + 1; i < EQUATIONS; i++)
            best = fabs(a[i][k]) > fabs(a[best][k]) ? i : best;
        if (!(fabs(a[best][k]) > 1e-9))
            return 0;
        for (int j = 0; j <= EQUATIONS; j++) {
            const double x = a[k][j];
            a[k][j] = a[best][j];
            a[best][j] = x;
        }
        for (int i = 0; i < EQUATIONS; i++) {
            const double factor = i == k ? 0 : a[i][k] / a[k][k];
            for (int j = k; j <= EQUATIONS && factor != 0; j++)
                a[i][j] -= factor * a[k][j];
        }
    }
    for (int k = 0; k < EQUATIONS; k++)
        m[k] = a[k][EQUATIONS] / a[k][k];
    return 1;
}

/* The transform that moves the image's corners to those in `drawn`, (x, y) clockwise from the top
 * left. Returns 0 if the image is too narrow for that. */
static int perspective(const double *drawn, int height, int width, double m[8])
{
    const double right = width - 1, bottom = height - 1;
    const double corners[4][2] = {{0, 0}, {right, 0}, {right, bottom}, {0, bottom}};
    double a[EQUATIONS][EQUATIONS + 1] = {{0}};
    for (int i = 0; i < EQUATIONS; i++) {
        const double x = drawn[i / 2 * 2], y = drawn[i / 2 * 2 + 1], from = corners[i / 2][i % 2];
        double *const row = a[i];
        row[3 * (i % 2)] = x;
        row[3 * (i % 2) + 1] = y;
        row[3 * (i % 2) + 2] = 1;
        row[6] = -from * x;
        row[7] = -from * y;
        row[EQUATIONS] = from;
    }
    return solve(a, m);
}

static void draw_perspective(const dn_transform_step *s, dn_draws *d, double drawn[DN_DRAWN])
{
    const int down = (int)(s->value[DISTORTION][0] * (d->height / 2)) + 1;
    const int across = (int)(s->value[DISTORTION][0] * (d->width / 2)) + 1;
    for (int i = 0; i < 4; i++) {
        drawn[2 * i] = dn_draw_below(d, across) + (i == 1 || i == 2 ? d->width - across : 0);
        drawn[2 * i + 1] = dn_draw_below(d, down) + (i >= 2 ? d->height - down : 0);
    }
    drawn[8] = dn_draw_chance(d, s->value[CHANCE][0]);
}

static dn_status apply_perspective(const dn_transform_step *s, const double drawn[DN_DRAWN],
                                   dn_canvas *c)
{
    dn_warp warp = {.is_perspective = 1, .sampling = dn_sampling_of(s, INTERPOLATION)};
    if (drawn[8] == 0 || !perspective(drawn, c->view.height, c->view.width, warp.m))
        return DN_OK;
    return dn_canvas_warp(c, &warp);
}

const dn_transform_row dn_transform_perspective = {
    "perspective",
    "perspective:distortion_scale=0.5:p=0.5:interpolation=bilinear:fill=0",
    {{"distortion_scale", DN_PARAMETER_REAL, 0, 1, "0.5"},
     {"p", DN_PARAMETER_REAL, 0, 1, "0.5"},
     {"interpolation", DN_PARAMETER_METHOD, 0, 1, "bilinear"},
     {"fill", DN_PARAMETER_FILL, 0, 255, "0"}},
    .draw = draw_perspective,
    .apply = apply_perspective};
