/* Parser of transforms as users write them: steps separated by commas, each a name and parameters
 * separated by colons; see include/dn/transform.h. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dn/words.h"
#include "transforms/step.h"

enum { WORD = 64 };

/* word = the text from `at` to a colon or comma, at which *behind points. */
static dn_status take_word(const char *at, char word[WORD], const char **behind)
{
    const size_t length = strcspn(at, ":,");
    DN_CHECK(length < WORD, DN_EINVAL, "found '%.20s...', expected at most %d characters", at,
             WORD - 1);
    memcpy(word, at, length);
    word[length] = '\0';
    *behind = at + length;
    return DN_OK;
}

/* "3", "-0.5", "3/4"; as dn_take_real. */
static int take_ratio(const char *text, const char **behind, double *x)
{
    double below = 1;
    if (!dn_take_real(text, behind, x) ||
        (**behind == '/' && !dn_take_real(*behind + 1, behind, &below)))
        return 0;
    *x /= below;
    return 1;
}

/* The count of decimal numbers in a text X-Y-...; 0 if it is none or has too many. */
static int read_numbers(const char *text, double x[DN_STEP_VALUES])
{
    for (int count = 1; count <= DN_STEP_VALUES; count++) {
        if (!take_ratio(text, &text, &x[count - 1]))
            return 0;
        if (*text == '\0')
            return count;
        if (*text++ != '-')
            return 0;
    }
    return 0;
}

/* Returns 1 and sets *x if the text is an integer valid for the parameter. */
static int read_whole(const dn_parameter *p, const char *text, double *x)
{
    int64_t value;
    const int is_good = dn_parse_whole(text, (int64_t)p->least, (int64_t)p->most, &value);
    *x = (double)value;
    return is_good;
}

/* Kinds of parameters: their description in messages, the most numbers, and whether these are
 * integers and ascend in pairs. */
static const struct {
    const char *expected;
    int most, is_whole, ascends;
} kinds[] = {
    [DN_PARAMETER_REAL] = {"a number", 1, 0, 0},
    [DN_PARAMETER_WHOLE] = {"a whole number", 1, 1, 0},
    [DN_PARAMETER_ODD] = {"an odd number", 1, 1, 0},
    [DN_PARAMETER_LEAST] = {"LEAST or LEAST-MOST", 2, 0, 1},
    [DN_PARAMETER_FIXED] = {"a number or LEAST-MOST", 2, 0, 1},
    [DN_PARAMETER_AROUND_0] = {"X for -X to X, or LEAST-MOST,", 2, 0, 1},
    [DN_PARAMETER_AXES] = {"X for -X to X, or one LEAST-MOST or two,", 4, 0, 1},
    [DN_PARAMETER_AROUND_1] = {"X for 1 - X to 1 + X, or LEAST-MOST,", 2, 0, 1},
    [DN_PARAMETER_PAIR] = {"X or X-Y", 2, 0, 0},
    [DN_PARAMETER_FILL] = {"none, or a whole number", 1, 1, 0},
    [DN_PARAMETER_METHOD] = {"nearest or bilinear", 0, 0, 0},
};

static const struct {
    dn_parameter_kind kind;
    const char *text;
    double value;
} names[] = {{DN_PARAMETER_FILL, "none", -1},
             {DN_PARAMETER_METHOD, "nearest", 0},
             {DN_PARAMETER_METHOD, "bilinear", 1}};

/* Expands a single value X; for LEAST-MOST, MOST keeps its value. */
static void expand(const dn_parameter *p, double x[DN_STEP_VALUES], double most)
{
    const double lone = x[0];
    x[1] = p->kind == DN_PARAMETER_LEAST      ? most
           : p->kind == DN_PARAMETER_AROUND_1 ? 1 + lone
                                              : lone;
    if (p->kind == DN_PARAMETER_AROUND_0 || p->kind == DN_PARAMETER_AXES)
        x[0] = -lone;
    if (p->kind == DN_PARAMETER_AROUND_1)
        x[0] = lone < 0 ? 2 : fmax(1 - lone, 0); /* negative X: does not ascend, so it is refused */
}

