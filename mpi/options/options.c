/*
 * Options by the table's rows: values as text and back, the command line, --help, and INI text
 * (read by inih), which the --config file and the configuration in checkpoints are.
 */
#include "options/options.h"

#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dn/program.h"
#include "dn/spec.h"
#include "options/recipes.h"

/* Whether the typed word of `length` characters is the name, with '_' for any '-'. */
static int is_name(const char *name, const char *word, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (name[i] == '\0' || (word[i] != name[i] && !(word[i] == '_' && name[i] == '-')))
            return 0;
    return name[length] == '\0';
}

/* The row of a command's option (name: `length` characters), or NULL. */
static const dn_option *find_option(dn_command_bit command, const char *name, size_t length)
{
    for (const dn_option *o = dn_option_table; o->name; o++)
        if ((o->commands & (int)command) && is_name(o->name, name, length))
            return o;
    return NULL;
}

/* The first option of the command whose help begins with the word, '-' read as ' ': that of
 * "learning-rate" is "lr". */
static const dn_option *find_by_help(dn_command_bit command, const char *word)
{
    for (const dn_option *o = dn_option_table; o->name; o++) {
        size_t i = 0;
        while (word[i] && (word[i] == o->help[i] || (strchr("-_", word[i]) && o->help[i] == ' ')))
            i++;
        if ((o->commands & (int)command) && i > 3 && word[i] == '\0')
            return o;
    }
    return NULL;
}

/* "; did you mean '--epochs'?", or "". Of a word that begins with "no-" the rest may be a switch.
 */
static const char *option_hint(dn_nearest *nearest, dn_command_bit command, const char *dashes)
{
    const int no = strncmp(nearest->word, "no-", 3) == 0;
    char prefix[8];
    snprintf(prefix, sizeof prefix, "%s%s", dashes, no ? "no-" : "");
    nearest->word += no ? 3 : 0;
    for (const dn_option *o = dn_option_table; o->name; o++)
        if ((o->commands & (int)command) && (!no || o->kind == DN_SWITCH))
            dn_nearest_try(nearest, o->name);
    const dn_option *meant = no ? NULL : find_option(command, nearest->word, strlen(nearest->word));
    if (!meant && !no && !nearest->name)
        meant = find_by_help(command, nearest->word);
    if (meant)
        nearest->name = meant->name;
    return dn_nearest_hint(nearest, prefix);
}

/* --help and --version, which stand on the command line alone and take no value. */
static int asks_for_text(const dn_option *o)
{
    return strcmp(o->name, "help") == 0 || strcmp(o->name, "version") == 0;
}

/* The row's bit in dn_options.given. */
static dn_option_set given_bit(const dn_option *o)
{
    return (dn_option_set)1 << (o - dn_option_table);
}

static void *field_of(const dn_options *options, const dn_option *o)
{
    return (char *)options + o->offset;
}

/* ---- values ---- */

enum { CHOICES_SIZE = 256 };

/* The name of a choice, NULL past the last. */
static const char *choice_name(const dn_option *o, int index)
{
    return o->choice ? o->choice(index) : o->names[index];
}

/* What stands behind the option in --help: its argument, for a choice "none|linear". */
static const char *argument_text(const dn_option *o, char list[CHOICES_SIZE])
{
    if (o->argument != NULL)
        return o->argument;
    int used = 0;
    for (int i = 0; choice_name(o, i) != NULL && used < CHOICES_SIZE; i++)
        used += snprintf(list + used, (size_t)(CHOICES_SIZE - used), "%s%s", i > 0 ? "|" : "",
                         choice_name(o, i));
    return list;
}

static dn_status set_switch(int *field, const dn_option *o, const char *text)
{
    const int value = dn_parse_truth(text);
    DN_CHECK(value >= 0, DN_EINVAL, "%s: found '%s', expected %s", o->name, text, o->argument);
    *field = value;
    return DN_OK;
}

/* Where "on" or "off" is among the choices, a switch's other words stand for it, too. */
static int is_same_truth(const char *name, const char *text)
{
    const int is_switched = strcmp(name, "on") == 0 || strcmp(name, "off") == 0;
    return is_switched && dn_parse_truth(name) == dn_parse_truth(text);
}

/* A choice "norm,bias" may be typed the other way round. */
static int is_swapped(const char *name, const char *text)
{
    const char *const comma = strchr(text, ',');
    const size_t first = comma ? (size_t)(comma - text) : 0, length = strlen(text);
    return comma && strlen(name) == length && !strncmp(name, comma + 1, length - first - 1) &&
           name[length - first - 1] == ',' && !strncmp(name + length - first, text, first);
}

