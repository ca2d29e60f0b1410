/* Which images are taken; see selection.h. */
#include "making/selection.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dn/subset.h"
#include "dn/words.h"

/* ---- classes ---- */

/* Cuts the next name off what is left of --classes; "\," is a comma in it. */
static char *next_word(char **rest)
{
    char *const word = *rest, *to = word, *from = word;
    for (; *from && *from != ','; *to++ = *from++)
        if (from[0] == '\\' && from[1] == ',')
            from++;
    *rest = *from ? from + 1 : NULL;
    *to = '\0';
    return word;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(**(const char *const *const *)a, **(const char *const *const *)b);
}

static dn_status refuse_class(const char *word, const char *where, const char *const *names,
                              int classes)
{
    dn_nearest nearest = {.word = word};
    for (int i = 0; i < classes; i++)
        dn_nearest_try(&nearest, names[i]);
    return dn_fail(DN_EINVAL, "--classes: found no class \"%s\" in %s%s", word, where,
                   dn_nearest_hint(&nearest, ""));
}

dn_status dn_find_asked(const dn_records_options *options, const char *where,
                        const char *const *names, int classes, uint8_t *asked)
{
    memset(asked, options->classes == NULL, (size_t)classes);
    if (!options->classes)
        return DN_OK;
    const char *const **const sorted = malloc((size_t)classes * sizeof *sorted + 1);
    char *const words = strdup(options->classes), *rest = words;
    dn_status status = words && sorted ? DN_OK : dn_fail(DN_ENOMEM, "%s: out of memory", where);
    for (int i = 0; sorted && i < classes; i++)
        sorted[i] = &names[i];
    if (status == DN_OK)
        qsort(sorted, (size_t)classes, sizeof *sorted, by_name);
    while (status == DN_OK && rest) {
        const char *const word = next_word(&rest), *const *const key = &word;
        const char *const **const found =
            bsearch(&key, sorted, (size_t)classes, sizeof *sorted, by_name);
        if (found)
            asked[*found - names] = 1;
        else
            status = refuse_class(word, where, names, classes);
    }
    free(words);
    free(sorted);
    return status;
}

/* ---- a drawn test split ---- */

dn_status dn_draw_test(const dn_records_options *options, const char *source,
                       const uint16_t *labels, int64_t count, int classes, uint8_t *drawn)
{
    dn_selection draw = {.labels = labels,
                         .count = count,
                         .classes = classes,
                         .fraction = options->val_fraction > 0 ? options->val_fraction : 0.1,
                         .keep = 1,
                         .seed = (uint64_t)options->seed,
                         .stream = DN_STREAM_SPLIT};
    DN_TRY(dn_draw_images(&draw, drawn));
    if (draw.drawn == 0 && draw.largest == 1) {
        draw.keep = 0;
        DN_TRY(dn_draw_images(&draw, drawn));
        dn_warn("%s: found one image a class; the %" PRId64
                " that are drawn for the test split are of classes that have none to train on",
                source, draw.drawn);
    }
    DN_CHECK(draw.drawn > 0 && draw.drawn < count, DN_EINVAL,
             "--val-fraction: found %g, which leaves one split of %" PRId64
             " images empty, expected images in both",
             draw.fraction, count);
    return DN_OK;
}

/* ---- images in memory ---- */

static void copy_image(dn_raw_split *to, int64_t at, const dn_raw_split *from, int64_t image,
                       size_t size)
{
    memmove(to->pixels + (size_t)at * size, from->pixels + (size_t)image * size, size);
    to->labels[at] = from->labels[image];
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
    int64_t *const counts = calloc((size_t)all, DN_SPLITS * sizeof *counts + sizeof(int) + 1);
    int *const label = (int *)(counts + DN_SPLITS * all);
    uint8_t *const asked = (uint8_t *)(label + all);
    DN_CHECK(counts, DN_ENOMEM, "%s: out of memory", source);
    const dn_status status =
        dn_find_asked(options, set->info.dataset, set->class_names, all, asked);
    *classes = 0;
    for (int c = 0; c < all && status == DN_OK; c++) {
        label[c] = asked[c] ? *classes : -1;
        if (label[c] >= 0)
            names[(*classes)++] = set->class_names[c];
    }
    for (int s = 0; s < DN_SPLITS && status == DN_OK; s++)
        keep_images(&split[s], size, label, options->limit, counts + s * all);
    free(counts);
    return status;
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
    DN_TRY(keep_asked(set, options, source, split, names, classes));
    if (options->val_fraction > 0)
        DN_TRY(draw_split(set, options, source, split, *classes));
    DN_CHECK(split[DN_TEST].count > 0, DN_EINVAL,
             "%s: found no image for the test split, expected at least one", source);
    return DN_OK;
}