/* Returns 1 and sets value if the text is valid for the parameter. */
static int read_values(const dn_parameter *p, const char *text, double value[DN_STEP_VALUES])
{
    double x[DN_STEP_VALUES] = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].kind == p->kind && strcmp(text, names[i].text) == 0) {
            value[0] = names[i].value;
            return 1;
        }
    const int count = kinds[p->kind].is_whole ? read_whole(p, text, x) : read_numbers(text, x);
    if (count == 0 || count == 3 || count > kinds[p->kind].most)
        return 0;
    if (count == 1)
        expand(p, x, value[1]);
    for (int i = 0; i < (count > 2 ? count : kinds[p->kind].most > 1 ? 2 : 1); i++)
        if (!(x[i] >= p->least && x[i] <= p->most))
            return 0;
    if (kinds[p->kind].ascends && !(x[0] <= x[1] && x[2] <= x[3]))
        return 0;
    if (p->kind == DN_PARAMETER_ODD && fmod(x[0], 2) == 0)
        return 0;
    memcpy(value, x, sizeof x);
    return 1;
}

/* How many of the first parameters are required. */
static int required(const dn_transform_row *row)
{
    int count = 0;
    while (row->parameters[count].name && !row->parameters[count].initial)
        count++;
    return count;
}

static dn_status set_parameter(dn_transform_step *step, int index, const char *text)
{
    const dn_transform_row *const row = step->row;
    const dn_parameter *const p = &row->parameters[index];
    DN_CHECK(!(step->given & 1U << index), DN_EINVAL, "%s: found %s twice", row->name, p->name);
    DN_CHECK(read_values(p, text, step->value[index]), DN_EINVAL,
             kinds[p->kind].most > 0 ? "%s, %s: found '%s', expected %s from %g to %g"
                                     : "%s, %s: found '%s', expected %s",
             row->name, p->name, text, kinds[p->kind].expected, p->least, p->most);
    step->given |= 1U << index;
    return DN_OK;
}

/* "NAME=TEXT" */
static dn_status set_named(dn_transform_step *step, const char *text, size_t length)
{
    const dn_transform_row *const row = step->row;
    char name[WORD];
    snprintf(name, sizeof name, "%.*s", (int)length, text);
    dn_nearest nearest = {.word = name};
    for (int i = 0; row->parameters[i].name; i++)
        if (dn_nearest_try(&nearest, row->parameters[i].name))
            return set_parameter(step, i, text + length + 1);
    return dn_fail(DN_EINVAL, "%s: found the parameter '%s', expected one of %s%s", row->name, name,
                   nearest.known, dn_nearest_hint(&nearest, ""));
}

/* "TEXT", the next parameter in order; for LEAST-MOST also "LEAST:MOST". */
static dn_status set_next(dn_transform_step *step, int index, const char *word, const char **at)
{
    const dn_transform_row *const row = step->row;
    DN_CHECK(row->parameters[index].name, DN_EINVAL, "%s: found '%s', expected %d to %d values",
             row->name, word, required(row), index);
    if (row->parameters[index].kind == DN_PARAMETER_LEAST && !strchr(word, '-') && **at == ':' &&
        isdigit((unsigned char)(*at)[1])) {
        char most[WORD], range[2 * WORD];
        DN_TRY(take_word(*at + 1, most, at));
        snprintf(range, sizeof range, "%s-%s", word, most);
        return set_parameter(step, index, range);
    }
    return set_parameter(step, index, word);
}

static dn_status set_defaults(dn_transform_step *step)
{
    const dn_transform_row *const row = step->row;
    for (int i = 0; row->parameters[i].name; i++)
        if (row->parameters[i].initial)
            DN_TRY(set_parameter(step, i, row->parameters[i].initial));
    step->given = 0;
    return DN_OK;
}

static dn_status find_row(const char *name, const dn_transform_row **row)
{
    dn_nearest nearest = {.word = name};
    for (int i = 0; (*row = dn_transform_row_get(i)) != NULL; i++)
        if (dn_nearest_try(&nearest, (*row)->name))
            return DN_OK;
    return dn_fail(DN_EINVAL, "found the step '%s', expected one of %s%s", name, nearest.known,
                   dn_nearest_hint(&nearest, ""));
}