static dn_status set_choice(int *field, const dn_option *o, const char *text)
{
    char list[CHOICES_SIZE];
    dn_nearest nearest = {.word = text};
    for (int i = 0; choice_name(o, i) != NULL; i++)
        if (dn_nearest_try(&nearest, choice_name(o, i)) || is_same_truth(choice_name(o, i), text) ||
            is_swapped(choice_name(o, i), text)) {
            *field = i;
            return DN_OK;
        }
    return dn_fail(DN_EINVAL, "%s: found '%s', expected %s%s", o->name, text,
                   argument_text(o, list), dn_nearest_hint(&nearest, ""));
}

static dn_status set_whole(void *field, const dn_option *o, const char *text)
{
    const int64_t min = (int64_t)o->min, max = (int64_t)o->max;
    int64_t value;
    DN_CHECK(dn_parse_whole(text, min, max, &value), DN_EINVAL,
             "%s: found '%s', expected a whole number from %" PRId64 " to %" PRId64, o->name, text,
             min, max);
    if (o->size == sizeof(int64_t))
        *(int64_t *)field = value;
    else
        *(int *)field = (int)value;
    return DN_OK;
}

static dn_status set_real(double *field, const dn_option *o, const char *text)
{
    double value;
    DN_CHECK(dn_parse_real(text, o->min, o->max, &value), DN_EINVAL,
             "%s: found '%s', expected a number from %.15g to %.15g", o->name, text, o->min,
             o->max);
    *field = value;
    return DN_OK;
}

/* A model and kernels are looked for, for their faults alone: these come before the data's. */
static dn_status set_text(char *field, const dn_option *o, const char *text)
{
    const size_t length = strlen(text);
    const dn_kernels *kernels;
    dn_spec spec;
    DN_CHECK(length < o->size, DN_EINVAL, "%s: found %zu characters, expected at most %zu", o->name,
             length, o->size - 1);
    DN_CHECK(length > 0 || o->initial[0] == '\0', DN_EINVAL, "%s: found '', expected %s", o->name,
             o->argument);
    if (strcmp(o->name, "model") == 0)
        DN_TRY(dn_spec_parse(&spec, text));
    if (strcmp(o->name, "isa") == 0 && length > 0)
        DN_TRY(dn_kernels_select(&kernels, text));
    memcpy(field, text, length + 1);
    return DN_OK;
}

/* Parses `text` into the row's field. DN_EINVAL: the caller puts where it stands before the
 * message. */
static dn_status set_option(dn_options *options, const dn_option *o, const char *text)
{
    void *field = field_of(options, o);
    switch (o->kind) {
    case DN_TEXT:
        return set_text(field, o, text);
    case DN_WHOLE:
        return set_whole(field, o, text);
    case DN_REAL:
        return set_real(field, o, text);
    case DN_SWITCH:
        return set_switch(field, o, text);
    default:
        return set_choice(field, o, text);
    }
}

/* text = the value of the row's field as set_option reads it, to the same bits. */
static void option_text(const dn_options *options, const dn_option *o, char text[DN_PATH_SIZE])
{
    const void *field = field_of(options, o);
    if (o->kind == DN_TEXT) {
        snprintf(text, DN_PATH_SIZE, "%s", (const char *)field);
    } else if (o->kind == DN_REAL) { /* in as few digits as will do, 17 at most */
        const double value = *(const double *)field;
        int digits = 6;
        do
            snprintf(text, DN_PATH_SIZE, "%.*g", digits, value);
        while (strtod(text, NULL) != value && ++digits <= 17);
    } else if (o->kind == DN_WHOLE && o->size == sizeof(int64_t)) {
        snprintf(text, DN_PATH_SIZE, "%" PRId64, *(const int64_t *)field);
    } else if (o->kind == DN_WHOLE || o->kind == DN_SWITCH) {
        snprintf(text, DN_PATH_SIZE, "%d", *(const int *)field);
    } else {
        snprintf(text, DN_PATH_SIZE, "%s", choice_name(o, *(const int *)field));
    }
}

/* ---- INI text ---- */

/* As long as all of a checkpoint's text, and longer than any value may be. Debian's inih takes what
 * it is told, others the lines that they were built for. */
#if DN_INI_LINES
enum { INI_LINE_SIZE = 8192 };
#else
enum { INI_LINE_SIZE = INI_MAX_LINE };
#endif

static void allow_long_lines(void)
{
#if DN_INI_LINES
    ini_use_stack = 0;
    ini_allow_realloc = 1;
    ini_max_line = INI_LINE_SIZE;
#endif
}

