/*
 * Options of dn_dist beyond plain parsing (dn/option.h): those from a checkpoint, the optimizer's
 * defaults, options that exclude each other, and INI text (read by inih), the format of the
 * --config file and of the configuration in checkpoints.
 */
#include "options/options.h"

#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "dn/spec.h"
#include "dn/transform.h"
#include "dn/words.h"
#include "options/recipes.h"

/* The row of the command's option of that name, or NULL. */
static const dn_option *find_option(dn_command_bit command, const char *name)
{
    return dn_option_find(dn_option_table, (int)command, name, strlen(name));
}

/* The row's bit in dn_options.given. */
static dn_option_set given_bit(const dn_option *o)
{
    return (dn_option_set)1 << (o - dn_option_table);
}

/* ---- INI text ---- */

/* As long as a checkpoint's whole text, so longer than any value. Debian's inih accepts this
 * length; other builds accept the length they were built for. */
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

/* The user data of inih's callback. */
typedef struct ini_target {
    dn_options *options;
    dn_option_set unchanged; /* options that the text does not set */
    dn_status status;
} ini_target;

/* Whether a file may set the option, so --print prints it. */
static int is_ini_key(const dn_option *o)
{
    return o->kind != DN_FLAG && strcmp(o->name, "config") != 0 && strcmp(o->name, "recipe") != 0;
}

static int take_ini_value(void *user, const char *section, const char *name, const char *value)
{
    (void)section;
    ini_target *to = user;
    const dn_option *o = find_option(DN_COMMAND_TRAIN, name);
    dn_nearest nearest = {.word = name};
    if (!o || !is_ini_key(o))
        to->status =
            dn_fail(DN_EINVAL, "found the key '%.64s', expected an option of 'dn_dist train'%s",
                    name, o ? "" : dn_option_hint(&nearest, dn_option_table, DN_COMMAND_TRAIN, ""));
    else if (!(to->unchanged & given_bit(o)))
        to->status = dn_option_set_field(o, to->options, value);
    if (to->status == DN_OK)
        to->options->given |= given_bit(o);
    return to->status == DN_OK;
}

/* Reads a line as fgets does; *has_nul = 1 if it contains a zero byte, which would hide the rest.
 */
static int read_line(FILE *file, char line[INI_LINE_SIZE], int *has_nul)
{
    memset(line, 1, INI_LINE_SIZE);
    if (fgets(line, INI_LINE_SIZE, file) == NULL)
        return 0;
    *has_nul = memrchr(line, '\0', INI_LINE_SIZE) != line + strlen(line);
    return 1;
}

/* Reads and closes `file`. Passes inih one line at a time, so that the line's number is known and
 * an indented line does not continue the one before. */
