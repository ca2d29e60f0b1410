/* The table of a transform's steps, and how their views are sampled; see include/dn/transform.h. */
#include "dn/transform.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dn/math.h"
#include "dn/rng.h"

/* ---- what is drawn ---- */

/* The words of one image, in the order in which its steps ask for them. */
typedef struct draws {
    uint64_t seed, epoch, position;
    uint64_t next;
} draws;

static uint32_t draw_word(draws *d)
{
    const dn_random4 four =
        dn_random(d->seed, DN_STREAM_AUGMENT, d->epoch + (d->next / 4 << 32), d->position);
    return four.word[d->next++ % 4];
}

static int draw_below(draws *d, int bound)
{
    return (int)dn_random_below(draw_word(d), (uint32_t)bound);
}

/* In [low, high). */
static double draw_between(draws *d, double low, double high)
{
    return low + (high - low) * (double)draw_word(d) * 0x1p-32;
}

/* ---- views ---- */

/* What the steps so far show of the stored image. */
typedef struct view {
    dn_box box;    /* of the stored image: what becomes height x width pixels */
    dn_box bounds; /* what may count for them: the image that was resized last */
    int height, width;
    int top, left; /* pixel (r, c) comes from (r + top, c + left) of that, 0 outside */
    int flip;      /* then mirrored */
} view;

static void crop_view(view *v, int top, int left, int height, int width)
{
    const double down = v->box.height / v->height, across = v->box.width / v->width;
    const int from_left = v->flip ? v->width - left - width : left;
    v->box = (dn_box){v->box.left + from_left * across, v->box.top + top * down, width * across,
                      height * down};
    v->height = height;
    v->width = width;
}

static void resize_view(view *v, int height, int width)
{
    v->bounds = v->box;
    v->height = height;
    v->width = width;
}

/* The shorter side becomes `side`, the other in proportion. */
static void resize_side(int *height, int *width, int side)
{
    const int h = *height, w = *width;
    *height = h < w ? side : (int)((double)side * h / w);
    *width = w <= h ? side : (int)((double)side * w / h);
}

/* ---- the steps ---- */

/* torchvision's RandomResizedCrop: values are size, least and greatest part of the area; the aspect
 * ratio is between 3/4 and 4/3. */
static void random_resized_crop(const dn_transform_step *s, draws *d, view *v)
{
    enum { TRIES = 10 };
    const double area = (double)v->height * v->width, log_ratio = dn_log(4.0 / 3);
    int height = v->height < v->width ? v->height : v->width, width = height;
    int top = (v->height - height) / 2, left = (v->width - width) / 2;
    for (int i = 0; i < TRIES; i++) {
        const double part = area * draw_between(d, s->value[1], s->value[2]);
        const double ratio = dn_exp(draw_between(d, -log_ratio, log_ratio));
        const int w = (int)lrint(sqrt(part * ratio)), h = (int)lrint(sqrt(part / ratio));
        if (w < 1 || h < 1 || w > v->width || h > v->height)
            continue;
        height = h;
        width = w;
        top = draw_below(d, v->height - h + 1);
        left = draw_below(d, v->width - w + 1);
        break;
    }
    crop_view(v, top, left, height, width);
    resize_view(v, (int)s->value[0], (int)s->value[0]);
}

static void square(const dn_transform_step *s, int *height, int *width)
{
    *height = *width = (int)s->value[0];
}

static void resize(const dn_transform_step *s, draws *d, view *v)
{
    int height = v->height, width = v->width;
    (void)d;
    resize_side(&height, &width, (int)s->value[0]);
    resize_view(v, height, width);
}

static void resized(const dn_transform_step *s, int *height, int *width)
{
    if (*height > 0 && *width > 0)
        resize_side(height, width, (int)s->value[0]);
}

static void center_crop(const dn_transform_step *s, draws *d, view *v)
{
    const int side = (int)s->value[0];
    (void)d;
    crop_view(v, (int)lrint((v->height - side) / 2.0), (int)lrint((v->width - side) / 2.0), side,
              side);
}

