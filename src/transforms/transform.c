/* The table of steps, and their application to an image; see include/dn/transform.h. To add a step,
 * write a row in a file of this folder, declare it in step.h, and add a line to this table. */
#include "dn/transform.h"

#include <math.h>
#include <string.h>

#include "dn/rng.h"
#include "transforms/step.h"

static const dn_transform_row *const rows[] = {
    &dn_transform_random_resized_crop,
    &dn_transform_resize,
    &dn_transform_center_crop,
    &dn_transform_ten_crop,
    &dn_transform_pad_crop,
    &dn_transform_hflip,
    &dn_transform_vflip,
    &dn_transform_rotate,
    &dn_transform_affine,
    &dn_transform_perspective,
    &dn_transform_gaussian_blur,
    &dn_transform_color_jitter,
    &dn_transform_grayscale,
    &dn_transform_random_erasing,
    &dn_transform_trivial_augment,
    &dn_transform_rand_augment,
};

enum { ROWS = sizeof rows / sizeof *rows };

const dn_transform_row *dn_transform_row_get(int index)
{
    return index < ROWS ? rows[index] : NULL;
}

const char *dn_transform_usage(int index)
{
    return index < ROWS ? rows[index]->usage : NULL;
}

/* ---- draws ---- */

static uint32_t draw_word(dn_draws *d)
{
    const dn_random4 four =
        dn_random(d->seed, DN_STREAM_AUGMENT, d->epoch + (d->next / 4 << 32), d->position);
    return four.word[d->next++ % 4];
}

int dn_draw_below(dn_draws *d, int bound)
{
    return (int)dn_random_below(draw_word(d), (uint32_t)bound);
}

double dn_draw_between(dn_draws *d, const double range[2])
{
    return range[0] + (range[1] - range[0]) * (double)draw_word(d) * 0x1p-32;
}

int dn_draw_chance(dn_draws *d, double p)
{
    return (double)draw_word(d) * 0x1p-32 >= 1 - p;
}

void dn_transform_draw_chance(const dn_transform_step *s, dn_draws *d, double drawn[DN_DRAWN])
{
    drawn[0] = dn_draw_chance(d, s->value[0][0]);
}

/* ---- transforming an image ---- */

dn_draws dn_draws_of(const dn_transform *t, const dn_request *request)
{
    return (dn_draws){.seed = t->seed,
                      .epoch = (uint64_t)request->epoch,
                      .position = (uint64_t)request->position};
}

dn_status dn_canvas_step(dn_canvas *c, int index, dn_draws *draws, double drawn[DN_DRAWN])
{
    const dn_transform_step *const step = &c->transform->step[index];
    memset(drawn, 0, DN_DRAWN * sizeof *drawn);
    draws->height = c->view.height;
    draws->width = c->view.width;
    if (step->row->draw)
        step->row->draw(step, draws, drawn);
    return step->row->apply(step, drawn, c);
}

/* As resize and center-crop to a square: scales the image to cover the size, and takes the centre.
 */
static dn_status fit(dn_canvas *c, int height, int width)
{
    const int h = c->view.height, w = c->view.width;
    const int is_wider = (int64_t)w * height > (int64_t)width * h;
    const int covering_height = is_wider ? height : (int)((double)width * h / w);
    const int covering_width = is_wider ? (int)((double)height * w / h) : width;
    if (h == height && w == width)
        return DN_OK;
    DN_TRY(dn_canvas_resize(c, covering_height, covering_width));
    return dn_canvas_crop(c, (int)lrint((covering_height - height) / 2.0),
                          (int)lrint((covering_width - width) / 2.0), height, width);
}

static dn_status run(dn_canvas *c, const dn_request *request, float *to)
{
    dn_draws draws = dn_draws_of(c->transform, request);
    double drawn[DN_DRAWN];
    if (c->transform->fit_height > 0)
        DN_TRY(fit(c, c->transform->fit_height, c->transform->fit_width));
    for (int i = 0; i < c->transform->steps; i++)
        DN_TRY(dn_canvas_step(c, i, &draws, drawn));
    return dn_canvas_finish(c, to);
}

dn_status dn_transform_pixels(const dn_transform *t, const dn_request *request,
                              const uint8_t *pixels, int height, int width,
                              dn_transform_memory *memory, float *to)
{
    dn_canvas c = dn_canvas_of_pixels(t, pixels, height, width, memory);
    return run(&c, request, to);
}

uint8_t dn_transform_byte(const dn_transform *t, int channel, float x)
{
    const float *const value = t->value[channel]; /* linear */
    const float byte = 255 * (x - value[0]) / (value[255] - value[0]);
    return (uint8_t)lrintf(fminf(fmaxf(byte, 0), 255));
}

dn_status dn_transform_encoded(const dn_transform *t, const dn_request *request,
                               const dn_encoded *file, dn_transform_memory *memory, float *to)
{
    dn_canvas c;
    DN_TRY(dn_canvas_of_file(&c, t, file, memory));
    return run(&c, request, to);
}
