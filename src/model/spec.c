/* Known DenseNets, and the parser of keys and values; see dn/spec.h. */
#include "dn/spec.h"

#include <ctype.h>
#include <float.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dn/words.h"

/* The known names, and the written form that each stands for. */
static const struct {
    const char *name, *form;
} known[] = {
    {"densenet-40-12", "blocks=12,12,12:growth=12:bottleneck=0:compression=1:stem-channels=16"},
    {"densenet-100-12", "blocks=32,32,32:growth=12:bottleneck=0:compression=1:stem-channels=16"},
    {"densenet-100-24", "blocks=32,32,32:growth=24:bottleneck=0:compression=1:stem-channels=16"},
    {"densenet-bc-100-12", "blocks=16,16,16:growth=12:stem-channels=24"},
    {"densenet-bc-250-24", "blocks=41,41,41:growth=24:stem-channels=48"},
    {"densenet-bc-190-40", "blocks=31,31,31:growth=40:stem-channels=80"},
    {"densenet121", "blocks=6,12,24,16:growth=32:stem=imagenet:stem-channels=64"},
    {"densenet161", "blocks=6,12,36,24:growth=48:stem=imagenet:stem-channels=96"},
    {"densenet169", "blocks=6,12,32,32:growth=32:stem=imagenet:stem-channels=64"},
    {"densenet201", "blocks=6,12,48,32:growth=32:stem=imagenet:stem-channels=64"},
    {"densenet264", "blocks=6,12,64,48:growth=32:stem=imagenet:stem-channels=64"},
    {"densenet264-k48", "blocks=6,12,64,48:growth=48:stem=imagenet:stem-channels=96"},
    {"densenet-bc-40-48", "blocks=6,6,6:growth=48:stem-channels=96"},
    {"densenet121-plain", "blocks=6,12,24,16:growth=32:bottleneck=0:stem=imagenet:stem-channels=64:"
                          "head-norm=0"},
    {"densenet-course", "blocks=12,12,12,12:growth=6:bottleneck=0:compression=0.077:"
                        "stem-channels=12:head-pool=2:dropout=0.2:transition-dropout=0.2"},
    {"fashion-mnist-tiny", "blocks=1,1:growth=16,32:bottleneck=0:compression=1:stem=7x7:"
                           "stem-channels=16:last-transition=1"},
};

const char *dn_spec_name(int index)
{
    return index < (int)(sizeof known / sizeof known[0]) ? known[index].name : NULL;
}

const char *dn_spec_form(const char *name)
{
    for (int i = 0; dn_spec_name(i) != NULL; i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].form;
    return NULL;
}

static const struct {
    const char *name;
    int halvings; /* how many times it halves the image's sides */
} stems[] = {[DN_STEM_CIFAR] = {"cifar", 0},
             [DN_STEM_IMAGENET] = {"imagenet", 2},
             [DN_STEM_7X7] = {"7x7", 1}};

/* A key with integer values: how many it takes, and the range of each. */
typedef struct spec_key {
    const char *name;
    size_t offset; /* in dn_spec */
    int count, least, most;
} spec_key;

static const spec_key keys[] = {
    {"blocks", offsetof(dn_spec, layers), DN_MAX_BLOCKS, 1, 4096},
    {"growth", offsetof(dn_spec, growth), DN_MAX_BLOCKS, 1, 4096},
    {"bottleneck", offsetof(dn_spec, bottleneck), 1, 0, 4096},
    {"stem-channels", offsetof(dn_spec, stem_channels), 1, 1, 4096},
    {"last-transition", offsetof(dn_spec, last_transition), 1, 0, 1},
    {"head-norm", offsetof(dn_spec, head_norm), 1, 0, 1},
    {"head-pool", offsetof(dn_spec, head_pool), 1, 0, 4096},
};

/* Parses a list such as "6,12,24"; the remaining elements are 0. */
static dn_status parse_numbers(dn_spec *spec, const spec_key *key, const char *text)
{
    int *values = (int *)((char *)spec + key->offset);
    memset(values, 0, (size_t)key->count * sizeof *values);
    const char *p = text;
    for (int i = 0; p != NULL; i++) {
        char *end;
        const long value = strtol(p, &end, 10);
        DN_CHECK(isdigit((unsigned char)*p) && value >= key->least && value <= key->most &&
                     (*end == ',' || *end == '\0'),
                 DN_EINVAL, "model: %s=%s: expected whole numbers from %d to %d", key->name, text,
                 key->least, key->most);
        DN_CHECK(i < key->count, DN_EINVAL, "model: %s=%s: expected at most %d number%s", key->name,
                 text, key->count, key->count == 1 ? "" : "s");
        values[i] = (int)value;
        p = *end == ',' ? end + 1 : NULL;
    }
    return DN_OK;
}