/* Crop `value[1]` of ten (Krizhevsky, Sutskever, Hinton 2012): the corners, the centre, then the
 * same mirrored. */
static void ten_crop(const dn_transform_step *s, draws *d, view *v)
{
    const int side = (int)s->value[0], index = (int)s->value[1], place = index % 5;
    if (place == 4)
        center_crop(s, d, v);
    else
        crop_view(v, place / 2 * (v->height - side), place % 2 * (v->width - side), side, side);
    v->flip ^= index >= 5;
}

/* A crop of the image's size from one with a border (He et al. 2016). */
static void pad_crop(const dn_transform_step *s, draws *d, view *v)
{
    const int pad = (int)s->value[0];
    v->top = draw_below(d, 2 * pad + 1) - pad;
    v->left = draw_below(d, 2 * pad + 1) - pad;
    v->left = v->flip ? -v->left : v->left;
}

static void hflip(const dn_transform_step *s, draws *d, view *v)
{
    (void)s;
    v->flip ^= (int)(draw_word(d) >> 31);
}

static void same(const dn_transform_step *s, int *height, int *width)
{
    (void)s, (void)height, (void)width;
}

/* A step: "name:value:value", of which the first `required` have to be given. */
typedef struct step_row {
    const char *name, *usage;
    int required, values;
    double initial[DN_STEP_VALUES], least[DN_STEP_VALUES], most[DN_STEP_VALUES];
    void (*draw)(const dn_transform_step *step, draws *d, view *v);
    /* The sizes after the step, 0 where they differ from image to image. */
    void (*size)(const dn_transform_step *step, int *height, int *width);
} step_row;

static const step_row rows[] = {
    {"random-resized-crop",
     "random-resized-crop:SIZE[:LEAST[:MOST]]   parts of the area [0.08, 1]",
     1,
     3,
     {0, 0.08, 1},
     {1, 1e-6, 1e-6},
     {4096, 1, 1},
     random_resized_crop,
     square},
    {"resize",
     "resize:SIZE                 the shorter side",
     1,
     1,
     {0},
     {1},
     {4096},
     resize,
     resized},
    {"center-crop", "center-crop:SIZE", 1, 1, {0}, {1}, {4096}, center_crop, square},
    {"ten-crop",
     "ten-crop:SIZE:N             the Nth of eval's --crops 10",
     2,
     2,
     {0},
     {1, 0},
     {4096, 9},
     ten_crop,
     square},
    {"pad-crop",
     "pad-crop[:PAD]              a crop of the same size, from a border of zeros [4]",
     0,
     1,
     {4},
     {1},
     {1024},
     pad_crop,
     same},
    {"hflip", "hflip                       mirrored or not", 0, 0, {0}, {0}, {0}, hflip, same},
};

enum { ROWS = sizeof rows / sizeof *rows };

const char *dn_transform_usage(int index)
{
    return index < ROWS ? rows[index].usage : NULL;
}

/* ---- the list ---- */

static dn_status unknown_step(const char *name, int length)
{
    char names[256];
    int used = 0;
    for (int i = 0; i < ROWS; i++)
        used += snprintf(names + used, sizeof names - (size_t)used, "%s%s", i ? ", " : "",
                         rows[i].name);
    return dn_fail(DN_EINVAL, "found the step '%.*s', expected one of %s", length, name, names);
}

/* The values behind the step's name, up to `end`. */
static dn_status parse_values(dn_transform_step *step, const char *at, const char *end)
{
    const step_row *const row = &rows[step->row];
    int count = 0;
    for (; *at == ':' && at < end && count < row->values; count++) {
        char *behind;
        const double x = strtod(at + 1, &behind), low = row->least[count], high = row->most[count];
        DN_CHECK(behind > at + 1 && x >= low && x <= high && (count > 0 || x == floor(x)),
                 DN_EINVAL, "found '%.*s' in %s, expected a number from %g to %g",
                 (int)(end - at - 1), at + 1, row->name, low, high);
        step->value[count] = x;
        at = behind;
    }
    DN_CHECK(at == end && count >= row->required, DN_EINVAL,
             "found %d values and '%.*s' in %s, expected %d to %d values", count, (int)(end - at),
             at, row->name, row->required, row->values);
    return DN_OK;
}

