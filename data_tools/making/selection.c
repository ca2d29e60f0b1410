/* Which images are taken; see selection.h. */
#include "making/selection.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dn/program.h"
#include "dn/rng.h"

/* ---- classes ---- */

int dn_is_asked(const dn_records_options *options, const char *name)
{
    const size_t length = strlen(name);
    for (const char *word = options->classes; word; word = strchr(word, ','), word += word != NULL)
        if (strcspn(word, ",") == length && memcmp(word, name, length) == 0)
            return 1;
    return !options->classes;
}

dn_status dn_check_asked(const dn_records_options *options, const char *where,
                         const char *const *names, int classes)
{
    if (!options->classes)
        return DN_OK;
    char *const words = strdup(options->classes), *rest = words, *word;
    DN_CHECK(words, DN_ENOMEM, "%s: out of memory", where);
    dn_status status = DN_OK;
    while (status == DN_OK && (word = strsep(&rest, ","))) {
        dn_nearest nearest = {.word = word};
        int found = 0;
        for (int i = 0; i < classes; i++)
            found |= dn_nearest_try(&nearest, names[i]);
        if (!found)
            status = dn_fail(DN_EINVAL, "--classes: found no class \"%s\" in %s%s", word, where,
                             dn_nearest_hint(&nearest, ""));
    }
    free(words);
    return status;
}

/* ---- a drawn test split ---- */

/* of_class(classes): images, those wanted, those seen. */
struct quota {
    int64_t count, wanted, seen;
};

/* Sets `wanted` to a fraction of each class, of which at least `keep` images stay. Returns the sum.
 */
static int64_t set_quotas(struct quota *of_class, int classes, double fraction, int64_t keep)
{
    int64_t drawn = 0, end = 0;
    for (int c = 0; c < classes; c++) {
        const int64_t count = of_class[c].count;
        end += count;
        const int64_t due = llround(fraction * (double)end) - drawn;
        int64_t most = (int64_t)ceil(fraction * (double)count);
        most = most < count - keep ? most : count - keep;
        most = most > 0 ? most : 0;
        of_class[c].wanted = due < 0 ? 0 : due < most ? due : most;
        drawn += of_class[c].wanted;
    }
    return drawn;
}

/* All images of a class are equally likely. */
static int draw_image(struct quota *q, int64_t seed, int label)
{
    const int64_t i = q->seen++;
    const dn_random4 draw =
        dn_random((uint64_t)seed, DN_STREAM_SPLIT, (uint64_t)label, (uint64_t)i);
    if (dn_random_below(draw.word[0], (uint32_t)(q->count - i)) >= (uint32_t)q->wanted)
        return 0;
    q->wanted--;
    return 1;
}

dn_status dn_draw_test(const dn_records_options *options, const char *source,
                       const uint16_t *labels, int64_t count, int classes, uint8_t *drawn)
{
    const double fraction = options->val_fraction > 0 ? options->val_fraction : 0.1;
    struct quota *const of_class = calloc((size_t)classes, sizeof *of_class);
    int64_t most = 0; /* images of a class */
    DN_CHECK(of_class, DN_ENOMEM, "%s: out of memory", source);
    for (int64_t i = 0; i < count; i++)
        if (++of_class[labels[i]].count > most)
            most = of_class[labels[i]].count;
    int64_t wanted = set_quotas(of_class, classes, fraction, 1);
    if (wanted == 0 && most == 1) {
        wanted = set_quotas(of_class, classes, fraction, 0);
        dn_warn("%s: found one image a class; the %" PRId64
                " that are drawn for the test split are of classes that have none to train on",
                source, wanted);
    }
    for (int64_t i = 0; i < count; i++)
        drawn[i] = (uint8_t)draw_image(&of_class[labels[i]], options->seed, labels[i]);
    free(of_class);
    DN_CHECK(wanted > 0 && wanted < count, DN_EINVAL,
             "--val-fraction: found %g, which leaves one split of %" PRId64
             " images empty, expected images in both",
             fraction, count);
    return DN_OK;
}

