/*
 * create_records: makes the records of a data set, or runs a command on a folder of records.
 *
 * The exit status is 0 on success (also for the help, printed if no word is given). Otherwise it
 * prints one line to standard error, and the status is 75 if a signal stopped it and the same
 * command continues, else 1.
 */
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <omp.h>

#include "dn/file.h"
#include "dn/program.h"
#include "dn/words.h"
#include "folder/folder.h"
#include "inspect/inspect.h"
#include "sets/records.h"
#include "tfrecord/tfrecord.h"

static dn_status print_summary(const char *folder, const char *what)
{
    dn_manifest *m;
    DN_TRY(dn_manifest_load(&m, folder));
    const dn_data_info *const info = &m->info;
    char size[48] = "encoded images", shown[PATH_MAX];
    if (info->height > 0)
        snprintf(size, sizeof size, "%dx%dx%d", info->channels, info->height, info->width);
    printf("%s: %s, %d classes, %s", dn_one_line_copy(shown, sizeof shown, folder), info->dataset,
           info->classes, size);
    for (int s = 0, first = 1; s < DN_SPLITS; s++) {
        const dn_manifest_split *const split = &m->split[s];
        if (split->shards == 0)
            continue;
        printf(", %s %" PRId64 " in %d%s", dn_split_name((dn_split_id)s), split->count,
               split->shards, first ? " shards" : "");
        first = 0;
    }
    for (int c = 0; c < info->channels; c++)
        printf("%s %.4f", c == 0 ? "; mean" : "", info->mean[c]);
    for (int c = 0; c < info->channels; c++)
        printf("%s %.4f", c == 0 ? ", std" : "", info->std[c]);
    printf("; %s\n", what);
    free(m);
    return DN_OK;
}

/* ---- commands ---- */

static dn_status verify(char **word, const dn_records_options *options)
{
    (void)options;
    DN_TRY(dn_records_verify(word[0]));
    return print_summary(word[0], "everything verified");
}

static dn_status list(char **word, const dn_records_options *options)
{
    (void)word;
    (void)options;
    dn_records_list();
    return DN_OK;
}

static dn_status info(char **word, const dn_records_options *options)
{
    return dn_records_info(word[0], options->json);
}

static dn_status inspect(char **word, const dn_records_options *options)
{
    return dn_records_inspect(word[0], options);
}

/* Finds the TFRecord files of the folder by glob, whatever characters the folder's own name has. */
static dn_status find_tfrecords(const char *folder, glob_t *found)
{
    char literal[PATH_MAX], pattern[PATH_MAX];
    size_t used = 0;
    for (const char *c = folder; *c && used + 2 < sizeof literal; c++) {
        if (strchr("*?[\\", *c))
            literal[used++] = '\\';
        literal[used++] = *c;
    }
    literal[used] = '\0';
    DN_TRY(dn_join_path(pattern, literal, "*tfrecord*"));
    DN_CHECK(glob(pattern, 0, NULL, found) == 0, DN_ENOENT,
             "%s: found no file with \"tfrecord\" in its name, expected TFRecords", folder);
    return DN_OK;
}

static dn_status from_tfrecord(char **word, const dn_records_options *options)
{
    char out[PATH_MAX];
    int made, words = 0;
    glob_t inside = {0};
    dn_status status = DN_OK;
    while (word[words])
        words++;
    if (words == 1 && dn_is_folder(word[0])) {
        status = find_tfrecords(word[0], &inside);
        words = (int)inside.gl_pathc;
        word = inside.gl_pathv;
    }
    if (status == DN_OK)
        status = dn_from_tfrecord(words, word, options, out, &made);
    globfree(&inside);
    return status != DN_OK ? status : print_summary(out, made ? "written" : "already complete");
}

static dn_status to_tfrecord(char **word, const dn_records_options *options)
{
    int made;
    DN_TRY(dn_to_tfrecord(word[0], options->out, &made));
    return print_summary(word[0], made ? "TFRecords written" : "TFRecords already complete");
}