static dn_status parse_step(dn_transform *t, const char *at, const char *end)
{
    const int length = (int)strcspn(at, ":,");
    dn_transform_step *const step = &t->step[t->steps];
    DN_CHECK(t->steps < DN_TRANSFORM_STEPS, DN_EINVAL, "found more than %d steps",
             DN_TRANSFORM_STEPS);
    for (step->row = 0; step->row < ROWS; step->row++)
        if ((int)strlen(rows[step->row].name) == length &&
            memcmp(rows[step->row].name, at, (size_t)length) == 0)
            break;
    if (step->row == ROWS)
        return unknown_step(at, length);
    memcpy(step->value, rows[step->row].initial, sizeof step->value);
    t->steps++;
    return parse_values(step, at + length, end);
}

/* The order of the steps makes sense; finds the size of what they result in. */
static dn_status check_steps(dn_transform *t, const dn_shard_info *info)
{
    int height = info->height, width = info->width, padded = 0;
    int least = height < width ? height : width; /* the shorter side has at least so many */
    for (int i = 0; i < t->steps; i++) {
        const dn_transform_step *const step = &t->step[i];
        const step_row *const row = &rows[step->row];
        DN_CHECK(!padded || row->size == same, DN_EINVAL,
                 "found %s behind pad-crop, expected it before", row->name);
        const int is_crop = row->draw == center_crop || row->draw == ten_crop;
        DN_CHECK(!is_crop || step->value[0] <= least, DN_EINVAL,
                 "%s:%g: found images of %d or more pixels a side, expected at least %g; "
                 "resize them before",
                 row->name, step->value[0], least, step->value[0]);
        padded |= row->draw == pad_crop;
        row->size(step, &height, &width);
        least = row->size == same ? least : (int)step->value[0];
    }
    DN_CHECK(height > 0 && width > 0, DN_EINVAL,
             "found images of several sizes, expected steps that make one of them, such as "
             "random-resized-crop:224");
    t->height = height;
    t->width = width;
    return DN_OK;
}

dn_status dn_transform_parse(dn_transform *t, const dn_shard_info *info, const char *list,
                             uint64_t seed)
{
    *t = (dn_transform){.channels = info->channels, .seed = seed};
    for (int c = 0; c < info->channels; c++)
        for (int v = 0; v < 256; v++)
            t->value[c][v] = ((float)v / 255 - (float)info->mean[c]) / (float)info->std[c];
    const char *at = strcmp(list, "none") == 0 ? "" : list;
    while (*at != '\0') {
        const char *const end = at + strcspn(at, ",");
        DN_TRY(parse_step(t, at, end));
        DN_CHECK(*end == '\0' || end[1] != '\0', DN_EINVAL, "found a comma at the end of '%s'",
                 list);
        at = *end == ',' ? end + 1 : end;
    }
    return check_steps(t, info);
}

/* ---- pixels ---- */

void dn_workspace_free(dn_workspace *w)
{
    dn_buffer_free(&w->file);
    dn_buffer_free(&w->planes);
    dn_buffer_free(&w->resizing);
    dn_buffer_free(&w->pixels.rgb);
}

static view draw_view(const dn_transform *t, const dn_request *request, int height, int width)
{
    const dn_box whole = {0, 0, width, height};
    view v = {.box = whole, .bounds = whole, .height = height, .width = width};
    draws d = {.seed = t->seed,
               .epoch = (uint64_t)request->epoch,
               .position = (uint64_t)request->position};
    for (int i = 0; i < t->steps; i++)
        rows[t->step[i].row].draw(&t->step[i], &d, &v);
    return v;
}

static int clamp(int x, int most)
{
    const int low = x < most ? x : most;
    return low < 0 ? 0 : low;
}

/* One row of a channel. Column c comes from c + left, mirrored where flip: the columns [first,
 * last) from inside the row. */