/* ---- images in memory ---- */

static void copy_image(dn_raw_split *to, int64_t at, const dn_raw_split *from, int64_t image,
                       size_t size)
{
    memmove(to->pixels + (size_t)at * size, from->pixels + (size_t)image * size, size);
    to->labels[at] = from->labels[image];
    if (from->coarse)
        to->coarse[at] = from->coarse[image];
}

/* Leaves the images of the classes that have a new label, -1: none; of each the first `limit`. */
static void keep_images(dn_raw_split *split, size_t size, const int *label, int64_t limit,
                        int64_t *of_class)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < split->count; i++) {
        const int new = label[split->labels[i]];
        if (new < 0 || (limit && of_class[new] == limit))
            continue;
        of_class[new]++;
        copy_image(split, kept, split, i, size);
        split->labels[kept++] = (uint16_t) new;
    }
    split->count = kept;
}

static dn_status keep_asked(const dn_raw_set *set, const dn_records_options *options,
                            const char *source, dn_raw_split split[DN_SPLITS], const char **names,
                            int *classes)
{
    const int all = set->info.classes;
    const size_t size = dn_image_values(&set->info);
    int64_t *const counts = calloc((size_t)all, DN_SPLITS * sizeof *counts + sizeof(int));
    int *const label = (int *)(counts + DN_SPLITS * all);
    DN_CHECK(counts, DN_ENOMEM, "%s: out of memory", source);
    *classes = 0;
    for (int c = 0; c < all; c++) {
        label[c] = dn_is_asked(options, set->class_names[c]) ? *classes : -1;
        if (label[c] >= 0)
            names[(*classes)++] = set->class_names[c];
    }
    for (int s = 0; s < DN_SPLITS; s++)
        keep_images(&split[s], size, label, options->limit, counts + s * all);
    free(counts);
    return DN_OK;
}

/* In place of the test split what is drawn from the train split. */
static dn_status draw_split(const dn_raw_set *set, const dn_records_options *options,
                            const char *source, dn_raw_split split[DN_SPLITS], int classes)
{
    dn_raw_split *const train = &split[DN_TRAIN], *const test = &split[DN_TEST];
    const size_t size = dn_image_values(&set->info);
    const int64_t left_out = test->count;
    int64_t kept = 0, wanted = 0;
    dn_raw_split_free(test);
    uint8_t *const drawn = calloc((size_t)train->count, 1);
    DN_CHECK(drawn, DN_ENOMEM, "%s: out of memory", source);
    dn_status status = dn_draw_test(options, source, train->labels, train->count, classes, drawn);
    for (int64_t i = 0; i < train->count; i++)
        wanted += drawn[i];
    if (status == DN_OK)
        status = dn_raw_split_create(test, set, wanted);
    for (int64_t i = 0, next = 0; status == DN_OK && i < train->count; i++) {
        if (drawn[i])
            copy_image(test, next++, train, i, size);
        else
            copy_image(train, kept++, train, i, size);
    }
    train->count = kept;
    free(drawn);
    if (status == DN_OK)
        dn_info("%s: the test split is %" PRId64 " images of the train split; the authors' "
                "%" PRId64 " test images are left out",
                source, wanted, left_out);
    return status;
}

dn_status dn_select_images(const dn_raw_set *set, const dn_records_options *options,
                           const char *source, dn_raw_split split[DN_SPLITS], const char **names,
                           int *classes)
{
    DN_TRY(dn_check_asked(options, set->info.dataset, set->class_names, set->info.classes));
    DN_TRY(keep_asked(set, options, source, split, names, classes));
    if (options->val_fraction > 0)
        DN_TRY(draw_split(set, options, source, split, *classes));
    DN_CHECK(split[DN_TEST].count > 0, DN_EINVAL,
             "%s: found no image for the test split, expected at least one", source);
    return DN_OK;
}
