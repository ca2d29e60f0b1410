/*
 * Finds images that are in two splits or classes; see folder.h.
 *
 * Sorts the images by their files' checksums, which are known once the shards are made: equal ones
 * are neighbours, with the train split's first.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "folder/folder.h"

static int by_hash(const void *a, const void *b)
{
    const dn_folder_image *const x = *(const dn_folder_image *const *)a;
    const dn_folder_image *const y = *(const dn_folder_image *const *)b;
    return x->hash != y->hash ? (x->hash > y->hash) - (x->hash < y->hash) : (x > y) - (x < y);
}

/* Duplicates of one kind. */
struct doubles {
    const dn_folder_image *earlier, *later; /* the first pair in the order of `later` */
    int64_t count, relabelled;
};

static void add_pair(struct doubles *d, const dn_folder_image *earlier,
                     const dn_folder_image *later)
{
    d->count++;
    d->relabelled += earlier->label != later->label;
    if (!d->later || later < d->later) {
        d->earlier = earlier;
        d->later = later;
    }
}

/* Finds in the sorted images duplicates of training images in other splits, and other duplicates in
 * two classes. */
static void find_doubles(const dn_folder_image **image, int64_t count, struct doubles *across,
                         struct doubles *within)
{
    const dn_folder_image *first = image[0]; /* of those with the same bytes */
    for (int64_t i = 0; i < count; i++) {
        first = first->hash == image[i]->hash ? first : image[i];
        if (first->split == DN_TRAIN && image[i]->split != DN_TRAIN)
            add_pair(across, first, image[i]);
        else if (first->label != image[i]->label)
            add_pair(within, first, image[i]);
    }
}

dn_status dn_folder_warn_of_doubles(const dn_folder *f)
{
    const dn_folder_image **const image = malloc((size_t)f->images * sizeof *image + 1);
    struct doubles across = {0}, within = {0};
    int64_t count = 0;
    DN_CHECK(image, DN_ENOMEM, "%s: out of memory", f->source);
    for (int64_t i = 0; i < f->images; i++)
        if (!f->image[i].is_bad)
            image[count++] = &f->image[i];
    if (count > 0) {
        qsort(image, (size_t)count, sizeof *image, by_hash);
        find_doubles(image, count, &across, &within);
    }
    free(image);
    if (across.count > 0)
        dn_warn(
            "%s: %" PRId64 " validation or test images are identical to a training image, %" PRId64
            " of them with another class; the first is %s, identical to %s",
            f->source, across.count, across.relabelled, across.later->path, across.earlier->path);
    if (within.count > 0)
        dn_warn("%s: %" PRId64 " images are identical to one of another class; the first is %s, "
                "identical to %s",
                f->source, within.count, within.later->path, within.earlier->path);
    return DN_OK;
}
