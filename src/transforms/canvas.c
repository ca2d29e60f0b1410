/* An image between steps: a view that moves over its source and is sampled when pixels are needed;
 * see transforms/step.h. */
#include "transforms/step.h"

#include <math.h>
#include <string.h>

void dn_transform_memory_free(dn_transform_memory *memory)
{
    dn_buffer_free(&memory->file);
    dn_buffer_free(&memory->planes);
    dn_buffer_free(&memory->spare);
    dn_buffer_free(&memory->resizing);
    dn_buffer_free(&memory->pixels.rgb);
}

/* ---- the view ---- */

static dn_pixel_view view_of_all(int height, int width)
{
    const dn_box whole = {0, 0, width, height};
    return (dn_pixel_view){
        .box = whole, .bounds = whole, .height = height, .width = width, .fill = -1};
}

static dn_canvas canvas_of(const dn_transform *transform, int height, int width,
                           dn_transform_memory *memory)
{
    return (dn_canvas){.transform = transform,
                       .memory = memory,
                       .kernels = transform->kernels,
                       .height = height,
                       .width = width,
                       .view = view_of_all(height, width)};
}

dn_canvas dn_canvas_of_pixels(const dn_transform *transform, const uint8_t *pixels, int height,
                              int width, dn_transform_memory *memory)
{
    dn_canvas c = canvas_of(transform, height, width, memory);
    c.planes = pixels;
    c.name = "pixels";
    return c;
}

dn_status dn_canvas_of_file(dn_canvas *c, const dn_transform *transform, const dn_encoded *file,
                            dn_transform_memory *memory)
{
    dn_image_info info;
    DN_TRY(dn_image_probe(file, &info));
    *c = canvas_of(transform, info.height, info.width, memory);
    c->file = file;
    c->name = file->name;
    return DN_OK;
}

static int is_shifted(const dn_pixel_view *v)
{
    return v->top != 0 || v->left != 0;
}

static int is_resized(const dn_pixel_view *v)
{
    return v->height != v->box.height || v->width != v->box.width;
}

static dn_status settle(dn_canvas *c, int is_needed)
{
    uint8_t *pixels;
    return is_needed ? dn_canvas_pixels(c, &pixels) : DN_OK;
}

/* To later steps, pixels that a shift brought in from outside are ordinary ones. */
dn_status dn_canvas_crop(dn_canvas *c, int top, int left, int height, int width)
{
    dn_pixel_view *const v = &c->view;
    DN_TRY(settle(c, is_shifted(v)));
    const double down = v->box.height / v->height, across = v->box.width / v->width;
    const int from_top = v->vflip ? v->height - top - height : top;
    const int from_left = v->hflip ? v->width - left - width : left;
    v->box = (dn_box){v->box.left + from_left * across, v->box.top + from_top * down,
                      width * across, height * down};
    v->height = height;
    v->width = width;
    return DN_OK;
}

/* A second resize applies to the pixels of the first: its blur is kept, and fractional edges do not
 * bound it. */
dn_status dn_canvas_resize(dn_canvas *c, int height, int width)
{
    DN_TRY(settle(c, is_shifted(&c->view) || is_resized(&c->view)));
    c->view.bounds = c->view.box;
    c->view.height = height;
    c->view.width = width;
    return DN_OK;
}

dn_status dn_canvas_shift(dn_canvas *c, int top, int left, int fill)
{
    dn_pixel_view *const v = &c->view;
    DN_TRY(settle(c, is_shifted(v)));
    v->top = v->vflip ? -top : top;
    v->left = v->hflip ? -left : left;
    v->fill = fill;
    return DN_OK;
}

/* ---- sampling ---- */

dn_status dn_canvas_room(dn_canvas *c, size_t bytes, uint8_t **room)
{
    DN_TRY(dn_buffer_grow(&c->memory->spare, bytes));
    *room = c->memory->spare.bytes;
    return DN_OK;
}

void dn_canvas_swap(dn_canvas *c)
{
    const dn_buffer other = c->memory->spare;
    c->memory->spare = c->memory->planes;
    c->memory->planes = other;
    c->planes = other.bytes;
}

/* The box extended by the reach of the filter, within the bounds. */
static dn_box reach(const dn_pixel_view *v)
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

/* to(3, view.height, view.width) = the view, sampled from the part of the file that it needs. */
static dn_status sample_file(dn_canvas *c, uint8_t *to)
{
    const dn_pixel_view *const v = &c->view;
    dn_transform_memory *const memory = c->memory;
    const dn_box asked = reach(v);
    dn_box got = asked;
    DN_TRY(dn_image_decode(c->file, &got, fmin(v->box.height / v->height, v->box.width / v->width),
                           &memory->pixels));
    const double down = got.height / asked.height, across = got.width / asked.width;
    const dn_box box = {got.left + (v->box.left - asked.left) * across,
                        got.top + (v->box.top - asked.top) * down, v->box.width * across,
                        v->box.height * down};
    const dn_raster from = {memory->pixels.rgb.bytes, memory->pixels.height, memory->pixels.width,
                            3};
    return dn_resize(c->kernels, &memory->resizing, &from, &box, &got, v->height, v->width, to);
}

