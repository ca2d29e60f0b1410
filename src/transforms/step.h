/*
 * The steps of a transform (include/dn/transform.h).
 *
 * A kind of step is a row in a file of this folder and a line in the table of transform.c. First
 * its `draw` draws numbers, which may depend only on the step's parameters and the size of the
 * image. Then its `apply` changes the image accordingly: it moves the canvas's view, which is free
 * until pixels are needed; or it gets the pixels and computes; or it records what to erase from the
 * normalised image.
 */
#ifndef DN_TRANSFORMS_STEP_H
#define DN_TRANSFORMS_STEP_H

#include "dn/transform.h"
#include "transforms/pixel_kernels.h"

/* ---- what is drawn ---- */

/* The random words of an image, in the order in which its steps draw them. */
typedef struct dn_draws {
    uint64_t seed, epoch, position;
    uint64_t next;
    int height, width; /* of the image before the present step */
} dn_draws;

int dn_draw_below(dn_draws *draws, int bound);                  /* in [0, bound) */
double dn_draw_between(dn_draws *draws, const double range[2]); /* in [LEAST, MOST) */
int dn_draw_chance(dn_draws *draws, double p);                  /* 1 with probability p */

/* ---- the canvas ---- */

/* The view of the canvas's source after the steps so far. */
typedef struct dn_pixel_view {
    dn_box box;    /* in the source: resized to height x width pixels */
    dn_box bounds; /* what may contribute: the resized image, in whole pixels */
    int height, width;
    int top, left;    /* then pixel (r, c) is taken from (r + top, c + left), `fill` outside */
    int fill;         /* value of a pixel; -1: what normalisation maps to 0 */
    int hflip, vflip; /* then 1: mirrored */
} dn_pixel_view;

/* A rectangle of the net's input that is set to `value`. */
typedef struct dn_erasure {
    int top, left, height, width;
    float value;
} dn_erasure;

/* An image on its way through the steps. */
typedef struct dn_canvas {
    const dn_transform *transform;
    dn_transform_memory *memory;
    const dn_pixel_kernels *kernels;
    const dn_encoded *file; /* the source: a file or, if that is NULL, ... */
    const uint8_t *planes;  /* ... planes(channels, height, width) */
    const char *name;       /* of the image, for messages */
    int height, width;      /* of the source */
    dn_pixel_view view;
    dn_erasure erased[DN_TRANSFORM_STEPS];
    int erasures;
} dn_canvas;

/* A canvas of all of pixels(channels, height, width) as stored, or of a file. The pixels, the
 * memory and the transform must outlive the canvas, which owns nothing. Errors of the latter: as
 * dn_image_probe. */
dn_canvas dn_canvas_of_pixels(const dn_transform *transform, const uint8_t *pixels, int height,
                              int width, dn_transform_memory *memory);
dn_status dn_canvas_of_file(dn_canvas *canvas, const dn_transform *transform,
                            const dn_encoded *file, dn_transform_memory *memory);

/* Move the view: crop it at (top, left), resize it, or shift it with `fill` around. An earlier
 * resize or shift may have to be computed first. Errors: as dn_canvas_pixels. */
dn_status dn_canvas_crop(dn_canvas *canvas, int top, int left, int height, int width);
dn_status dn_canvas_resize(dn_canvas *canvas, int height, int width);
dn_status dn_canvas_shift(dn_canvas *canvas, int top, int left, int fill);

/* *planes(channels, view.height, view.width) = the view's pixels, which may be modified. Errors:
 * DN_EINVAL (more than DN_IMAGE_PIXELS, as after resizing a very long image); as dn_image_decode.
 */
dn_status dn_canvas_pixels(dn_canvas *canvas, uint8_t **planes);

/* After dn_canvas_pixels: *room = `bytes` of memory; and dn_canvas_swap, which makes it the
 * canvas's pixels. Errors: DN_ENOMEM. */
dn_status dn_canvas_room(dn_canvas *canvas, size_t bytes, uint8_t **room);
void dn_canvas_swap(dn_canvas *canvas);

/* to(channels, height, width) = the view, normalised and then erased. */
dn_status dn_canvas_finish(dn_canvas *canvas, float *to);

static inline size_t dn_canvas_plane(const dn_canvas *canvas)
{
    return (size_t)canvas->view.height * (size_t)canvas->view.width;
}

/* ---- rows ---- */

