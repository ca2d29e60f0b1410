/* Holds images out of a split; see include/dn/subset.h. */
#include "dn/subset.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* The remaining images of a class while they are visited. */
typedef struct class_left {
    int64_t images, wanted, seen;
} class_left;

static dn_status read_subset(const dn_source *source, const dn_request *request,
                             const dn_transform *transform, dn_transform_memory *memory,
                             float *image)
{
    const dn_subset *s = (const dn_subset *)source;
    dn_request r = *request;
    r.index = s->index[request->index];
    return s->whole->read(s->whole, &r, transform, memory, image);
}

static dn_status make_subset(dn_subset *s, const dn_source *whole)
{
    const int64_t count = whole->count;
    *s = (dn_subset){.images = *whole, .whole = whole};
    s->index = malloc((size_t)count * sizeof *s->index);
    s->images.labels = s->labels = malloc((size_t)count * sizeof *s->labels);
    s->images.read = read_subset;
    s->images.count = 0;
    DN_CHECK(s->index && s->labels, DN_ENOMEM, "out of memory for a list of %" PRId64 " images",
             count);
    return DN_OK;
}

static void add_image(dn_subset *s, int64_t image)
{
    s->index[s->images.count] = image;
    s->labels[s->images.count++] = s->whole->labels[image];
}

/* Sets how many images of each class are drawn. */
static void plan_classes(dn_selection *d, class_left *left)
{
    int64_t images = 0;
    for (int c = 0; c < d->classes; c++) {
        images += left[c].images;
        const int64_t due = llround(d->fraction * (double)images) - d->drawn;
        const int64_t part = (int64_t)ceil(d->fraction * (double)left[c].images);
        const int64_t rest = left[c].images - d->keep, most = part < rest ? part : rest;
        left[c].wanted = due < 0 || most < 0 ? 0 : due < most ? due : most;
        d->drawn += left[c].wanted;
    }
}

/* Whether the next image of the class is drawn: all selections are equally likely. */
static uint8_t is_drawn(const dn_selection *d, class_left *left, int class)
{
    class_left *const c = &left[class];
    const dn_random4 word = dn_random(d->seed, d->stream, (uint64_t) class, (uint64_t)c->seen++);
    const int is_taken = dn_random_below(word.word[0], (uint32_t)c->images) < (uint32_t)c->wanted;
    c->images--;
    c->wanted -= is_taken;
    return (uint8_t)is_taken;
}

dn_status dn_draw_images(dn_selection *d, uint8_t *drawn)
{
    class_left *const left = calloc((size_t)d->classes, sizeof *left);
    DN_CHECK(left, DN_ENOMEM, "out of memory for %d classes", d->classes);
    d->drawn = d->largest = 0;
    for (int64_t i = 0; i < d->count; i++)
        if (++left[d->labels[i]].images > d->largest)
            d->largest = left[d->labels[i]].images;
    plan_classes(d, left);
    for (int64_t i = 0; i < d->count; i++)
        drawn[i] = is_drawn(d, left, d->labels[i]);
    free(left);
    return DN_OK;
}

static dn_status split_images(dn_subset *kept, dn_subset *held_out, dn_selection *d, uint8_t *drawn)
{
    DN_TRY(dn_draw_images(d, drawn));
    DN_CHECK(d->drawn > 0 && d->drawn < d->count, DN_EINVAL,
             "--val-fraction %g: found %" PRId64 " training images of %d labels, expected enough "
             "to hold one out, and to train on one",
             d->fraction, d->count, d->classes);
    for (int64_t i = 0; i < d->count; i++)
        add_image(drawn[i] ? held_out : kept, i);
    return DN_OK;
}

dn_status dn_subset_split(dn_subset *kept, dn_subset *held_out, const dn_source *whole,
                          double fraction)
{
    enum { SEED = 1 }; /* not the run's: all runs share these images */
    dn_selection draw = {.labels = whole->labels,
                         .count = whole->count,
                         .classes = dn_label_count(&whole->info),
                         .fraction = fraction,
                         .keep = whole->info.label_sets == 0, /* many sets have one image */
                         .seed = SEED,
                         .stream = DN_STREAM_HELD_OUT};
    dn_status status = make_subset(kept, whole);
    if (status == DN_OK)
        status = make_subset(held_out, whole);
    DN_TRY(status);
    uint8_t *const drawn = malloc((size_t)whole->count);
    DN_CHECK(drawn, DN_ENOMEM, "out of memory for a subset of %" PRId64 " images", whole->count);
    status = split_images(kept, held_out, &draw, drawn);
    free(drawn);
    return status;
}

void dn_subset_destroy(dn_subset *s)
{
    free(s->index);
    free(s->labels);
    *s = (dn_subset){0};
}