static dn_status sample_planes(dn_canvas *c, uint8_t *to)
{
    const dn_pixel_view *const v = &c->view;
    const dn_box read = reach(v); /* little, if a resize of a long image is followed by a crop */
    const size_t stored = (size_t)c->height * (size_t)c->width;
    for (size_t k = 0; k < (size_t)c->transform->channels; k++)
        DN_TRY(dn_resize(c->kernels, &c->memory->resizing,
                         &(dn_raster){c->planes + k * stored, c->height, c->width, 1}, &v->box,
                         &read, v->height, v->width, to + k * dn_canvas_plane(c)));
    return DN_OK;
}

/* c->planes = the view's pixels before they are shifted and mirrored. */
static dn_status sample(dn_canvas *c)
{
    dn_pixel_view *const v = &c->view;
    uint8_t *to;
    if (!c->file && v->box.width == c->width && v->box.height == c->height &&
        v->width == c->width && v->height == c->height)
        return DN_OK;
    DN_CHECK(dn_canvas_plane(c) <= DN_IMAGE_PIXELS, DN_EINVAL,
             "%s: found %d x %d pixels once it is resized, expected at most %d; crop right after "
             "the resize",
             c->name, v->width, v->height, DN_IMAGE_PIXELS);
    DN_TRY(dn_canvas_room(c, (size_t)c->transform->channels * dn_canvas_plane(c), &to));
    DN_TRY(c->file ? sample_file(c, to) : sample_planes(c, to));
    dn_canvas_swap(c);
    c->file = NULL;
    c->height = v->height;
    c->width = v->width;
    v->box = v->bounds = (dn_box){0, 0, v->width, v->height};
    return DN_OK;
}

/* Columns [first, end) of a row come from inside: from column x on, in steps of `step`. */
typedef struct columns {
    int first, end, x, step;
} columns;

static int clamp(int x, int most)
{
    const int low = x < most ? x : most;
    return low < 0 ? 0 : low;
}

static columns columns_of(const dn_pixel_view *v)
{
    const int shift = v->hflip ? -v->left : v->left;
    const int first = clamp(-shift, v->width);
    return (columns){.first = first,
                     .end = clamp(v->width - shift, v->width),
                     .x = (v->hflip ? v->width - 1 - first : first) + v->left,
                     .step = v->hflip ? -1 : 1};
}

/* The source of row r; outside if not in [0, height). */
static int row_of(const dn_pixel_view *v, int r)
{
    return (v->vflip ? v->height - 1 - r : r) + v->top;
}

/* to(height, width) = a shifted and mirrored plane. */
static void arrange(const dn_pixel_view *v, const uint8_t *plane, uint8_t outside, uint8_t *to)
{
    const columns in = columns_of(v);
    const size_t width = (size_t)v->width;
    memset(to, outside, (size_t)v->height * width);
    for (int r = 0; r < v->height; r++, to += width) {
        const int y = row_of(v, r);
        if (y < 0 || y >= v->height)
            continue;
        const uint8_t *const from = plane + (size_t)y * width;
        for (int i = in.first, x = in.x; i < in.end; i++, x += in.step)
            to[i] = from[x];
    }
}

dn_status dn_canvas_pixels(dn_canvas *c, uint8_t **planes)
{
    dn_pixel_view *const v = &c->view;
    const size_t plane = dn_canvas_plane(c);
    DN_TRY(sample(c));
    if (c->planes != c->memory->planes.bytes || is_shifted(v) || v->hflip || v->vflip) {
        uint8_t *to;
        DN_TRY(dn_canvas_room(c, (size_t)c->transform->channels * plane, &to));
        for (int k = 0; k < c->transform->channels; k++)
            arrange(v, c->planes + (size_t)k * plane,
                    v->fill < 0 ? c->transform->middle[k] : (uint8_t)v->fill,
                    to + (size_t)k * plane);
        dn_canvas_swap(c);
        *v = view_of_all(v->height, v->width);
    }
    *planes = c->memory->planes.bytes;
    return DN_OK;
}

/* ---- the net's input ---- */

/* to(height, width) = a normalised, shifted and mirrored plane. */
static void normalise(const dn_pixel_view *v, const uint8_t *plane, const float value[256],
                      float *to)
{
    const columns in = columns_of(v);
    const float outside = v->fill < 0 ? 0 : value[v->fill];
    for (int r = 0; r < v->height; r++, to += v->width) {
        const int y = row_of(v, r), is_in = y >= 0 && y < v->height;
        const int first = is_in ? in.first : 0, end = is_in ? in.end : 0;
        const uint8_t *const from = plane + (is_in ? (size_t)y * (size_t)v->width : 0);
        for (int i = 0; i < first; i++)
            to[i] = outside;
        for (int i = first, x = in.x; i < end; i++, x += in.step)
            to[i] = value[from[x]];
        for (int i = end; i < v->width; i++)
            to[i] = outside;
    }
}

static void erase(const dn_canvas *c, const dn_erasure *e, float *to)
{
    const dn_transform *const t = c->transform;
    for (int k = 0; k < t->channels; k++)
        for (int r = e->top; r < e->top + e->height; r++)
            for (int x = e->left; x < e->left + e->width; x++)
                to[((size_t)k * (size_t)t->height + (size_t)r) * (size_t)t->width + (size_t)x] =
                    e->value;
}

dn_status dn_canvas_finish(dn_canvas *c, float *to)
{
    const size_t plane = dn_canvas_plane(c);
    DN_TRY(sample(c));
    for (int k = 0; k < c->transform->channels; k++)
        normalise(&c->view, c->planes + (size_t)k * plane, c->transform->value[k],
                  to + (size_t)k * plane);
    for (int i = 0; i < c->erasures; i++)
        erase(c, &c->erased[i], to);
    return DN_OK;
}