/* The length of a list that is padded with zeros. */
static int list_length(const int values[DN_MAX_BLOCKS])
{
    int length = 0;
    while (length < DN_MAX_BLOCKS && values[length] != 0)
        length++;
    return length;
}

static dn_status parse_stem(dn_spec *spec, const char *text)
{
    dn_nearest nearest = {.word = text};
    for (int i = 0; i < (int)(sizeof stems / sizeof stems[0]); i++)
        if (dn_nearest_try(&nearest, stems[i].name)) {
            spec->stem = (dn_stem)i;
            return DN_OK;
        }
    return dn_fail(DN_EINVAL, "model: stem=%s: expected one of %s%s", text, nearest.known,
                   dn_nearest_hint(&nearest, ""));
}

/* A key with a real value and its range; a minimum of DBL_MIN means more than 0. */
typedef struct real_key {
    const char *name;
    size_t offset; /* in dn_spec */
    double least, most;
} real_key;

static const real_key real_keys[] = {
    {"compression", offsetof(dn_spec, compression), DBL_MIN, 1},
    {"dropout", offsetof(dn_spec, dropout), 0, 0.99},
    {"transition-dropout", offsetof(dn_spec, transition_dropout), 0, 0.99},
};

static dn_status parse_real(dn_spec *spec, const real_key *key, const char *value)
{
    DN_CHECK(dn_parse_real(value, key->least, key->most, (double *)((char *)spec + key->offset)),
             DN_EINVAL, "model: %s=%s: expected a number %s and up to %g", key->name, value,
             key->least > 0 ? "above 0" : "from 0", key->most);
    return DN_OK;
}

static dn_status parse_key(dn_spec *spec, const char *name, const char *value)
{
    dn_nearest nearest = {.word = name};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (dn_nearest_try(&nearest, keys[i].name))
            return parse_numbers(spec, &keys[i], value);
    for (size_t i = 0; i < sizeof real_keys / sizeof real_keys[0]; i++)
        if (dn_nearest_try(&nearest, real_keys[i].name))
            return parse_real(spec, &real_keys[i], value);
    if (dn_nearest_try(&nearest, "stem"))
        return parse_stem(spec, value);
    return dn_fail(DN_EINVAL, "model: found key %s, expected one of %s%s", name, nearest.known,
                   dn_nearest_hint(&nearest, ""));
}

static int times_given(const char *form, const char *name)
{
    const size_t length = strlen(name);
    int times = 0;
    for (const char *part = form, *end; part; part = end ? end + 1 : NULL) {
        times += strncmp(part, name, length) == 0 && part[length] == '=';
        end = strchr(part, ':');
    }
    return times;
}

static dn_status parse_form(dn_spec *spec, const char *form)
{
    char text[sizeof spec->name];
    snprintf(text, sizeof text, "%s", form);
    for (char *save, *part = strtok_r(text, ":", &save); part; part = strtok_r(NULL, ":", &save)) {
        char *value = strchr(part, '=');
        DN_CHECK(value != NULL, DN_EINVAL, "model: found %s, expected key=value", part);
        *value++ = '\0';
        DN_TRY(parse_key(spec, part, value));
        DN_CHECK(times_given(form, part) == 1, DN_EINVAL, "model: found %s twice, expected it once",
                 part);
    }
    const int rates = list_length(spec->growth);
    spec->blocks = list_length(spec->layers);
    DN_CHECK(spec->blocks > 0, DN_EINVAL, "model: %s: expected blocks=N,N,...", form);
    DN_CHECK(rates == 1 || rates == spec->blocks, DN_EINVAL,
             "model: %s: found %d growth rates, expected 1 or %d", form, rates, spec->blocks);
    for (int b = rates; b < spec->blocks; b++)
        spec->growth[b] = spec->growth[0];
    return DN_OK;
}

