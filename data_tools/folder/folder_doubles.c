/*
 * Images that stand in two splits; see folder.h.
 *
 * By the checksums of their files, which are known once shards are made: sorted, the same ones are
 * neighbours, the train split's first.
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

struct doubles {
    const dn_folder_image *train, *other; /* the first pair, by the other's place */
    int64_t count, relabelled;
};

/* The sorted images. */
static void find_doubles(const dn_folder_image **image, int64_t count, struct doubles *d)
{
    const dn_folder_image *first = image[0]; /* of the same bytes */
    for (int64_t i = 0; i < count; i++) {
        first = first->hash == image[i]->hash ? first : image[i];
        if (first->split != DN_TRAIN || image[i]->split == DN_TRAIN)
            continue;
        d->count++;
        d->relabelled += first->label != image[i]->label;
        if (!d->other || image[i] < d->other) {
            d->train = first;
            d->other = image[i];
        }
    }
}

dn_status dn_folder_warn_of_doubles(const dn_folder *f)
{
    const dn_folder_image **const image = malloc((size_t)f->images * sizeof *image + 1);
    struct doubles d = {0};
    int64_t count = 0;
    DN_CHECK(image, DN_ENOMEM, "%s: out of memory", f->source);
    for (int64_t i = 0; i < f->images; i++)
        if (!f->image[i].is_bad)
            image[count++] = &f->image[i];
    if (count > 0) {
        qsort(image, (size_t)count, sizeof *image, by_hash);
        find_doubles(image, count, &d);
    }
    free(image);
    if (d.count > 0)
        dn_warn("%s: %" PRId64 " images to judge by have the bytes of one to train on, %" PRId64
                " of them as another class; the first is %s, which is %s, too",
                f->source, d.count, d.relabelled, d.other->path, d.train->path);
    return DN_OK;
}
