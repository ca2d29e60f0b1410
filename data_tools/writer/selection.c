/* Selects classes and images; see selection.h. */
#include "writer/selection.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dn/subset.h"
#include "dn/words.h"

/* ---- classes ---- */

/* Cuts the next name off the rest of --classes; "\," is a comma in a name. */
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
    char *const words = strdup(options->classes), *rest = words;
    dn_status status = words ? DN_OK : dn_fail(DN_ENOMEM, "%s: out of memory", where);
    while (status == DN_OK && rest) {
        const char *const word = next_word(&rest);
        int i = 0;
        while (i < classes && strcmp(names[i], word) != 0)
            i++;
        if (i < classes)
            asked[i] = 1;
        else
            status = refuse_class(word, where, names, classes);
    }
    free(words);
    return status;
}

/* ---- a drawn test split ---- */

/* drawn(count) = 1 for images that are drawn. */
static dn_status draw(const dn_records_options *options, const char *source, const uint16_t *labels,
                      int64_t count, int classes, uint8_t *drawn)
{
    dn_selection d = {.labels = labels,
                      .count = count,
                      .classes = classes,
                      .fraction = options->val_fraction > 0 ? options->val_fraction : 0.1,
                      .keep = !options->multi_label, /* rare sets, of which many have one image */
                      .seed = (uint64_t)options->seed,
                      .stream = DN_STREAM_SPLIT};
    DN_TRY(dn_draw_images(&d, drawn));
    if (d.keep && d.drawn == 0 && d.largest == 1) {
        d.keep = 0;
        DN_TRY(dn_draw_images(&d, drawn));
        dn_warn("%s: found one image a class; the %" PRId64
                " that are drawn for the test split are of classes that have none to train on",
                source, d.drawn);
    }
    DN_CHECK(d.drawn > 0 && d.drawn < count, DN_EINVAL,
             "--val-fraction: found %g, which leaves one split of %" PRId64
             " images empty, expected images in both",
             d.fraction, count);
    return DN_OK;
}

dn_status dn_draw_test(const dn_records_options *options, const char *source, const uint16_t *label,
                       size_t stride, int64_t count, int classes, int64_t *order, int64_t *train)
{
    uint16_t *const labels = malloc((size_t)count * (sizeof *labels + 1) + 1);
    uint8_t *const drawn = (uint8_t *)(labels + count);
    int64_t next = 0;
    DN_CHECK(labels, DN_ENOMEM, "%s: out of memory for %" PRId64 " labels", source, count);
    for (int64_t i = 0; i < count; i++)
        labels[i] = *(const uint16_t *)((const char *)label + (size_t)i * stride);
    const dn_status status = draw(options, source, labels, count, classes, drawn);
    for (int s = 0; s < 2 && status == DN_OK; s++) {
        for (int64_t i = 0; i < count; i++)
            if (drawn[i] == s)
                order[next++] = i;
        if (s == 0)
            *train = next;
    }
    free(labels);
    return status;
}

dn_status dn_draw_items(const dn_records_options *options, const char *source, void *item,
                        const uint16_t *label, size_t size, int64_t count, int classes,
                        int64_t *train)
{
    int64_t *const order = malloc((size_t)count * sizeof *order + 1);
    char *const sorted = malloc((size_t)count * size + 1);
    dn_status status = order && sorted ? DN_OK : dn_fail(DN_ENOMEM, "%s: out of memory", source);
    if (status == DN_OK)
        status = dn_draw_test(options, source, label, size, count, classes, order, train);
    for (int64_t i = 0; i < count && status == DN_OK; i++)
        memcpy(sorted + (size_t)i * size, (char *)item + (size_t)order[i] * size, size);
    if (status == DN_OK)
        memcpy(item, sorted, (size_t)count * size);
    free(sorted);
    free(order);
    return status;
}