/* Where a line of INI text goes on its way through inih. */
typedef struct ini_target {
    dn_options *options;
    dn_option_set keep; /* options that stay as they are */
    dn_status status;
} ini_target;

static int take_ini_value(void *user, const char *section, const char *name, const char *value)
{
    (void)section;
    ini_target *to = user;
    const dn_option *o = find_option(DN_COMMAND_TRAIN, name, strlen(name));
    dn_nearest nearest = {.word = name};
    if (!o || asks_for_text(o) || strcmp(o->name, "config") == 0 || strcmp(o->name, "recipe") == 0)
        to->status =
            dn_fail(DN_EINVAL, "found the key '%s', expected an option of 'dn_dist train'%s", name,
                    o ? "" : option_hint(&nearest, DN_COMMAND_TRAIN, ""));
    else if (!(to->keep & given_bit(o)))
        to->status = set_option(to->options, o, value);
    if (to->status == DN_OK)
        to->options->given |= given_bit(o);
    return to->status == DN_OK;
}

/* Reads and closes `file`. Takes one line at a time: so its number is known, and an indented one
 * does not continue another. */
static dn_status read_ini(FILE *file, const char *name, dn_options *options, dn_option_set keep)
{
    char line[INI_LINE_SIZE];
    ini_target to = {.options = options, .keep = keep};
    int number = 0;
    allow_long_lines();
    while (to.status == DN_OK && fgets(line, sizeof line, file) != NULL) {
        number++;
        if (strlen(line) + 1 == sizeof line && !strchr(line, '\n'))
            to.status = dn_fail(DN_EINVAL, "found a longer line, expected at most %zu bytes",
                                sizeof line - 2);
        else if (ini_parse_string(line, take_ini_value, &to) != 0 && to.status == DN_OK)
            to.status = dn_fail(DN_EINVAL, "found no value, expected a line of key = value");
    }
    const int is_unread = ferror(file), error = errno;
    fclose(file);
    DN_CHECK(!is_unread, DN_EIO, "%s: cannot read: %s", name, strerror(error));
    DN_CHECK(to.status == DN_OK, to.status, "%s:%d: %s", name, number, dn_message());
    return DN_OK;
}

dn_status dn_options_to_ini(const dn_options *options, char *text, size_t size)
{
    char value[DN_PATH_SIZE];
    size_t used = (size_t)snprintf(text, size, "[train]\n"), line;
    for (const dn_option *o = dn_option_table; o->name && used < size; o++) {
        if (o->bearing == DN_FREE)
            continue;
        option_text(options, o, value);
        line = (size_t)snprintf(text + used, size - used, "%s = %s\n", o->name, value);
        DN_CHECK(line < INI_LINE_SIZE, DN_EINVAL,
                 "--%s: found a value of %zu bytes, expected at most %zu, which can be read back",
                 o->name, strlen(value), INI_LINE_SIZE - 1 - (line - strlen(value)));
        used += line;
    }
    DN_CHECK(used < size, DN_EINVAL, "the configuration text: expected at most %zu bytes",
             size - 1);
    return DN_OK;
}

/* Brings a given option and the checkpoint's value together. */
static dn_status reconcile(const dn_options *given, const dn_options *saved, const dn_option *o)
{
    char ours[DN_PATH_SIZE], theirs[DN_PATH_SIZE];
    option_text(given, o, ours);
    option_text(saved, o, theirs);
    if (strcmp(ours, theirs) == 0)
        return DN_OK;
    DN_CHECK(
        o->bearing != DN_FIXED, DN_EINVAL,
        "--%s: found %s, expected %s as in the checkpoint (or another --out, or --resume none)",
        o->name, ours, theirs);
    dn_warn("--%s: the checkpoint has %s, the run goes on with %s", o->name, theirs, ours);
    return DN_OK;
}

dn_status dn_options_resume_from_ini(dn_options *options, const char *text)
{
    dn_options saved = *options, merged = *options;
    saved.given = 0;
    FILE *file = fmemopen((char *)text, strlen(text), "r"); /* opened to read: text stays const */
    DN_CHECK(file, DN_ENOMEM, "the checkpoint's configuration: %s", strerror(errno));
    DN_TRY(read_ini(file, "the checkpoint's configuration", &saved, 0));
    for (const dn_option *o = dn_option_table; o->name; o++) {
        if (o->bearing == DN_FREE || !(saved.given & given_bit(o)))
            continue;
        if (!(options->given & given_bit(o)))
            memcpy(field_of(&merged, o), field_of(&saved, o), o->size);
        else if (options->command == DN_COMMAND_TRAIN)
            DN_TRY(reconcile(options, &saved, o));
    }
    *options = merged;
    return DN_OK;
}