/* Parses "NAME:VALUE:PARAMETER=VALUE" at *at, and moves *at past it. */
static dn_status parse_step(dn_transform *t, const char **at)
{
    dn_transform_step *const step = &t->step[t->steps];
    char word[WORD];
    int next = 0;
    DN_CHECK(t->steps < DN_TRANSFORM_STEPS, DN_EINVAL, "found more than %d steps",
             DN_TRANSFORM_STEPS);
    DN_TRY(take_word(*at, word, at));
    DN_TRY(find_row(word, &step->row));
    DN_TRY(set_defaults(step));
    while (**at == ':') {
        DN_TRY(take_word(*at + 1, word, at));
        const size_t name = strcspn(word, "=");
        DN_TRY(word[name] == '=' ? set_named(step, word, name) : set_next(step, next++, word, at));
    }
    const dn_transform_row *const row = step->row;
    for (int i = 0; i < required(row); i++)
        DN_CHECK(step->given & 1U << i, DN_EINVAL, "%s: found no %s, expected %.*s", row->name,
                 row->parameters[i].name, (int)strcspn(row->usage, "\n"), row->usage);
    t->steps++;
    return DN_OK;
}

/* Checks that the order of the steps is valid, and determines the size of the result. */
static dn_status check_steps(dn_transform *t, const dn_data_info *info)
{
    const dn_transform_row *last = NULL; /* the latest step that restricts what follows it */
    int height = info->height, width = info->width;
    int least = height < width ? height : width; /* lower bound of the shorter side */
    for (int i = 0; i < t->steps; i++) {
        const dn_transform_step *const step = &t->step[i];
        const dn_transform_row *const row = step->row;
        DN_CHECK(!last || row->is_last, DN_EINVAL, "found %s after %s, expected it before",
                 row->name, last->name);
        DN_CHECK(!row->is_crop || least > 0, DN_EINVAL,
                 "%s:%g: found encoded images, each of a size of its own, expected resize:%g or "
                 "more before",
                 row->name, step->value[0][0], step->value[0][0]);
        DN_CHECK(!row->is_crop || step->value[0][0] <= least, DN_EINVAL,
                 "%s:%g: found images of %d or more pixels a side, expected at least %g; resize "
                 "them before",
                 row->name, step->value[0][0], least, step->value[0][0]);
        last = row->is_last ? row : last;
        if (row->size) {
            row->size(step, &height, &width);
            least = (int)step->value[0][0];
        }
        DN_CHECK(height <= DN_MAX_SIDE && width <= DN_MAX_SIDE, DN_EINVAL,
                 "%s: found %d x %d pixels, expected at most %d a side", row->name, height, width,
                 DN_MAX_SIDE);
    }
    DN_CHECK(
        height > 0 && width > 0, DN_EINVAL,
        "found encoded images, each of a size of its own, expected steps that end in one size, "
        "such as random-resized-crop:224 or resize:256,center-crop:224");
    t->height = height;
    t->width = width;
    return DN_OK;
}

dn_status dn_transform_parse(dn_transform *t, const dn_pixel_kernels *kernels,
                             const dn_data_info *info, const char *list, uint64_t seed)
{
    *t = (dn_transform){.channels = info->channels, .seed = seed, .kernels = kernels};
    for (int c = 0; c < info->channels; c++) {
        t->middle[c] = (uint8_t)lrint(fmin(fmax(info->mean[c], 0), 1) * 255);
        for (int v = 0; v < 256; v++)
            t->value[c][v] = ((float)v / 255 - (float)info->mean[c]) / (float)info->std[c];
    }
    for (const char *at = strcmp(list, "none") == 0 ? "" : list; *at != '\0';) {
        DN_TRY(parse_step(t, &at));
        DN_CHECK(*at == '\0' || at[1] != '\0', DN_EINVAL, "found a comma at the end of '%s'", list);
        at += *at == ',';
    }
    return check_steps(t, info);
}