/* The commands besides making the records of a data set. */
static const struct command {
    const char *name;
    const char *words; /* operands; "DIR": one, a folder; NULL: none */
    int use;           /* of options */
    const char *help;
    dn_status (*run)(char **word, const dn_records_options *options);
} commands[] = {
    {"list", NULL, DN_FOR_LIST, "list the data sets and where to get them", list},
    {"info", "DIR", DN_FOR_INFO, "print what is in records: classes, counts, sizes", info},
    {"inspect", "DIR", DN_FOR_INSPECT, "draw a picture of images, or describe one image", inspect},
    {"verify", "DIR", DN_FOR_VERIFY, "read records back and check everything", verify},
    {"from-tfrecord", "FILES...|DIR", DN_FROM_TFRECORD, "make records from any TFRecords",
     from_tfrecord},
    {"to-tfrecord", "DIR", DN_TO_TFRECORD, "write TFRecords from records", to_tfrecord},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(void)
{
    enum { COLUMN = 50 };
    printf("%-*smake the records of a data set\n", COLUMN, "Usage: create_records NAME [options]");
    printf("%-*sthe same as FOLDER --source DIR\n", COLUMN, "       create_records DIR [options]");
    for (const struct command *c = commands; c < commands + COMMANDS; c++) {
        const int used = printf("       create_records %s %s", c->name, c->words ? c->words : "");
        printf("%*s%s\n", COLUMN - used, "", c->help);
    }
    printf("\n"
           "NAME             default DIR of --out\n");
    for (const dn_raw_set *const *s = dn_raw_sets; *s; s++)
        printf("  %-14s data/%s\n", (*s)->info.dataset,
               (*s)->prefix ? (*s)->prefix
                            : " and the name of --source: any tree of class folders");
    printf(
        "\n"
        "options; 'create_records NAME --help' lists those of one set; defaults in [brackets]\n");
    dn_option_print(stdout, dn_records_option_table, DN_FOR_ALL, NULL);
    printf(
        "\n"
        "Records are HDF5 shards, which dn_dist reads, dataset.json, and optional TFRecord\n"
        "shards. Images of one size are stored as pixels, JPEG and PNG files unchanged. If DIR\n"
        "has these records already, nothing is done; an interrupted conversion resumes; records\n"
        "of another source are not replaced.\n");
}

/* Sets *set or *command to the one of that name; a folder of the user's stands for FOLDER. */
static dn_status find_name(const char *name, const dn_raw_set **set, const struct command **command)
{
    dn_nearest nearest = {.word = name};
    *set = NULL;
    *command = NULL;
    for (const dn_raw_set *const *s = dn_raw_sets; *s; s++) {
        if (strcasecmp((*s)->info.dataset, name) == 0) {
            *set = *s;
            return DN_OK;
        }
        dn_nearest_try(&nearest, (*s)->info.dataset);
    }
    for (const struct command *c = commands; c < commands + COMMANDS; c++)
        if (dn_nearest_try(&nearest, c->name)) {
            *command = c;
            return DN_OK;
        }
    DN_CHECK(dn_is_folder(name), DN_EINVAL, "found \"%s\", expected a folder or one of %s%s", name,
             nearest.known, dn_nearest_hint(&nearest, ""));
    *set = &dn_raw_folder;
    return DN_OK;
}

static dn_status make_set(const dn_raw_set *set, dn_records_options *options)
{
    char out[PATH_MAX];
    int made, written;
    if (set->scan) {
        DN_TRY(dn_folder_make(set, options, out, &made));
    } else {
        DN_TRY(dn_writer_out(options, set->prefix, out));
        options->out = out;
        DN_TRY(dn_records_make(set, options, &made));
    }
    /* writes what is missing of them and of their side files */
    if (options->tfrecords == DN_TFRECORDS_KEEP || (options->tfrecords < 0 && made && !set->scan))
        DN_TRY(dn_to_tfrecord(out, NULL, &written));
    return print_summary(out, made ? "written" : "already complete");
}

/* Prints the help of a command or a data set. */
static dn_status print_help_of(const char *name)
{
    const dn_raw_set *set;
    const struct command *command;
    DN_TRY(find_name(name, &set, &command));
    if (command)
        printf("Usage: create_records %s %s%s[options]\n%s\n", command->name,
               command->words ? command->words : "", command->words ? " " : "", command->help);
    else
        printf("Usage: create_records %s [options]\nmake the records of %s, in data/%s\n",
               set->info.dataset, set->prefix ? "this data set" : "any tree of class folders",
               set->prefix ? set->prefix : " and the name of --source");
    printf("\noptions; defaults in [brackets]\n");
    dn_option_print(stdout, dn_records_option_table, command ? command->use : set->use, NULL);
    return DN_OK;
}

static dn_status run_words(int words, char **word, dn_records_options *options)
{
    const dn_raw_set *set;
    const struct command *command;
    DN_CHECK(words >= 1, DN_EINVAL, "found no data set's name; see --help");
    DN_TRY(find_name(word[0], &set, &command));
    DN_TRY(dn_records_options_check(options, command ? command->use : set->use, word[0]));
    if (command) {
        const int most = !command->words ? 1 : strcmp(command->words, "DIR") == 0 ? 2 : INT_MAX;
        DN_CHECK(words >= (command->words ? 2 : 1) && words <= most &&
                     (words == 1 || word[1][0] != '\0'),
                 DN_EINVAL, "%s takes %s; see --help", command->name,
                 most == 1   ? "no further word"
                 : most == 2 ? "one folder"
                             : "files");
        return command->run(word + 1, options);
    }
    DN_CHECK(words == 1, DN_EINVAL, "%s: found more words after it; see --help", word[0]);
    if (set == &dn_raw_folder && strcasecmp(word[0], set->info.dataset) != 0) {
        DN_CHECK(!options->source, DN_EINVAL, "--source: found it beside the folder %s", word[0]);
        options->source = word[0];
    }
    return make_set(set, options);
}

static dn_status run_arguments(int argc, char **argv)
{
    dn_records_options options;
    DN_TRY(dn_records_options_parse(argc, argv, &options));
    omp_set_num_threads(options.jobs);
    char **word = options.word;
    if (*word && strcmp(*word, "help") == 0) { /* "create_records help verify" */
        options.help = 1;
        word++;
    }
    if (options.help && *word)
        return print_help_of(*word);
    if (options.help)
        print_help();
    else if (options.version)
        printf("create_records %s\n", dn_version());
    else
        return run_words(options.words, word, &options);
    return DN_OK;
}

int main(int argc, char **argv)
{
    dn_streams_open();
    dn_status status = run_arguments(argc, argv);
    if (status == DN_OK)
        status = dn_output_flush();
    if (status == DN_OK)
        return DN_EXIT_DONE;
    fprintf(stderr, "create_records: %s\n", dn_message());
    return status == DN_STOPPED ? DN_EXIT_AGAIN : DN_EXIT_FAILED;
}
