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
#include "folder.h"

static const char folder_name[] = "FOLDER";

static void print_help(void)
{
    printf("usage: create_records NAME [options]      make the records of a data set\n"
           "       create_records verify DIR [--jobs J]   read records again, compare everything\n"
           "\n"
           "NAME             default DIR of --out\n");
    for (const dn_raw_set *const *set = dn_raw_sets; *set; set++)
        printf("  %-14s %s\n", (*set)->info.dataset, (*set)->folder);
    printf("  %-14s data/ and the name of --source: any tree of class folders\n", folder_name);
    printf(
        "\n"
        "options\n"
        "  --source DIR   folder of the raw data set, or the one above it (default: the\n"
        "                 current folder, then $DN_SOURCE_DIR, then a Debian package's)\n"
        "  --out DIR      folder of the records, made where it is missing\n"
        "  --shards N     shards of the train split, 1 to 99999 (default 4, of FOLDER one for\n"
        "                 each 64 MB); the test split gets a number in proportion\n"
        "  --level Z      zstd level, 1 to 22 (default 6); FOLDER compresses nothing\n"
        "  --jobs J       threads, 1 to 1024 (default: one per processor that may run)\n"
        "  --help         this text\n"
        "  --version      of the program\n"
        "\n"
        "options of FOLDER\n"
        "  --source DIR   class folders with JPEG and PNG files, or train and val, or train and\n"
        "                 test, that hold class folders\n"
        "  --classes A,B  only these classes\n"
        "  --limit N      at most N images a class and split, the first by name\n"
        "  --val-fraction F\n"
        "                 of each class for the test split, drawn, where it has no folder\n"
        "                 (default 0.1)\n"
        "  --seed S       of what is drawn (default 1)\n"
        "  --on-bad-image stop|skip\n"
        "                 at one that cannot be decoded: stop (default), or leave it out\n"
        "\n"
        "Records are TFRecord shards (tf.train.Example, PNG), HDF5 shards made from them, which\n"
        "dn_dist reads, and dataset.json; those of FOLDER are HDF5 shards that hold the images as\n"
        "they came. When DIR holds them already, nothing is done; those of another source are not\n"
        "replaced.\n");
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

/* What the words say. */
struct arguments {
    dn_records_options records;
    dn_folder_options folder;
    const char *folder_option; /* the last one given that FOLDER alone takes */
    int jobs, help, version;
};

static dn_status parse_folder_option(struct arguments *a, int c, const char *name, const char *text)
{
    int64_t number = 0;
    a->folder_option = name;
    if (c == 'c') {
        a->folder.classes = text;
    } else if (c == 'l') {
        DN_CHECK(dn_parse_whole(text, 1, UINT32_MAX, &a->folder.limit), DN_EINVAL,
                 "--limit: found \"%s\", expected 1 to %u", text, UINT32_MAX);
    } else if (c == 'f') {
        double *const fraction = &a->folder.val_fraction;
        DN_CHECK(dn_parse_real(text, 0, 1, fraction) && *fraction > 0 && *fraction < 1, DN_EINVAL,
                 "--val-fraction: found \"%s\", expected a number between 0 and 1", text);
    } else if (c == 'r') {
        DN_CHECK(dn_parse_whole(text, 0, INT64_MAX, &number), DN_EINVAL,
                 "--seed: found \"%s\", expected a whole number from 0", text);
        a->folder.seed = (uint64_t)number;
    } else {
        a->folder.skip_bad = strcmp(text, "skip") == 0;
        DN_CHECK(a->folder.skip_bad || strcmp(text, "stop") == 0, DN_EINVAL,
                 "--on-bad-image: found \"%s\", expected stop or skip", text);
    }
    return DN_OK;
}

static dn_status parse_options(int argc, char **argv, struct arguments *a)
{
    const struct option names[] = {{"source", required_argument, NULL, 's'},
                                   {"out", required_argument, NULL, 'o'},
                                   {"shards", required_argument, NULL, 'n'},
                                   {"level", required_argument, NULL, 'z'},
                                   {"jobs", required_argument, NULL, 'j'},
                                   {"classes", required_argument, NULL, 'c'},
                                   {"limit", required_argument, NULL, 'l'},
                                   {"val-fraction", required_argument, NULL, 'f'},
                                   {"seed", required_argument, NULL, 'r'},
                                   {"on-bad-image", required_argument, NULL, 'b'},
                                   {"help", no_argument, &a->help, 1},
                                   {"version", no_argument, &a->version, 1},
                                   {NULL, 0, NULL, 0}};
    opterr = 0;
    for (int c, at = 0; (c = getopt_long(argc, argv, ":h", names, &at)) != -1;) {
        if (c == '?' || c == ':')
            return refuse_option(argv[optind - 1], c == ':', names);
        DN_CHECK(optarg == NULL || *optarg != '\0', DN_EINVAL,
                 "--%s: found \"\", expected a value; see --help", names[at].name);
        if (c == 'h')
            a->help = 1;
        else if (c == 's')
            a->records.source = optarg;
        else if (c == 'o')
            a->records.out = optarg;
        else if (c == 'n')
            DN_TRY(parse_integer("shards", optarg, 99999, &a->records.shards));
        else if (c == 'z')
            DN_TRY(parse_integer("level", optarg, 22, &a->records.zstd_level));
        else if (c == 'j')
            DN_TRY(parse_integer("jobs", optarg, 1024, &a->jobs));
        else if (c != 0)
            DN_TRY(parse_folder_option(a, c, names[at].name, optarg));
    }
    return DN_OK;
}

static dn_status find_set(const char *name, const dn_raw_set **set)
{
    char known[256] = "";
    dn_nearest nearest = {.word = name};
    dn_nearest_try(&nearest, "verify");
    dn_nearest_try(&nearest, folder_name);
    for (int i = 0; (*set = dn_raw_sets[i]); i++) {
        if (strcasecmp((*set)->info.dataset, name) == 0)
            return DN_OK;
        dn_nearest_try(&nearest, (*set)->info.dataset);
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", (*set)->info.dataset);
    }
    return dn_fail(DN_EINVAL, "found the data set \"%s\", expected one of %s, %s%s", name, known,
                   folder_name, dn_nearest_hint(&nearest, ""));
}

static dn_status print_summary(const char *folder, const char *what)
{
    dn_manifest *m;
    DN_TRY(dn_manifest_load(&m, folder));
    const dn_shard_info *const info = &m->info;
    const dn_manifest_split *const train = &m->split[DN_TRAIN], *const test = &m->split[DN_TEST];
    char size[48] = "encoded images";
    if (info->height > 0)
        snprintf(size, sizeof size, "%dx%dx%d", info->channels, info->height, info->width);
    printf("%s: %s, %d classes, %s, train %" PRId64 " in %d shards, test %" PRId64 " in %d", folder,
           info->dataset, info->classes, size, train->count, train->shards, test->count,
           test->shards);
    for (int c = 0; c < info->channels; c++)
        printf("%s %.4f", c == 0 ? "; mean" : "", info->mean[c]);
    for (int c = 0; c < info->channels; c++)
        printf("%s %.4f", c == 0 ? ", std" : "", info->std[c]);
    printf("; %s\n", what);
    free(m);
    return DN_OK;
}

static dn_status make_set(const dn_raw_set *set, struct arguments *a)
{
    dn_records_options *const options = &a->records;
    DN_CHECK(!a->folder_option, DN_EINVAL, "--%s: found it with %s, expected it with %s only",
             a->folder_option, set->info.dataset, folder_name);
    int made;
    if (!options->out)
        options->out = set->folder;
    if (!options->shards)
        options->shards = 4;
    DN_TRY(dn_records_make(set, options, &made));
    return print_summary(options->out, made ? "written" : "already complete");
}

static dn_status make_folder(const struct arguments *a)
{
    char out[PATH_MAX];
    int made;
    DN_TRY(dn_folder_make(&a->folder, &a->records, out, &made));
    return print_summary(out, made ? "written" : "already complete");
}

static dn_status run_words(int words, char **word, struct arguments *a)
{
    DN_CHECK(words >= 1, DN_EINVAL, "found no data set's name; see --help");
    if (strcmp(word[0], "verify") == 0) {
        DN_CHECK(words == 2 && word[1][0] != '\0', DN_EINVAL,
                 "verify takes one folder; see --help");
        DN_TRY(dn_records_verify(word[1]));
        return print_summary(word[1], "everything verified");
    }
    const int is_folder = strcasecmp(word[0], folder_name) == 0;
    const dn_raw_set *set;
    if (!is_folder)
        DN_TRY(find_set(word[0], &set));
    DN_CHECK(words == 1, DN_EINVAL, "verify or one data set's name: found more words; see --help");
    return is_folder ? make_folder(a) : make_set(set, a);
}

static dn_status run_arguments(int argc, char **argv)
{
    struct arguments a = {.records = {.zstd_level = 6}, .folder = {.seed = 1}, .help = argc == 1};
    a.jobs = dn_limit_threads(dn_limit_processors("").amount, 1, omp_get_num_procs());
    DN_TRY(parse_options(argc, argv, &a));
    omp_set_num_threads(a.jobs);
    if (a.help)
        print_help();
    else if (a.version)
        printf("create_records %s\n", dn_version());
    else
        return run_words(argc - optind, argv + optind, &a);
    return DN_OK;
}

int main(int argc, char **argv)
{
    dn_streams_open();
    if (run_arguments(argc, argv) == DN_OK && dn_output_flush() == DN_OK)
        return EXIT_SUCCESS;
    fprintf(stderr, "create_records: %s\n", dn_message());
    return EXIT_FAILURE;
}
