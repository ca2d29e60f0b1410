/*
 * create_records: makes the records of a data set, or verifies a folder of them.
 *
 * Exit status 0, also of the help that it prints where no word is given, or 1 after one line on
 * standard error.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <omp.h>

#include "dn/limits.h"
#include "dn/program.h"
#include "records.h"

static void print_help(void)
{
    printf("usage: create_records NAME [options]      make the records of a data set\n"
           "       create_records verify DIR [--jobs J]   read records again, compare everything\n"
           "\n"
           "NAME             default DIR of --out\n");
    for (const dn_raw_set *const *set = dn_raw_sets; *set; set++)
        printf("  %-14s %s\n", (*set)->info.dataset, (*set)->folder);
    printf(
        "\n"
        "options\n"
        "  --source DIR   folder of the raw data set, or the one above it (default: the\n"
        "                 current folder, then $DN_SOURCE_DIR, then a Debian package's)\n"
        "  --out DIR      folder of the records, made where it is missing\n"
        "  --shards N     shards of the train split, 1 to 99999 (default 4); the test split\n"
        "                 gets a number in proportion\n"
        "  --level Z      zstd level, 1 to 22 (default 6)\n"
        "  --jobs J       threads, 1 to 1024 (default: one per processor that may run)\n"
        "  --help         this text\n"
        "  --version      of the program\n"
        "\n"
        "Records are TFRecord shards (tf.train.Example, PNG), HDF5 shards made from them, which\n"
        "dn_dist reads, and dataset.json. When DIR holds them already, nothing is done;\n"
        "those of another source are not replaced.\n");
}

static dn_status parse_integer(const char *option, const char *text, int largest, int *value)
{
    int64_t number;
    DN_CHECK(dn_parse_whole(text, 1, largest, &number), DN_EINVAL,
             "--%s: found \"%s\", expected 1 to %d", option, text, largest);
    *value = (int)number;
    return DN_OK;
}

/* getopt_long found no option, or no value after it, in the word "--NAME" or "--NAME=VALUE". */
static dn_status refuse_option(const char *word, int is_bare, const struct option *options)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    dn_nearest nearest = {.word = name + strspn(name, "-")};
    for (; options->name; options++)
        dn_nearest_try(&nearest, options->name);
    return dn_fail(DN_EINVAL, "%s: %s; see --help%s", word,
                   is_bare ? "found no value after it" : "unknown option",
                   is_bare ? "" : dn_nearest_hint(&nearest, "--"));
}

static dn_status parse_options(int argc, char **argv, dn_records_options *o, int *jobs, int *help,
                               int *version)
{
    const struct option names[] = {
        {"source", required_argument, NULL, 's'}, {"out", required_argument, NULL, 'o'},
        {"shards", required_argument, NULL, 'n'}, {"level", required_argument, NULL, 'z'},
        {"jobs", required_argument, NULL, 'j'},   {"help", no_argument, help, 1},
        {"version", no_argument, version, 1},     {NULL, 0, NULL, 0}};
    opterr = 0;
    for (int c, at = 0; (c = getopt_long(argc, argv, ":h", names, &at)) != -1;) {
        if (c == '?' || c == ':')
            return refuse_option(argv[optind - 1], c == ':', names);
        DN_CHECK(optarg == NULL || *optarg != '\0', DN_EINVAL,
                 "--%s: found \"\", expected a value; see --help", names[at].name);
        if (c == 'h')
            *help = 1;
        else if (c == 's')
            o->source = optarg;
        else if (c == 'o')
            o->out = optarg;
        else if (c == 'n')
            DN_TRY(parse_integer("shards", optarg, 99999, &o->shards));
        else if (c == 'z')
            DN_TRY(parse_integer("level", optarg, 22, &o->zstd_level));
        else if (c == 'j')
            DN_TRY(parse_integer("jobs", optarg, 1024, jobs));
    }
    return DN_OK;
}

static dn_status find_set(const char *name, const dn_raw_set **set)
{
    char known[256] = "";
    dn_nearest nearest = {.word = name};
    dn_nearest_try(&nearest, "verify");
    for (int i = 0; (*set = dn_raw_sets[i]); i++) {
        if (strcasecmp((*set)->info.dataset, name) == 0)
            return DN_OK;
        dn_nearest_try(&nearest, (*set)->info.dataset);
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", (*set)->info.dataset);
    }
    return dn_fail(DN_EINVAL, "found the data set \"%s\", expected one of %s%s", name, known,
                   dn_nearest_hint(&nearest, ""));
}

static dn_status print_summary(const char *folder, const char *what)
{
    dn_manifest *m;
    DN_TRY(dn_manifest_load(&m, folder));
    const dn_shard_info *const info = &m->info;
    const dn_manifest_split *const train = &m->split[DN_TRAIN], *const test = &m->split[DN_TEST];
    printf("%s: %s, %d classes, %dx%dx%d, train %" PRId64 " in %d shards, test %" PRId64 " in %d",
           folder, info->dataset, info->classes, info->channels, info->height, info->width,
           train->count, train->shards, test->count, test->shards);
    for (int c = 0; c < info->channels; c++)
        printf("%s %.4f", c == 0 ? "; mean" : "", info->mean[c]);
    for (int c = 0; c < info->channels; c++)
        printf("%s %.4f", c == 0 ? ", std" : "", info->std[c]);
    printf("; %s\n", what);
    free(m);
    return DN_OK;
}

static dn_status make_set(const dn_raw_set *set, dn_records_options *options)
{
    int made;
    if (!options->out)
        options->out = set->folder;
    DN_TRY(dn_records_make(set, options, &made));
    return print_summary(options->out, made ? "written" : "already complete");
}

static dn_status run_arguments(int argc, char **argv)
{
    dn_records_options options = {.shards = 4, .zstd_level = 6};
    int help = argc == 1, version = 0;
    int jobs = dn_limit_threads(dn_limit_processors("").amount, 1, omp_get_num_procs());
    DN_TRY(parse_options(argc, argv, &options, &jobs, &help, &version));
    omp_set_num_threads(jobs);
    const int words = argc - optind;
    if (help) {
        print_help();
        return DN_OK;
    }
    if (version) {
        printf("create_records %s\n", dn_version());
        return DN_OK;
    }
    DN_CHECK(words >= 1, DN_EINVAL, "found no data set's name; see --help");
    const int verify = strcmp(argv[optind], "verify") == 0;
    DN_CHECK(!verify || (words == 2 && argv[optind + 1][0] != '\0'), DN_EINVAL,
             "verify takes one folder; see --help");
    if (!verify) {
        const dn_raw_set *set;
        DN_TRY(find_set(argv[optind], &set));
        DN_CHECK(words == 1, DN_EINVAL,
                 "verify or one data set's name: found more words; see --help");
        return make_set(set, &options);
    }
    DN_TRY(dn_records_verify(argv[optind + 1]));
    return print_summary(argv[optind + 1], "everything verified");
}

int main(int argc, char **argv)
{
    dn_streams_open();
    if (run_arguments(argc, argv) == DN_OK && dn_output_flush() == DN_OK)
        return EXIT_SUCCESS;
    fprintf(stderr, "create_records: %s\n", dn_message());
    return EXIT_FAILURE;
}
