/* Holds images out of a split; see include/dn/subset.h. */
#include "dn/subset.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "dn/rng.h"

/* What is left of a class while its images are gone through. */
typedef struct class_left {
    int64_t images, wanted, seen;
} class_left;

static dn_status read_subset(const dn_source *source, const dn_request *request,
                             const dn_transform *transform, dn_workspace *workspace, float *image)
{
    const dn_subset *s = (const dn_subset *)source;
    dn_request r = *request;
    r.index = s->index[request->index];
    return s->whole->read(s->whole, &r, transform, workspace, image);
}

static dn_status make_subset(dn_subset *s, const dn_source *whole, int64_t count)
{
    *s = (dn_subset){.images = *whole, .whole = whole};
    s->index = malloc((size_t)count * sizeof *s->index);
    s->images.labels = s->labels = malloc((size_t)count * sizeof *s->labels);
    s->images.read = read_subset;
    s->images.count = 0;
    DN_CHECK(s->index && s->labels, DN_ENOMEM, "memory: found none to list %" PRId64 " images",
             count);
    return DN_OK;
}

static void add_image(dn_subset *s, int64_t image)
{
    s->index[s->images.count] = image;
    s->labels[s->images.count++] = s->whole->labels[image];
}

/* How many images of each class are held out; returns their sum. */
static int64_t plan_classes(class_left *left, int classes, double fraction)
{
    int64_t drawn = 0, images = 0;
    for (int c = 0; c < classes; c++) {
        images += left[c].images;
        const int64_t due = llround(fraction * (double)images) - drawn;
        const int64_t part = (int64_t)ceil(fraction * (double)left[c].images);
        const int64_t most = part < left[c].images ? part : left[c].images - 1;
        left[c].wanted = due < 0 || most < 0 ? 0 : due < most ? due : most;
        drawn += left[c].wanted;
    }
    return drawn;
}

/* Whether the next image of the class is one of those wanted: all choices are equally likely. */
static int is_drawn(class_left *left, int class, uint64_t seed)
{
    class_left *const c = &left[class];
    const dn_random4 draw =
        dn_random(seed, DN_STREAM_HELD_OUT, (uint64_t) class, (uint64_t)c->seen++);
    const int is_taken = dn_random_below(draw.word[0], (uint32_t)c->images) < (uint32_t)c->wanted;
    c->images--;
    c->wanted -= is_taken;
    return is_taken;
}

static dn_status split_images(dn_subset *kept, dn_subset *held_out, class_left *left,
                              double fraction, uint64_t seed)
{
    const dn_source *whole = kept->whole;
    for (int64_t i = 0; i < whole->count; i++)
        left[whole->labels[i]].images++;
    DN_CHECK(plan_classes(left, whole->info.classes, fraction) > 0, DN_EINVAL,
             "--val-fraction %g: found %" PRId64 " training images of %d classes, expected enough "
             "to hold one out",
             fraction, whole->count, whole->info.classes);
    for (int64_t i = 0; i < whole->count; i++)
        add_image(is_drawn(left, whole->labels[i], seed) ? held_out : kept, i);
    return DN_OK;
}

dn_status dn_subset_split(dn_subset *kept, dn_subset *held_out, const dn_source *whole,
                          double fraction, uint64_t seed)
{
    dn_status status = make_subset(kept, whole, whole->count);
    if (status == DN_OK)
        status = make_subset(held_out, whole, whole->count);
    DN_TRY(status);
    class_left *left = calloc((size_t)whole->info.classes, sizeof *left);
    DN_CHECK(left, DN_ENOMEM, "memory: found none to count %d classes", whole->info.classes);
    status = split_images(kept, held_out, left, fraction, seed);
    free(left);
    return status;
}

void dn_subset_destroy(dn_subset *s)
{
    free(s->index);
    free(s->labels);
    *s = (dn_subset){0};
}
