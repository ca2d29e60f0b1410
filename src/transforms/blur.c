/* gaussian-blur (torchvision's GaussianBlur), with the image mirrored at its edges. */
#include "transforms/step.h"

#include <string.h>

#include "dn/math.h"

enum { KERNEL_SIZE, SIGMA };
enum { MOST_TAPS = 255 };

static void gaussian(double sigma, int taps, float weight[MOST_TAPS])
{
    double pdf[MOST_TAPS], sum = 0;
    for (int i = 0; i < taps; i++) {
        const double x = (i - taps / 2) / sigma;
        pdf[i] = dn_exp(x * x < 1400 ? -x * x / 2 : -700);
        sum += pdf[i];
    }
    for (int i = 0; i < taps; i++)
        weight[i] = (float)(pdf[i] / sum);
}

/* Maps x, which may be outside [0, size), to a pixel: mirrored, without repeating the edge. */
static int mirrored(int x, int size)
{
    const int period = size > 1 ? 2 * (size - 1) : 1;
    const int at = (x % period + period) % period;
    return at < size ? at : period - at;
}

/* to(height, width) = a blurred plane; row(width + 2 half) and sum(width) are working memory. */
static void blur_plane(const dn_canvas *c, const float *weight, int half, const uint8_t *plane,
                       float *row, float *sum, uint8_t *to)
{
    const int height = c->view.height, width = c->view.width;
    for (int y = 0; y < height; y++, to += width) {
        memset(row, 0, (size_t)(width + 2 * half) * sizeof *row);
        memset(sum, 0, (size_t)width * sizeof *sum);
        for (int t = -half; t <= half; t++)
            c->kernels->add_bytes(plane + (size_t)mirrored(y + t, height) * (size_t)width,
                                  weight[half + t], row + half, (size_t)width);
        for (int x = 0; x < half; x++) {
            row[x] = row[half + mirrored(x - half, width)];
            row[half + width + x] = row[half + mirrored(width + x, width)];
        }
        for (int t = 0; t <= 2 * half; t++)
            c->kernels->add_floats(row + t, weight[t], sum, (size_t)width);
        c->kernels->round(sum, to, (size_t)width);
    }
}

static void draw_blur(const dn_transform_step *s, dn_draws *d, double drawn[DN_DRAWN])
{
    drawn[0] = dn_draw_between(d, s->value[SIGMA]);
}

static dn_status apply_blur(const dn_transform_step *s, const double drawn[DN_DRAWN], dn_canvas *c)
{
    const int half = (int)s->value[KERNEL_SIZE][0] / 2;
    const size_t plane = dn_canvas_plane(c), width = (size_t)c->view.width;
    const size_t floats = 2 * (width + (size_t)half);
    float weight[MOST_TAPS];
    uint8_t *pixels, *room;
    gaussian(drawn[0], 2 * half + 1, weight);
    DN_TRY(dn_canvas_pixels(c, &pixels));
    DN_TRY(dn_canvas_room(c, (size_t)c->transform->channels * plane, &room));
    DN_TRY(dn_buffer_grow(&c->memory->resizing, floats * sizeof(float)));
    float *const row = (float *)c->memory->resizing.bytes, *const sum = row + width + 2 * half;
    for (size_t k = 0; k < (size_t)c->transform->channels; k++)
        blur_plane(c, weight, half, pixels + k * plane, row, sum, room + k * plane);
    dn_canvas_swap(c);
    return DN_OK;
}

const dn_transform_row dn_transform_gaussian_blur = {
    "gaussian-blur",
    "gaussian-blur:kernel_size=N:sigma=0.1-2\n      N odd; sigma in pixels",
    {{"kernel_size", DN_PARAMETER_ODD, 1, MOST_TAPS, NULL},
     {"sigma", DN_PARAMETER_FIXED, 0.01, 1000, "0.1-2"}},
    .draw = draw_blur,
    .apply = apply_blur};