static void normalise_row(const uint8_t *from, int width, const view *v, const float value[256],
                          float *to)
{
    const int shift = v->flip ? -v->left : v->left, step = v->flip ? -1 : 1;
    const int first = clamp(-shift, width), last = clamp(width - shift, width);
    int x = (v->flip ? width - 1 - first : first) + v->left;
    memset(to, 0, (size_t)first * sizeof *to);
    for (int c = first; c < last; c++, x += step)
        to[c] = value[from[x]];
    memset(to + last, 0, (size_t)(width - last) * sizeof *to);
}

/* to(channels, height, width) from planes of that shape. */
static void normalise(const dn_transform *t, const view *v, const uint8_t *planes, float *to)
{
    const size_t width = (size_t)t->width;
    for (int c = 0; c < t->channels; c++, planes += (size_t)t->height * width)
        for (int r = 0; r < t->height; r++, to += width) {
            const int y = r + v->top;
            if (y >= 0 && y < t->height)
                normalise_row(planes + (size_t)y * width, t->width, v, t->value[c], to);
            else
                memset(to, 0, width * sizeof *to);
        }
}

static size_t planes_bytes(const dn_transform *t)
{
    return (size_t)t->channels * (size_t)t->height * (size_t)t->width;
}

dn_status dn_transform_pixels(const dn_transform *t, const dn_request *request,
                              const uint8_t *pixels, int height, int width, dn_workspace *w,
                              float *to)
{
    const view v = draw_view(t, request, height, width);
    const size_t stored = (size_t)height * (size_t)width,
                 plane = (size_t)t->height * (size_t)t->width;
    if (v.box.width == width && v.box.height == height && v.width == width && v.height == height) {
        normalise(t, &v, pixels, to);
        return DN_OK;
    }
    DN_TRY(dn_buffer_grow(&w->planes, planes_bytes(t)));
    for (size_t c = 0; c < (size_t)t->channels; c++)
        DN_TRY(dn_resize(&w->resizing, &(dn_raster){pixels + c * stored, height, width, 1}, &v.box,
                         &v.bounds, v.height, v.width, w->planes.bytes + c * plane));
    normalise(t, &v, w->planes.bytes, to);
    return DN_OK;
}

/* The box and as much around it as the filter reaches, within the bounds. */
static dn_box reach(const view *v)
{
    const double down = fmax(v->box.height / v->height, 1) + 1;
    const double across = fmax(v->box.width / v->width, 1) + 1;
    const double top = fmax(v->box.top - down, v->bounds.top);
    const double left = fmax(v->box.left - across, v->bounds.left);
    const double bottom = fmin(v->box.top + v->box.height + down, v->bounds.top + v->bounds.height);
    const double right =
        fmin(v->box.left + v->box.width + across, v->bounds.left + v->bounds.width);
    return (dn_box){left, top, right - left, bottom - top};
}

dn_status dn_transform_encoded(const dn_transform *t, const dn_request *request,
                               const dn_encoded *file, dn_workspace *w, float *to)
{
    dn_image_info info;
    DN_TRY(dn_image_probe(file, &info));
    const view v = draw_view(t, request, info.height, info.width);
    const dn_box asked = reach(&v);
    dn_box got = asked;
    DN_TRY(dn_buffer_grow(&w->planes, planes_bytes(t)));
    DN_TRY(dn_image_decode(file, &got, fmin(v.box.height / v.height, v.box.width / v.width),
                           &w->pixels));
    const double down = got.height / asked.height, across = got.width / asked.width;
    const dn_box box = {got.left + (v.box.left - asked.left) * across,
                        got.top + (v.box.top - asked.top) * down, v.box.width * across,
                        v.box.height * down};
    const dn_raster from = {w->pixels.rgb.bytes, w->pixels.height, w->pixels.width, 3};
    DN_TRY(dn_resize(&w->resizing, &from, &box, &got, v.height, v.width, w->planes.bytes));
    normalise(t, &v, w->planes.bytes, to);
    return DN_OK;
}