/* ---- the command line ---- */

static dn_status take_word(dn_options *options, const char *word)
{
    const size_t count = (size_t)options->word_count + 1;
    const char **const words = realloc(options->words, count * sizeof *words);
    DN_CHECK(words, DN_ENOMEM, "memory: found none for the command line");
    options->words = words;
    words[options->word_count++] = word;
    return DN_OK;
}

/* Whether the word after a switch is its value: any word but an option, where the command takes
 * none of its own. */
static int is_switch_value(const dn_option *o, const dn_command *command, const char *word)
{
    return word != NULL && !asks_for_text(o) &&
           (dn_parse_truth(word) >= 0 || (!command->words && word[0] != '-'));
}

/* What stands where an option should, and may be a model's name. */
static dn_status refuse_word(const dn_command *command, const char *word, dn_nearest *nearest)
{
    dn_spec spec;
    const int takes_model = find_option(command->bit, "model", 5) != NULL;
    const int is_model = takes_model && dn_spec_parse(&spec, word) == DN_OK;
    const char *const example = !takes_model                                     ? "help"
                                : !is_model && command->bit & DN_COMMAND_TRAINED ? "data"
                                                                                 : "model";
    return dn_fail(DN_EINVAL, "found '%s', expected an option of 'dn_dist %s' such as --%s%s%s%s",
                   word, command->name, example, is_model ? " " : "", is_model ? word : "",
                   option_hint(nearest, command->bit, "--"));
}

/* Takes the option at argv[*at], moves *at past it and its value. */
static dn_status parse_option(dn_options *options, const dn_command *command, int argc,
                              const char *const *argv, int *at)
{
    const char *argument = strcmp(argv[*at], "-h") == 0 ? "--help" : argv[*at];
    dn_nearest nearest = {.word = argument + strspn(argument, "-")};
    if (strncmp(argument, "--", 2) != 0 || !argument[2])
        return refuse_word(command, argument, &nearest);
    const char *name = argument + 2, *value = strchr(name, '=');
    const size_t length = value ? (size_t)(value++ - name) : strlen(name);
    const int no = !value && (strncmp(name, "no-", 3) == 0 || strncmp(name, "no_", 3) == 0);
    const dn_option *o = find_option(options->command, name, length);
    if (!o && no) {
        o = find_option(options->command, name + 3, length - 3);
        o = o && o->kind == DN_SWITCH ? o : NULL;
        value = "0";
    }
    char list[CHOICES_SIZE], word[64];
    snprintf(word, sizeof word, "%.*s", (int)length, name);
    nearest = (dn_nearest){.word = word};
    DN_CHECK(o, DN_EINVAL, "--%.*s: found an unknown option, expected one of 'dn_dist %s --help'%s",
             (int)length, name, command->name, option_hint(&nearest, options->command, "--"));
    if (!value && o->kind == DN_SWITCH)
        value =
            is_switch_value(o, command, *at + 1 < argc ? argv[*at + 1] : NULL) ? argv[++*at] : "1";
    if (!value && *at + 1 < argc && strncmp(argv[*at + 1], "--", 2) != 0)
        value = argv[++*at];
    DN_CHECK(value, DN_EINVAL, "--%s: found no value, expected %s", o->name,
             argument_text(o, list));
    ++*at;
    options->given |= given_bit(o);
    const dn_status status = set_option(options, o, value);
    DN_CHECK(status == DN_OK, status, "--%s", dn_message());
    return DN_OK;
}

/* Takes the option or the word at argv[*at], moves *at past it. */
static dn_status parse_argument(dn_options *options, const dn_command *command, int argc,
                                const char *const *argv, int *at)
{
    return command->words && argv[*at][0] != '-' ? take_word(options, argv[(*at)++])
                                                 : parse_option(options, command, argc, argv, at);
}

/* Which checkpoint a command uses: the option's, else the first word's. */
static dn_status find_checkpoint_word(dn_options *options)
{
    if (!options->checkpoint[0] && options->word_count > 0) {
        DN_CHECK(strlen(options->words[0]) < sizeof options->checkpoint, DN_EINVAL,
                 "'%.64s...': expected at most %zu characters", options->words[0],
                 sizeof options->checkpoint - 1);
        strcpy(options->checkpoint, options->words[0]);
        options->word_count--;
        memmove(options->words, options->words + 1,
                (size_t)options->word_count * sizeof *options->words);
    }
    DN_CHECK(options->checkpoint[0], DN_EINVAL,
             "--checkpoint: found none, expected a checkpoint or the folder of a run");
    return DN_OK;
}

