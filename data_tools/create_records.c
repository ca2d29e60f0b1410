/*
 * create_records: makes the records of a data set, or verifies a folder of them.
 *
 * Exit status 0, or 1 after one line on standard error.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <omp.h>

#include "dn/limits.h"
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
        "\n"
        "Records are TFRecord shards (tf.train.Example, PNG), HDF5 shards made from them, which\n"
        "dn_dist reads, and dataset.json. When DIR holds them already, nothing is done.\n");
}

static dn_status parse_integer(const char *option, const char *text, int largest, int *value)
{
    char *end;
    errno = 0;
    const long number = strtol(text, &end, 10);
    DN_CHECK(*text && !*end && !errno && number >= 1 && number <= largest, DN_EINVAL,
             "--%s: found \"%s\", expected 1 to %d", option, text, largest);
    *value = (int)number;
    return DN_OK;
}

static dn_status parse_options(int argc, char **argv, dn_records_options *o, int *jobs, int *help)
{
    const struct option names[] = {{"source", required_argument, NULL, 's'},
                                   {"out", required_argument, NULL, 'o'},
                                   {"shards", required_argument, NULL, 'n'},
                                   {"level", required_argument, NULL, 'z'},
                                   {"jobs", required_argument, NULL, 'j'},
                                   {"help", no_argument, help, 1},
                                   {NULL, 0, NULL, 0}};
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":", names, NULL)) != -1;) {
        DN_CHECK(c != '?' && c != ':', DN_EINVAL, "%s: %s; see --help", argv[optind - 1],
                 c == ':' ? "found no value after it" : "unknown option");
        if (c == 's')
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
    for (int i = 0; (*set = dn_raw_sets[i]); i++) {
        if (strcasecmp((*set)->info.dataset, name) == 0)
            return DN_OK;
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", (*set)->info.dataset);
    }
    return dn_fail(DN_EINVAL, "found the data set \"%s\", expected one of %s", name, known);
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

static dn_status make_set(const char *name, dn_records_options *options)
{
    const dn_raw_set *set;
    int made;
    DN_TRY(find_set(name, &set));
    if (!options->out)
        options->out = set->folder;
    DN_TRY(dn_records_make(set, options, &made));
    return print_summary(options->out, made ? "written" : "already complete");
}

static dn_status run_arguments(int argc, char **argv)
{
    dn_records_options options = {.shards = 4, .zstd_level = 6};
    int help = 0;
    int jobs = dn_limit_threads(dn_limit_processors("").amount, 1, omp_get_num_procs());
    DN_TRY(parse_options(argc, argv, &options, &jobs, &help));
    omp_set_num_threads(jobs);
    const int words = argc - optind;
    if (help) {
        print_help();
        return DN_OK;
    }
    DN_CHECK(words >= 1, DN_EINVAL, "found no data set's name; see --help");
    const int verify = strcmp(argv[optind], "verify") == 0;
    DN_CHECK(words == 1 + verify, DN_EINVAL, "verify %s; see --help",
             verify ? "takes one folder" : "or one data set's name: found more words");
    if (!verify)
        return make_set(argv[optind], &options);
    DN_TRY(dn_records_verify(argv[optind + 1]));
    return print_summary(argv[optind + 1], "everything verified");
}

int main(int argc, char **argv)
{
    if (run_arguments(argc, argv) == DN_OK)
        return EXIT_SUCCESS;
    fprintf(stderr, "create_records: %s\n", dn_message());
    return EXIT_FAILURE;
}
