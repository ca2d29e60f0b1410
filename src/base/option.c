/* Options by a table's rows; see include/dn/option.h. */
#include "dn/option.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

/* Whether the text begins with the word of `length` characters, where '_' stands for '-' and either
 * for ' '. */
static int begins_with(const char *text, const char *word, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\0' ||
            (word[i] != text[i] && !(strchr("-_", word[i]) && strchr("- ", text[i]))))
            return 0;
    return 1;
}

const dn_option *dn_option_find(const dn_option *table, int takers, const char *name, size_t length)
{
    for (const dn_option *o = table; o->name; o++)
        if ((o->takers & takers) && strlen(o->name) == length && begins_with(o->name, name, length))
            return o;
    return NULL;
}

/* The option that other programs give this name. */
static const char *synonym(const char *word, const dn_option *table, int takers)
{
    static const char *const pairs[][2] = {
        {"wd", "weight-decay"},        {"patience", "early-stop"}, {"workers", "io-threads"},
        {"num-workers", "io-threads"}, {"workers", "jobs"},        {"num-workers", "jobs"},
        {"pretrained", "init-from"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (strlen(pairs[i][0]) == strlen(word) && begins_with(pairs[i][0], word, strlen(word)) &&
            dn_option_find(table, takers, pairs[i][1], strlen(pairs[i][1])))
            return pairs[i][1];
    return NULL;
}

const char *dn_option_hint(dn_nearest *nearest, const dn_option *table, int takers,
                           const char *dashes)
{
    const int no = strncmp(nearest->word, "no-", 3) == 0;
    const char *const word = nearest->word += no ? 3 : 0;
    const size_t length = strlen(word);
    char prefix[8];
    int is_same = 0; /* 1: the name is right and "no-" is wrong */
    nearest->name = no ? NULL : synonym(word, table, takers);
    if (nearest->name)
        return dn_nearest_hint(nearest, dashes);
    for (const dn_option *o = table; o->name; o++)
        if ((o->takers & takers) && (!no || o->kind == DN_SWITCH) &&
            dn_nearest_try(nearest, o->name)) {
            nearest->name = o->name;
            is_same = 1;
            break;
        }
    for (const dn_option *o = table; o->name && !nearest->name && !no && length > 3; o++)
        if ((o->takers & takers) && begins_with(o->help, word, length))
            nearest->name = o->name;
    snprintf(prefix, sizeof prefix, "%s%s", dashes, no && !is_same ? "no-" : "");
    return dn_nearest_hint(nearest, prefix);
}

/* ---- values ---- */

enum { TEXT_SIZE = 256 };

/* The name of a choice, NULL past the last. */
static const char *choice_name(const dn_option *o, int index)
{
    return o->choice ? o->choice(index) : o->names[index];
}

static int64_t most_of(const dn_option *o)
{
    return o->max < 0x1p63 ? (int64_t)o->max : INT64_MAX;
}

/* The values that the option accepts, for a choice as "none|linear". */
static const char *expected_text(const dn_option *o, char text[TEXT_SIZE])
{
    int used = 0;
    if (o->kind == DN_TEXT || o->kind == DN_WORD)
        return o->argument;
    if (o->kind == DN_WHOLE)
        snprintf(text, TEXT_SIZE, "a whole number from %" PRId64 " to %" PRId64, (int64_t)o->min,
                 most_of(o));
    else if (o->kind == DN_REAL || o->kind == DN_BETWEEN)
        snprintf(text, TEXT_SIZE,
                 o->kind == DN_REAL ? "a number from %.15g to %.15g"
                                    : "a number between %.15g and %.15g",
                 o->min, o->max);
    else if (o->kind != DN_CHOICE)
        return DN_TRUTH_WORDS;
    else
        for (int i = 0; choice_name(o, i) != NULL && used < TEXT_SIZE; i++)
            if (choice_name(o, i)[0])
                used += snprintf(text + used, (size_t)(TEXT_SIZE - used), "%s%s",
                                 used > 0 ? "|" : "", choice_name(o, i));
    return text;
}

/* If "on" or "off" is a choice, a switch's other words for it are accepted, too. */
static int is_same_truth(const char *name, const char *text)
{
    const int is_switched = strcmp(name, "on") == 0 || strcmp(name, "off") == 0;
    return is_switched && dn_parse_truth(name) == dn_parse_truth(text);
}

/* A choice such as "norm,bias" may be typed in either order. */
static int is_swapped(const char *name, const char *text)
{
    const char *const comma = strchr(text, ',');
    const size_t first = comma ? (size_t)(comma - text) : 0, length = strlen(text);
    return comma && strlen(name) == length && !strncmp(name, comma + 1, length - first - 1) &&
           name[length - first - 1] == ',' && !strncmp(name + length - first, text, first);
}

/* The index of the choice, or -1. */
static int find_choice(const dn_option *o, dn_nearest *nearest)
{
    const char *name, *const text = nearest->word;
    for (int i = 0; (name = choice_name(o, i)) != NULL; i++)
        if (name[0] &&
            (dn_nearest_try(nearest, name) || is_same_truth(name, text) || is_swapped(name, text)))
            return i;
    return -1;
}

/* A text may be empty only if that is the default. */
static int set_text(const dn_option *o, void *field, const char *text)
{
    if (text[0] == '\0' && !(o->initial && o->initial[0] == '\0'))
        return 0;
    if (o->kind == DN_WORD)
        *(const char **)field = text;
    else
        strcpy(field, text);
    return 1;
}

static int set_number(const dn_option *o, void *field, const char *text)
{
    int64_t whole;
    double real;
    if (o->kind == DN_WHOLE ? !dn_parse_whole(text, (int64_t)o->min, most_of(o), &whole)
                            : !dn_parse_real(text, o->min, o->max, &real))
        return 0;
    if (o->kind == DN_BETWEEN && (real == o->min || real == o->max))
        return 0;
    if (o->kind != DN_WHOLE)
        *(double *)field = real;
    else if (o->size == sizeof whole)
        *(int64_t *)field = whole;
    else
        *(int *)field = (int)whole;
    return 1;
}

dn_status dn_option_set_field(const dn_option *o, void *fields, const char *text)
{
    char expected[TEXT_SIZE];
    void *const field = (char *)fields + o->offset;
    dn_nearest nearest = {.word = text};
    int is_set, index;
    if (o->kind == DN_TEXT || o->kind == DN_WORD) {
        DN_CHECK(o->kind == DN_WORD || strlen(text) < o->size, DN_EINVAL,
                 "%s: found %zu characters, expected at most %zu", o->name, strlen(text),
                 o->size - 1);
        DN_TRY(o->check && text[0] ? o->check(text) : DN_OK);
        is_set = set_text(o, field, text);
    } else if (o->kind < DN_CHOICE) {
        is_set = set_number(o, field, text);
    } else {
        index = o->kind == DN_CHOICE ? find_choice(o, &nearest) : dn_parse_truth(text);
        is_set = index >= 0;
        if (is_set)
            *(int *)field = index;
    }
    DN_CHECK(is_set, DN_EINVAL, "%s: found '%.64s', expected %s%s", o->name, text,
             expected_text(o, expected), dn_nearest_hint(&nearest, ""));
    return DN_OK;
}

dn_status dn_option_set_defaults(const dn_option *table, void *fields)
{
    for (const dn_option *o = table; o->name; o++)
        if (o->initial)
            DN_TRY(dn_option_set_field(o, fields, o->initial));
    return DN_OK;
}

void dn_option_text(const dn_option *o, const void *fields, char *text, size_t size)
{
    const void *const field = (const char *)fields + o->offset;
    if (o->kind == DN_TEXT || o->kind == DN_WORD) {
        snprintf(text, size, "%s",
                 o->kind == DN_TEXT ? (const char *)field : *(const char *const *)field);
    } else if (o->kind == DN_REAL || o->kind == DN_BETWEEN) { /* at most 17 digits */
        const double value = *(const double *)field;
        int digits = 6;
        do
            snprintf(text, size, "%.*g", digits, value);
        while (strtod(text, NULL) != value && ++digits <= 17);
    } else if (o->kind == DN_CHOICE) {
        snprintf(text, size, "%s", choice_name(o, *(const int *)field));
    } else {
        snprintf(text, size, "%" PRId64,
                 o->size == sizeof(int64_t) ? *(const int64_t *)field : *(const int *)field);
    }
}

/* ---- the command line ---- */

dn_status dn_option_refuse(const dn_option_reader *reader, const char *dashes, const char *argument)
{
    char name[64];
    snprintf(name, sizeof name, "%s%.*s", dashes, (int)strcspn(argument, "="), argument);
    const char *const word = name + strspn(name, "-");
    const int is_known = dn_option_find(reader->table, -1, word, strlen(word)) &&
                         !dn_option_find(reader->table, reader->takers, word, strlen(word));
    dn_nearest nearest = {.word = word};
    return dn_fail(DN_EINVAL, "%s: found an %s, expected one of '%s --help'%s", name,
                   is_known ? "option of other commands" : "unknown option", reader->usage,
                   dn_option_hint(&nearest, reader->table, reader->takers, "--"));
}

/* Whether the word after an option with an optional value is its value: any word but an option,
 * unless other words may follow. */
static int is_value(const dn_option_reader *reader, const dn_option *o, const char *word)
{
    const int fits =
        o->kind == DN_SWITCH ? dn_parse_truth(word) >= 0 : isdigit((unsigned char)*word);
    return o->kind != DN_FLAG && (fits || (!reader->has_words && word[0] != '-'));
}

/* The value of the option at argv[*at]; if it is a separate word, *at moves there. */
static const char *find_value(const dn_option_reader *reader, const dn_option *o, int argc,
                              const char *const *argv, int *at)
{
    const char *const next = *at + 1 < argc ? argv[*at + 1] : "--";
    const int is_next = o->bare ? is_value(reader, o, next) : strncmp(next, "--", 2) != 0;
    return is_next ? argv[++*at] : o->bare;
}

static dn_status take_option(const dn_option_reader *reader, int argc, const char *const *argv,
                             int *at)
{
    const char *const argument = strcmp(argv[*at], "-h") == 0 ? "--help" : argv[*at];
    if (strncmp(argument, "--", 2) != 0)
        return dn_option_refuse(reader, "", argument);
    const char *name = argument + 2, *value = strchr(name, '=');
    const size_t length = value ? (size_t)(value++ - name) : strlen(name);
    const dn_option *o = dn_option_find(reader->table, reader->takers, name, length);
    if (!o && !value && length > 3 && begins_with("no-", name, 3)) {
        o = dn_option_find(reader->table, reader->takers, name + 3, length - 3);
        o = o && o->kind == DN_SWITCH ? o : NULL;
        value = "0";
    }
    if (!o)
        return dn_option_refuse(reader, "", argument);
    char expected[TEXT_SIZE];
    value = value ? value : find_value(reader, o, argc, argv, at);
    DN_CHECK(value, DN_EINVAL, "--%s: found no value, expected %s", o->name,
             expected_text(o, expected));
    *reader->given |= (dn_option_set)1 << (o - reader->table);
    const dn_status status = dn_option_set_field(o, reader->fields, value);
    DN_CHECK(status == DN_OK, status, "--%s", dn_message());
    return DN_OK;
}

dn_status dn_option_take(const dn_option_reader *reader, int argc, const char *const *argv, int *at)
{
    if (argv[*at][0] != '-')
        return reader->take_word(reader, argv[(*at)++]);
    if (strcmp(argv[*at], "--") != 0)
        DN_TRY(take_option(reader, argc, argv, at));
    else
        while (*at + 1 < argc)
            DN_TRY(reader->take_word(reader, argv[++*at]));
    ++*at;
    return DN_OK;
}

/* ---- --help ---- */

enum { COLUMN = 26, COLUMNS = 80 }; /* where the help text begins and ends */

/* Prints the words, wrapped into lines. */
static void print_words(FILE *file, const char *words)
{
    for (int column = COLUMN; *words;) {
        const int length = (int)strcspn(words, " ");
        if (column > COLUMN && column + 1 + length > COLUMNS)
            column = fprintf(file, "\n%*s", COLUMN, "") - 1;
        column += fprintf(file, "%s%.*s", column > COLUMN ? " " : "", length, words);
        words += length + (words[length] == ' ');
    }
    fprintf(file, "\n");
}

static void print_option(FILE *file, const dn_option *o, dn_option_note *note)
{
    char names[TEXT_SIZE], noted[TEXT_SIZE] = "", text[4 * TEXT_SIZE];
    const char *const argument = o->kind == DN_CHOICE ? expected_text(o, names) : o->argument;
    const char *initial = o->initial ? o->initial : "";
    if (!argument)
        initial = initial[0] == '1' ? "on" : "";
    int column = fprintf(file, "  --%s%s%s%s", o->kind == DN_SWITCH ? "[no-]" : "", o->name,
                         argument ? " " : "", argument ? argument : "");
    if (column >= COLUMN)
        column = fprintf(file, "\n") - 1;
    if (note)
        note(o, noted, sizeof noted);
    snprintf(text, sizeof text, "%s%s%s%s%s", noted, o->help, initial[0] ? " [" : "", initial,
             initial[0] ? "]" : "");
    fprintf(file, "%*s", COLUMN - column, "");
    print_words(file, text);
}

void dn_option_print(FILE *file, const dn_option *table, int takers, dn_option_note *note)
{
    const char *group = NULL;
    for (const dn_option *o = table; o->name; o++) {
        if (!(o->takers & takers))
            continue;
        if (o->group && (!group || strcmp(group, o->group) != 0))
            fprintf(file, "\n%s\n", o->group);
        group = o->group;
        print_option(file, o, note);
    }
}