/* How "X" or "X-Y..." sets a parameter's values. */
typedef enum dn_parameter_kind {
    DN_PARAMETER_REAL,     /* X */
    DN_PARAMETER_WHOLE,    /* X */
    DN_PARAMETER_ODD,      /* X */
    DN_PARAMETER_LEAST,    /* LEAST[-MOST]; also LEAST:MOST, if unnamed */
    DN_PARAMETER_FIXED,    /* LEAST-MOST; X: X-X */
    DN_PARAMETER_AROUND_0, /* LEAST-MOST; X: -X to X */
    DN_PARAMETER_AXES,     /* the same, or LEAST-MOST-LEAST-MOST: along x and along y */
    DN_PARAMETER_AROUND_1, /* LEAST-MOST; X: 1 - X, at least 0, to 1 + X */
    DN_PARAMETER_PAIR,     /* X-Y; X: X-X */
    DN_PARAMETER_FILL,     /* X; none: -1 */
    DN_PARAMETER_METHOD    /* nearest: 0, or bilinear: 1 */
} dn_parameter_kind;

typedef struct dn_parameter {
    const char *name;
    dn_parameter_kind kind;
    double least, most;  /* of each value */
    const char *initial; /* default, as it would be written; NULL: required */
} dn_parameter;

enum { DN_DRAWN = 12 }; /* most numbers drawn by a step */

typedef struct dn_transform_row {
    const char *name, *usage; /* usage: name:parameter=initial..., and optionally lines about it */
    dn_parameter parameters[DN_STEP_PARAMETERS + 1]; /* value[i] of a step is parameter i's */
    /* Computes the size after the step, 0 if it differs between images; NULL: unchanged. */
    void (*size)(const dn_transform_step *step, int *height, int *width);
    /* NULL: nothing is drawn. */
    void (*draw)(const dn_transform_step *step, dn_draws *draws, double drawn[DN_DRAWN]);
    dn_status (*apply)(const dn_transform_step *step, const double drawn[DN_DRAWN],
                       dn_canvas *canvas);
    int is_crop; /* 1: crops a square from the image; its side is the first parameter */
    int is_last; /* 1: changes the net's input; only such steps may follow it */
} dn_transform_row;

extern const dn_transform_row dn_transform_random_resized_crop, dn_transform_resize,
    dn_transform_center_crop, dn_transform_ten_crop, dn_transform_pad_crop, dn_transform_hflip,
    dn_transform_vflip, dn_transform_rotate, dn_transform_affine, dn_transform_perspective,
    dn_transform_gaussian_blur, dn_transform_color_jitter, dn_transform_grayscale,
    dn_transform_random_erasing, dn_transform_trivial_augment, dn_transform_rand_augment;

/* Row `index`; NULL past the last. */
const dn_transform_row *dn_transform_row_get(int index);

/* The draws for the image of the request, before its first. */
dn_draws dn_draws_of(const dn_transform *transform, const dn_request *request);

/* Draws for step `index` of the transform, and applies it. */
dn_status dn_canvas_step(dn_canvas *canvas, int index, dn_draws *draws, double drawn[DN_DRAWN]);

/* Sides of a box with log-uniform aspect ratio and uniform fraction of the area, for
 * random-resized-crop and random-erasing: width / height is within `ratio`; `scale` and `ratio` are
 * the values of two parameters. */
void dn_draw_sides(dn_draws *draws, const double scale[2], const double ratio[2], int *width,
                   int *height);

/* ---- shared by several steps ---- */

/* A `draw`: drawn[0] = 1 with the first parameter's probability. */
void dn_transform_draw_chance(const dn_transform_step *step, dn_draws *draws,
                              double drawn[DN_DRAWN]);

/* color.c; factors as in torchvision's adjust_*. Saturation leaves grey images unchanged. */
dn_status dn_adjust_brightness(dn_canvas *canvas, double factor);
dn_status dn_adjust_contrast(dn_canvas *canvas, double factor);
dn_status dn_adjust_saturation(dn_canvas *canvas, double factor);

/* How warps sample. */
typedef struct dn_sampling {
    int is_bilinear;
    int fill; /* -1: 0, without torchvision's blending with it */
} dn_sampling;

/* That of a step whose parameters are, from `first` on, interpolation and fill. */
static inline dn_sampling dn_sampling_of(const dn_transform_step *step, int first)
{
    return (dn_sampling){(int)step->value[first][0], (int)step->value[first + 1][0]};
}

/* warp.c. Pixel (x, y) is taken from (m[0] x + m[1] y + m[2], m[3] x + m[4] y + m[5]) / (m[6] x +
 * m[7] y + 1), both relative to the image's centre or, for a perspective, its upper left corner. */
typedef struct dn_warp {
    double m[8];
    int is_perspective;
    dn_sampling sampling;
} dn_warp;

dn_status dn_canvas_warp(dn_canvas *canvas, const dn_warp *warp);

/* torchvision's affine: rotation and shears in degrees, a shift in pixels. */
typedef struct dn_affine {
    double angle, shift[2], scale, shear[2];
} dn_affine;

dn_status dn_canvas_affine(dn_canvas *canvas, const dn_affine *affine, dn_sampling sampling);

#endif