/* Takes from options.config what was not given yet. */
static dn_status read_config(dn_options *options)
{
    FILE *file = fopen(options->config, "r");
    DN_CHECK(file, DN_ENOENT, "--config: cannot read %s: %s", options->config, strerror(errno));
    return read_ini(file, options->config, options, options->given);
}

/* The same from options.recipe. */
static dn_status read_recipe(dn_options *options)
{
    FILE *file;
    char path[PATH_MAX];
    DN_TRY(dn_recipe_open(options->recipe, &file, path));
    return read_ini(file, path, options, options->given);
}

/* What an optimizer reads and the user did not give is as its row has it. */
static void take_defaults(dn_options *options)
{
    const dn_optimizer_settings *row =
        &dn_kernels_get(0)->optimizers[options->step.optimizer]->defaults;
    dn_optimizer_settings *rule = &options->step.rule;
    const struct {
        const char *option;
        double *value, initial;
    } fields[] = {{"lr", &options->lr, row->rate},     {"momentum", &rule->momentum, row->momentum},
                  {"beta1", &rule->beta1, row->beta1}, {"beta2", &rule->beta2, row->beta2},
                  {"eps", &rule->eps, row->eps},       {"trust", &rule->trust, row->trust}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!dn_options_given(options, fields[i].option))
            *fields[i].value = fields[i].initial;
}

dn_status dn_options_parse(dn_options *options, const dn_command *command, int argc,
                           const char *const *argv)
{
    *options = (dn_options){.command = command->bit};
    for (const dn_option *o = dn_option_table; o->name; o++)
        DN_TRY(set_option(options, o, o->initial));
    for (int i = 0; i < argc && !options->help && !options->version;)
        DN_TRY(parse_argument(options, command, argc, argv, &i));
    if (options->help || options->version)
        return DN_OK;
    if (options->config[0])
        DN_TRY(read_config(options));
    if (options->recipe[0])
        DN_TRY(read_recipe(options));
    take_defaults(options);
    return options->command & DN_COMMAND_TRAINED ? find_checkpoint_word(options) : DN_OK;
}

int dn_options_given(const dn_options *options, const char *name)
{
    const dn_option *o = find_option(options->command, name, strlen(name));
    return o && (options->given & given_bit(o)) != 0;
}

static void print_option(FILE *file, const dn_option *o)
{
    char left[CHOICES_SIZE + 32], list[CHOICES_SIZE];
    const int is_switch = o->kind == DN_SWITCH;
    snprintf(left, sizeof left, "--%s%s %s", is_switch && !asks_for_text(o) ? "[no-]" : "", o->name,
             is_switch ? "" : argument_text(o, list));
    fprintf(file, "  %-34s", left);
    if (strlen(left) > 33)
        fprintf(file, "\n  %34s", "");
    fprintf(file, "%s", o->help);
    if (is_switch)
        fprintf(file, "%s", o->initial[0] == '1' ? " [on]" : "");
    else if (o->initial[0])
        fprintf(file, " [%s]", o->initial);
    fprintf(file, "\n");
}

void dn_options_help(FILE *file, const dn_command *command)
{
    fprintf(file, "Usage: dn_dist %s%s%s [OPTIONS]\n%s; defaults in [brackets]\n", command->name,
            command->words ? " " : "", command->words ? command->words : "", command->help);
    const char *group = "";
    for (const dn_option *o = dn_option_table; o->name; o++) {
        if (!(o->commands & (int)command->bit))
            continue;
        if (strcmp(group, o->group) != 0)
            fprintf(file, "\n%s\n", o->group);
        group = o->group;
        print_option(file, o);
    }
    if (command->bit & (DN_COMMAND_TRAIN | DN_COMMAND_EVAL | DN_COMMAND_PREDICT)) {
        fprintf(file, "\nsteps of --augment and --eval-transform, with commas between\n");
        for (int i = 0; dn_transform_usage(i); i++)
            fprintf(file, "  %s\n", dn_transform_usage(i));
    }
    if (find_option(command->bit, "model", 5) == NULL)
        return;
    fprintf(file, "\nmodels\n");
    for (int i = 0; dn_spec_name(i); i++)
        fprintf(file, "  %s\n", dn_spec_name(i));
    fprintf(file,
            "  or blocks=6,12,24:growth=32:bottleneck=4:compression=0.5:stem=imagenet|cifar|"
            "7x7:\n     stem-channels=64:last-transition=0:head-norm=1:head-pool=0:dropout=0:\n"
            "     transition-dropout=0\n");
}