dn_status dn_spec_parse(dn_spec *spec, const char *model)
{
    *spec = (dn_spec){.growth = {12},
                      .bottleneck = 4,
                      .compression = 0.5,
                      .channels = 3,
                      .stem_channels = 24,
                      .head_norm = 1};
    DN_CHECK(strlen(model) < sizeof spec->name, DN_EINVAL,
             "model: found %zu characters, expected fewer than %zu", strlen(model),
             sizeof spec->name);
    const char *form = strchr(model, '=') ? model : NULL;
    dn_nearest nearest = {.word = model};
    for (int i = 0; dn_spec_name(i) != NULL; i++)
        if (dn_nearest_try(&nearest, known[i].name))
            form = known[i].form;
    DN_CHECK(form != NULL, DN_EINVAL,
             "model: found '%s', expected a known name (dn_dist models lists them) or "
             "blocks=...:growth=...%s",
             model, dn_nearest_hint(&nearest, ""));
    DN_TRY(parse_form(spec, form));
    strcpy(spec->name, model);
    spec->height = spec->width = spec->stem == DN_STEM_IMAGENET ? 224 : 32;
    spec->classes = spec->stem == DN_STEM_IMAGENET ? 1000 : 10;
    return DN_OK;
}

enum { MOST_FEATURES = 1 << 20 }; /* most inputs of the classifier */

/* Checks that channels fit in 16 bits, a transition keeps at least one, and the head's pool of
 * `cells` windows does not yield too many features. */
static dn_status check_widths(const dn_spec *spec, double cells)
{
    double channels = spec->stem_channels;
    for (int b = 0; b < spec->blocks; b++) {
        channels += (double)spec->layers[b] * spec->growth[b];
        DN_CHECK(channels <= 65535 && (double)spec->bottleneck * spec->growth[b] <= 65535,
                 DN_ESHAPE, "model %s: found %.0f channels in block %d, expected at most 65535",
                 spec->name, channels, b + 1);
        if (b + 1 < spec->blocks || spec->last_transition)
            channels = (double)(int)(channels * spec->compression);
        DN_CHECK(
            channels >= 1, DN_ESHAPE,
            "model %s: found compression %g, expected one that leaves a channel after block %d",
            spec->name, spec->compression, b + 1);
    }
    DN_CHECK(channels * cells <= MOST_FEATURES, DN_ESHAPE,
             "model %s: found head-pool=%d with %.0f features, expected at most %d", spec->name,
             spec->head_pool, channels * cells, MOST_FEATURES);
    return DN_OK;
}

dn_status dn_spec_check(const dn_spec *spec)
{
    DN_CHECK(spec->channels >= 1 && spec->channels <= DN_MAX_IMAGE_CHANNELS, DN_ESHAPE,
             "model %s: found %d image channels, expected 1 to %d", spec->name, spec->channels,
             DN_MAX_IMAGE_CHANNELS);
    DN_CHECK(spec->classes >= 2 && spec->classes <= DN_MAX_CLASSES, DN_ESHAPE,
             "model %s: found %d classes, expected 2 to %d", spec->name, spec->classes,
             DN_MAX_CLASSES);
    DN_CHECK(spec->height >= 1 && spec->width >= 1 && spec->height <= DN_MAX_SIDE &&
                 spec->width <= DN_MAX_SIDE,
             DN_ESHAPE, "model %s: found %dx%d images, expected 1 to %d pixels a side", spec->name,
             spec->height, spec->width, DN_MAX_SIDE);
    const int in_stem = stems[spec->stem].halvings, odd = (1 << in_stem) - 1; /* rounded up */
    const int height = (spec->height + odd) >> in_stem, width = (spec->width + odd) >> in_stem;
    const int halvings = spec->blocks - 1 + spec->last_transition; /* rounded down */
    DN_CHECK(
        height >> halvings > 0 && width >> halvings > 0, DN_ESHAPE,
        "model %s: found %dx%d images, expected larger ones (--size): %d transitions halve the "
        "map to nothing",
        spec->name, spec->height, spec->width, halvings);
    DN_CHECK(height >> halvings >= spec->head_pool && width >> halvings >= spec->head_pool,
             DN_ESHAPE,
             "model %s: found head-pool=%d, expected at most the %dx%d pixels of the last map",
             spec->name, spec->head_pool, height >> halvings, width >> halvings);
    const int side = spec->head_pool;
    return check_widths(
        spec, side == 0 ? 1 : (double)((height >> halvings) / side) * ((width >> halvings) / side));
}
