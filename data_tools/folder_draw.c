/*
 * A test split that is drawn from the train split's classes; see folder.h.
 *
 * What is drawn follows from the seed, the classes and the numbers of their images.
 */
#include "folder.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "dn/rng.h"

/* Draws `wanted` of the images [first, first + count), all equally likely. */
static void draw_images(dn_folder *f, int64_t first, int64_t count, int64_t wanted)
{
    for (int64_t i = 0; i < count; i++) {
        dn_folder_image *const image = &f->image[first + i];
        const dn_random4 draw =
            dn_random((uint64_t)f->options->seed, DN_STREAM_SPLIT, image->label, (uint64_t)i);
        if (dn_random_below(draw.word[0], (uint32_t)(count - i)) >= (uint32_t)wanted)
            continue;
        image->split = DN_TEST;
        wanted--;
    }
}

/* Draws a fraction of each class, of which at least `keep` images stay; what rounding takes from
 * one class it gives to later ones. Returns how many. */
static int64_t draw_classes(dn_folder *f, double fraction, int64_t keep)
{
    int64_t drawn = 0;
    for (int64_t first = 0, end; first < f->images; first = end) {
        for (end = first; end < f->images && f->image[end].label == f->image[first].label;)
            end++;
        const int64_t count = end - first, due = llround(fraction * (double)end) - drawn;
        int64_t most = (int64_t)ceil(fraction * (double)count);
        most = most < count - keep ? most : count - keep;
        const int64_t wanted = due < 0 ? 0 : due < most ? due : most;
        draw_images(f, first, count, wanted);
        drawn += wanted;
    }
    return drawn;
}

static int by_split(const void *a, const void *b)
{
    const dn_folder_image *const x = a, *const y = b;
    return x->split != y->split ? x->split - y->split : (x->size > y->size) - (x->size < y->size);
}

dn_status dn_folder_draw(dn_folder *f)
{
    const double fraction = f->options->val_fraction > 0 ? f->options->val_fraction : 0.1;
    int64_t drawn = draw_classes(f, fraction, 1);
    if (drawn == 0 && f->images == f->classes) {
        drawn = draw_classes(f, fraction, 0);
        dn_warn("%s: found one image a class; the %" PRId64
                " that are drawn for the test split are of classes that have none to train on",
                f->source, drawn);
    }
    DN_CHECK(drawn > 0 && drawn < f->images, DN_EINVAL,
             "--val-fraction: found %g, which leaves one split of %" PRId64
             " images empty, expected images in both",
             fraction, f->images);
    for (int64_t i = 0; i < f->images; i++)
        f->image[i].size = i; /* qsort keeps no order */
    qsort(f->image, (size_t)f->images, sizeof *f->image, by_split);
    return DN_OK;
}