static dn_status read_ini(FILE *file, const char *name, dn_options *options,
                          dn_option_set unchanged)
{
    char line[INI_LINE_SIZE];
    ini_target to = {.options = options, .unchanged = unchanged};
    int number = 0, has_nul;
    allow_long_lines();
    while (to.status == DN_OK && read_line(file, line, &has_nul)) {
        number++;
        if (has_nul)
            to.status = dn_fail(DN_EINVAL, "found a zero byte, expected text");
        else if (strlen(line) + 1 == sizeof line && !strchr(line, '\n'))
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

static int is_recorded(const dn_option *o)
{
    return o->tag > DN_FREE;
}

dn_status dn_options_to_ini(const dn_options *options, char *text, size_t size)
{
    char value[DN_PATH_SIZE];
    size_t used = (size_t)snprintf(text, size, "[train]\n"), line;
    for (const dn_option *o = dn_option_table; o->name && used < size; o++) {
        if (!is_recorded(o))
            continue;
        dn_option_text(o, options, value, sizeof value);
        line = (size_t)snprintf(text + used, size - used, "%s = %s\n", o->name, value);
        DN_CHECK(strchr(value, '\n') == NULL, DN_EINVAL,
                 "--%s: found a line break, expected a text that can be read back", o->name);
        DN_CHECK(line < INI_LINE_SIZE, DN_EINVAL,
                 "--%s: found a value of %zu bytes, expected at most %zu, which can be read back",
                 o->name, strlen(value), INI_LINE_SIZE - 1 - (line - strlen(value)));
        used += line;
    }
    DN_CHECK(used < size, DN_EINVAL, "the configuration text: expected at most %zu bytes",
             size - 1);
    return DN_OK;
}

/* Compares a given option with the checkpoint's value, which replaces that of a recipe. */
static dn_status reconcile(const dn_options *given, const dn_options *saved, const dn_option *o)
{
    char ours[DN_PATH_SIZE], theirs[DN_PATH_SIZE];
    dn_option_text(o, given, ours, sizeof ours);
    dn_option_text(o, saved, theirs, sizeof theirs);
    if (strcmp(ours, theirs) == 0 || (!(given->typed & given_bit(o)) && strcmp(ours, "auto") == 0))
        return DN_OK;
    if (given->of_recipe & given_bit(o)) {
        dn_info("%s: %s as in the checkpoint, not %s as in the recipe", o->name, theirs, ours);
        return DN_OK;
    }
    DN_CHECK(
        o->tag != DN_FIXED, DN_EINVAL,
        "--%s: found %s, expected %s as in the checkpoint (or another --out, or --resume none)",
        o->name, ours, theirs);
    if (o->tag != DN_BEGINS)
        dn_warn("--%s: the checkpoint has %s, the run continues with %s", o->name, theirs, ours);
    else if (given->typed & given_bit(o))
        dn_warn("--%s %s: ignored, as the run resumes from a checkpoint that began with %s "
                "(--resume none starts anew)",
                o->name, ours, theirs[0] ? theirs : "none");
    return DN_OK;
}

/* The given options that the checkpoint's values replace: those of a recipe, and those that a file
 * leaves to the run, which has settled them. */
static dn_option_set replaced(const dn_options *options)
{
    char value[DN_PATH_SIZE];
    dn_option_set set = options->of_recipe;
    for (const dn_option *o = dn_option_table; o->name; o++)
        if (is_recorded(o) && (options->given & ~options->typed & given_bit(o))) {
            dn_option_text(o, options, value, sizeof value);
            set |= strcmp(value, "auto") == 0 ? given_bit(o) : 0;
        }
    return set;
}

dn_status dn_options_resume_from_ini(dn_options *options, const char *text)
{
    dn_options saved = *options, merged = *options;
    merged.given &= ~replaced(options);
    DN_TRY(dn_option_set_defaults(dn_option_table, &saved)); /* for options that it lacks */
    FILE *file = fmemopen((char *)text, strlen(text), "r");  /* read only: text stays const */
    DN_CHECK(file, DN_ENOMEM, "the checkpoint's configuration: %s", strerror(errno));
    DN_TRY(read_ini(file, "the checkpoint's configuration", &saved, 0));
    for (const dn_option *o = dn_option_table; o->name; o++)
        if (is_recorded(o) && (!(merged.given & given_bit(o)) || o->tag == DN_BEGINS))
            memcpy((char *)&merged + o->offset, (const char *)&saved + o->offset, o->size);
    for (const dn_option *o = dn_option_table; o->name; o++)
        if (is_recorded(o) && (options->given & given_bit(o)) &&
            options->command == DN_COMMAND_TRAIN && dn_options_reads(&merged, o->name))
            DN_TRY(reconcile(options, &saved, o));
    *options = merged;
    return DN_OK;
}

const char *dn_options_other(const dn_options *options, const dn_options *before)
{
    char ours[DN_PATH_SIZE], theirs[DN_PATH_SIZE];
    for (const dn_option *o = dn_option_table; o->name; o++) {
        if (!is_recorded(o) || !(options->given & given_bit(o)) ||
            !dn_options_reads(options, o->name))
            continue;
        dn_option_text(o, options, ours, sizeof ours);
        dn_option_text(o, before, theirs, sizeof theirs);
        if (strcmp(ours, theirs) != 0)
            return o->name;
    }
    return NULL;
}

/* ---- the command line ---- */

/* Refuses a word where an option is expected; if it is a model's name, suggests --model. */
static dn_status refuse_word(const dn_option_reader *reader, const char *word)
{
    dn_spec spec;
    dn_nearest nearest = {.word = word};
    const int takes_model = find_option((dn_command_bit)reader->takers, "model") != NULL;
    const int is_model = takes_model && dn_spec_parse(&spec, word) == DN_OK;
    return dn_fail(DN_EINVAL, "found '%.64s', expected an option of '%s' such as --%s%s%s%s", word,
                   reader->usage, takes_model ? "model" : "help", is_model ? " " : "",
                   is_model ? word : "",
                   dn_option_hint(&nearest, dn_option_table, reader->takers, "--"));
}

static dn_status take_word(const dn_option_reader *reader, const char *word)
{
    dn_options *const options = reader->fields;
    if (!reader->has_words)
        return refuse_word(reader, word);
    const size_t count = (size_t)options->word_count + 1;
    const char **const words = realloc(options->words, count * sizeof *words);
    DN_CHECK(words, DN_ENOMEM, "out of memory for the command line");
    options->words = words;
    words[options->word_count++] = word;
    return DN_OK;
}

/* The checkpoint of a command: --checkpoint, else the first operand. */
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

/* Takes options that were not given from options.config. */
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
    const dn_option_set before = options->given;
    DN_TRY(dn_recipe_open(options->recipe, &file, path));
    DN_TRY(read_ini(file, path, options, before));
    options->of_recipe = options->given & ~before;
    return DN_OK;
}

/* Options that the optimizer reads and the user did not give default to the values in its row. */
static void take_defaults(dn_options *options)
{
    const dn_optimizer *optimizer = dn_optimizer_get(dn_kernels_get(0), options->step.optimizer);
    const dn_optimizer_settings *const row = &optimizer->defaults;
    for (const dn_option *o = dn_option_table; o->name; o++) {
        /* Wraps around for fields before the settings. */
        const size_t at = o->offset - offsetof(dn_options, step.rule);
        if (at < sizeof *row && !dn_options_given(options, o->name) &&
            dn_options_reads(options, o->name))
            memcpy((char *)&options->step.rule + at, (const char *)row + at, o->size);
    }
    if (!dn_options_given(options, "lr"))
        options->lr = row->rate;
    if (!dn_options_given(options, "lr-scaling"))
        options->lr_scaling =
            optimizer->rate_scales ? DN_RATE_SCALING_LINEAR : DN_RATE_SCALING_NONE;
}

/* Refuses an empty text on the command line, such as a script's unset variable, that would silently
 * stand for the default. An empty recorded option has a meaning of its own, such as no --freeze. */
static dn_status check_texts(const dn_options *options)
{
    for (const dn_option *o = dn_option_table; o->name; o++)
        DN_CHECK(!(options->typed & given_bit(o)) || o->kind != DN_TEXT || is_recorded(o) ||
                     ((const char *)options)[o->offset],
                 DN_EINVAL, "--%s: found '', expected %s", o->name, o->argument);
    return DN_OK;
}

/* Checks options that exclude each other, of which a recipe may have both, and a limit that the
 * table cannot state. */
static dn_status check_together(const dn_options *options)
{
    const dn_option *const init = find_option(options->command, "init");
    DN_CHECK(!init || !(options->typed & given_bit(init)) || !options->init_from[0], DN_EINVAL,
             "--init: found --init-from %s, whose weights take the place of initial ones, expected "
             "one of them",
             options->init_from);
    DN_CHECK(!options->csv || !options->json, DN_EINVAL,
             "--csv: found --json, expected one of them");
    DN_CHECK(options->deadline == 0 || options->deadline >= 1, DN_EINVAL,
             "--deadline: found %g, expected 0 (never) or 1 to 86400 seconds", options->deadline);
    return DN_OK;
}

dn_status dn_options_parse(dn_options *options, const dn_command *command, int argc,
                           const char *const *argv)
{
    *options = (dn_options){.command = command->bit};
    dn_option_reader reader = {dn_option_table, command->bit,    "",       command->words != NULL,
                               options,         &options->given, take_word};
    snprintf(reader.usage, sizeof reader.usage, "dn_dist %s", command->name);
    DN_TRY(dn_option_set_defaults(dn_option_table, options));
    for (int i = 0; i < argc && !options->help && !options->version;)
        DN_TRY(dn_option_take(&reader, argc, argv, &i));
    if (options->help || options->version)
        return DN_OK;
    options->typed = options->given;
    DN_TRY(check_texts(options));
    if (options->config[0])
        DN_TRY(read_config(options));
    if (options->recipe[0])
        DN_TRY(read_recipe(options));
    take_defaults(options);
    DN_TRY(check_together(options));
    if (options->command != DN_COMMAND_TRAIN)
        DN_TRY(dn_options_check_reads(options));
    return options->command & DN_COMMAND_TRAINED ? find_checkpoint_word(options) : DN_OK;
}

int dn_options_given(const dn_options *options, const char *name)
{
    const dn_option *o = find_option(options->command, name);
    return o && (options->given & given_bit(o)) != 0;
}

dn_status dn_options_check_use(const dn_options *options, dn_command_bit use, const char *reason)
{
    for (const dn_option *o = dn_option_table; o->name; o++)
        DN_CHECK(!(o->takers & (int)options->command) || o->takers & (int)use ||
                     !(options->given & given_bit(o)),
                 DN_EINVAL, "--%s: %s", o->name, reason);
    return DN_OK;
}

void dn_options_help(FILE *file, const dn_command *command)
{
    fprintf(file, "Usage: dn_dist %s%s%s [OPTIONS]\n%s; defaults in [brackets]\n", command->name,
            command->words ? " " : "", command->words ? command->words : "", command->help);
    dn_option_print(file, dn_option_table, (int)command->bit, dn_options_note_readers);
    if (find_option(command->bit, "augment") || find_option(command->bit, "eval-transform")) {
        fprintf(file, "\nsteps of --augment and --eval-transform, separated by commas\n");
        for (int i = 0; dn_transform_usage(i); i++)
            fprintf(file, "  %s\n", dn_transform_usage(i));
    }
    if (find_option(command->bit, "model") == NULL)
        return;
    fprintf(file, "\nmodels\n");
    for (int i = 0; dn_spec_name(i); i++)
        fprintf(file, "  %s\n", dn_spec_name(i));
    fprintf(file,
            "  or blocks=6,12,24:growth=32:bottleneck=4:compression=0.5:stem=imagenet|cifar|"
            "7x7:\n     stem-channels=64:last-transition=0:head-norm=1:head-pool=0:dropout=0:\n"
            "     transition-dropout=0\n");
}

/* Where the option was given, which decides whether a checkpoint's value replaces it. */
static const char *origin(const dn_options *options, const dn_option *o)
{
    const dn_option_set bit = given_bit(o);
    return options->typed & bit       ? ""
           : options->of_recipe & bit ? " (in --recipe)"
           : options->given & bit     ? " (in --config)"
                                      : " (not given)";
}

void dn_options_print_comparable(FILE *file, const dn_options *options)
{
    char value[DN_PATH_SIZE];
    for (const dn_option *o = dn_option_table; o->name; o++) {
        if (!(o->takers & (int)options->command) || o->tag == DN_LOCAL)
            continue;
        dn_option_text(o, options, value, sizeof value);
        fprintf(file, "--%s %s%s\n", o->name, o->tag == DN_PLACE ? o->argument : value,
                origin(options, o));
    }
    for (int i = 0; i < options->word_count; i++)
        fprintf(file, "%s\n", options->words[i]);
}

void dn_options_print(const dn_options *options)
{
    char value[DN_PATH_SIZE];
    for (const dn_option *o = dn_option_table; o->name; o++) {
        if (!(o->takers & (int)options->command) || !is_ini_key(o) ||
            !dn_options_reads(options, o->name))
            continue;
        dn_option_text(o, options, value, sizeof value);
        printf("%s = %s\n", o->name, value);
    }
}
