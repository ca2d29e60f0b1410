/* The options of create_records; see options.h. */
#include "options.h"

#include <ctype.h>
#include <getopt.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <omp.h>

#include "dn/limits.h"
#include "dn/program.h"

typedef enum kind {
    FLAG,     /* int, 1, or as a word of dn_parse_truth says */
    TEXT,     /* const char * */
    INTEGER,  /* int from `min` to `max` */
    OPTIONAL, /* int from 1 to `max`, or where no number follows, `min` */
    WHOLE,    /* int64_t from `min` to `max` */
    FRACTION, /* double between 0 and 1 */
    CHOICE    /* int, the number of a word of `argument`, which has '|' between them */
} kind;

typedef struct row {
    const char *name;
    const char *argument; /* in --help */
    int use;              /* who takes it */
    kind kind;
    size_t place; /* in dn_records_options */
    int64_t min, max;
    const char *help; /* lines */
} row;

#define PLACE(member) offsetof(dn_records_options, member)

static const row rows[] = {
    {"source", "DIR", DN_FOR_SETS, TEXT, PLACE(source), 0, 0,
     "folder of the raw data set, or the one above it (default: the\n"
     "current folder, $DN_SOURCE_DIR, a Debian package's, then that\n"
     "of --download);\n"
     "of FOLDER, class folders with JPEG and PNG files, or train and\n"
     "val, or train and test, that hold class folders"},
    {"out", "DIR", DN_FOR_SETS | DN_FROM_TFRECORD | DN_TO_TFRECORD, TEXT, PLACE(out), 0, 0,
     "folder of the records, or of to-tfrecord's files, made where it is\n"
     "missing"},
    {"shards", "N", DN_FOR_SETS | DN_FROM_TFRECORD, INTEGER, PLACE(shards), 1, 99999,
     "shards of the train split, 1 to 99999 (default 4, of encoded\n"
     "images one for each 64 MB); the test split gets a number in\n"
     "proportion"},
    {"level", "Z", DN_FOR_SETS | DN_FROM_TFRECORD, INTEGER, PLACE(zstd_level), 1, 22,
     "zstd level of pixels, 1 to 22 (default 6)"},
    {"classes", "A,B", DN_FOR_SETS, TEXT, PLACE(classes), 0, 0, "only these classes"},
    {"limit", "N", DN_FOR_SETS, WHOLE, PLACE(limit), 1, UINT32_MAX,
     "at most N images a class and split, the first by name or in\n"
     "the authors' files"},
    {"val-fraction", "F", DN_FOR_SETS | DN_FROM_TFRECORD, FRACTION, PLACE(val_fraction), 0, 0,
     "of each class of the train split is drawn for the test split,\n"
     "and the set's own test split left out; of FOLDER where it has no\n"
     "folder for it, of TFRecords where no file is one (default 0.1)"},
    {"seed", "S", DN_FOR_SETS | DN_FROM_TFRECORD | DN_FOR_INSPECT, WHOLE, PLACE(seed), 0, INT64_MAX,
     "of what is drawn (default 1)"},
    {"on-bad-image", "stop|skip", DN_FOR_IMAGES | DN_FROM_TFRECORD, CHOICE, PLACE(on_bad_image), 0,
     0, "at one that cannot be decoded: stop (default), or leave it out"},
    {"short-side", "[S]", DN_FOR_IMAGES, OPTIONAL, PLACE(short_side), 256, 65500,
     "images whose short side is longer than S (default 256) become\n"
     "JPEG of that size; without it all are kept as they are"},
    {"quality", "Q", DN_FOR_IMAGES, INTEGER, PLACE(quality), 1, 100,
     "of JPEG that is made, 1 to 100 (default 90; without\n"
     "--short-side 95)"},
    {"exif", "ignore|apply", DN_FOR_IMAGES, CHOICE, PLACE(exif), 0, 0,
     "where EXIF says that an image is to be seen turned: ignore it,\n"
     "as torchvision (default), or turn it, which makes it a JPEG"},
    {"tfrecords", "keep|drop", DN_FOR_SETS, CHOICE, PLACE(tfrecords), 0, 0,
     "TFRecord shards beside those for dn_dist, or none (default: of\n"
     "pixels keep, of encoded images drop)"},
    {"label-base", "0|1", DN_FROM_TFRECORD, CHOICE, PLACE(label_base), 0, 0,
     "the first class's label (default: found out)"},
    {"class-names", "FILE", DN_FROM_TFRECORD, TEXT, PLACE(class_names), 0, 0,
     "a class name a line, by label (default: found beside the\n"
     "TFRecords or in them, else numbers)"},
    {"extra", NULL, DN_FOR_EXTRA, FLAG, PLACE(extra), 0, 0,
     "train on SVHN's 531131 further images, too"},
    {"val-labels", "FILE", DN_FOR_VAL_LABELS, TEXT, PLACE(val_labels), 0, 0,
     "the classes of IMAGENET's validation images, where they are not in\n"
     "class folders: lines NAME WNID or NAME LABEL, or the devkit's\n"
     "ground truth (default: in the devkit beside them)"},
    {"download", NULL, DN_FOR_DOWNLOAD, FLAG, PLACE(download), 0, 0,
     "get the authors' files, where they are missing, into --source\n"
     "(default data/downloads/ and the set's name); one that broke off\n"
     "is taken up again"},
    {"url", "URL", DN_FOR_DOWNLOAD, TEXT, PLACE(url), 0, 0,
     "get them from there, without a known checksum: the file's URL, or\n"
     "its folder's, with '/' at the end"},
    {"sha256", "HEX", DN_FOR_DOWNLOAD, TEXT, PLACE(sha256), 0, 0,
     "that the file of --url must have"},
    {"timeout", "S", DN_FOR_DOWNLOAD, INTEGER, PLACE(timeout), 1, 3600,
     "seconds after which a silent server is given up (default 60)"},
    {"json", NULL, DN_FOR_INFO, FLAG, PLACE(json), 0, 0, "as JSON"},
    {"png", "FILE", DN_FOR_INSPECT, TEXT, PLACE(png), 0, 0,
     "picture to make: many images, each with its class and number; with\n"
     "--sample one, in its own size"},
    {"split", "train|test", DN_FOR_INSPECT, CHOICE, PLACE(split), 0, 0,
     "whose images (default train)"},
    {"class", "NAME", DN_FOR_INSPECT, TEXT, PLACE(class), 0, 0, "images of this class only"},
    {"count", "N", DN_FOR_INSPECT, INTEGER, PLACE(count), 1, 10000,
     "how many, 1 to 10000 (default 64)"},
    {"sample", "N", DN_FOR_INSPECT, WHOLE, PLACE(sample), 0, UINT32_MAX,
     "image N of the split, from 0: prints what it is and where it stands"},
    {"augment", "LIST", DN_FOR_INSPECT, TEXT, PLACE(augment), 0, 0,
     "the images as training sees them with this --augment: the first\n"
     "ones of the epoch"},
    {"epoch", "E", DN_FOR_INSPECT, WHOLE, PLACE(epoch), 0, INT32_MAX,
     "of what is drawn for --augment, from 0 (default 0)"},
    {"size", "S", DN_FOR_INSPECT, INTEGER, PLACE(size), 16, 2048,
     "pixels a side for an image in the picture, 16 to 2048 (default\n"
     "128, or what --augment results in)"},
    {"jobs", "J", DN_FOR_ALL, INTEGER, PLACE(jobs), 1, 1024,
     "threads, 1 to 1024 (default: one per processor that may run)"},
    {"help", NULL, DN_FOR_ALL, FLAG, PLACE(help), 0, 0, "this text"},
    {"version", NULL, DN_FOR_ALL, FLAG, PLACE(version), 0, 0, "of the program"},
};

enum { ROWS = sizeof rows / sizeof *rows };
_Static_assert(ROWS <= 64, "dn_records_options.given has a bit for each");

/* The number of `text` among the words of the row's argument, or -1. */
static int find_choice(const row *r, const char *text)
{
    const size_t length = strlen(text);
    int number = 0;
    for (const char *word = r->argument; word; number++) {
        const char *const end = strchr(word, '|');
        const size_t size = end ? (size_t)(end - word) : strlen(word);
        if (size == length && strncmp(word, text, size) == 0)
            return number;
        word = end ? end + 1 : NULL;
    }
    return -1;
}

static dn_status parse_value(const row *r, const char *text, dn_records_options *options)
{
    void *const place = (char *)options + r->place;
    int64_t number;
    double real;
    switch (r->kind) {
    case FLAG:
        *(int *)place = text ? dn_parse_truth(text) : 1;
        DN_CHECK(*(int *)place >= 0, DN_EINVAL, "--%s: found \"%s\", expected " DN_TRUTH_WORDS,
                 r->name, text);
        break;
    case TEXT:
        *(const char **)place = text;
        break;
    case OPTIONAL:
        *(int *)place = (int)r->min;
        if (!text)
            break;
        DN_CHECK(dn_parse_whole(text, 1, r->max, &number), DN_EINVAL,
                 "--%s: found \"%s\", expected 1 to %" PRId64, r->name, text, r->max);
        *(int *)place = (int)number;
        break;
    case INTEGER:
    case WHOLE:
        DN_CHECK(dn_parse_whole(text, r->min, r->max, &number), DN_EINVAL,
                 "--%s: found \"%s\", expected %" PRId64 " to %" PRId64, r->name, text, r->min,
                 r->max);
        if (r->kind == INTEGER)
            *(int *)place = (int)number;
        else
            *(int64_t *)place = number;
        break;
    case FRACTION:
        DN_CHECK(dn_parse_real(text, 0, 1, &real) && real > 0 && real < 1, DN_EINVAL,
                 "--%s: found \"%s\", expected a number between 0 and 1", r->name, text);
        *(double *)place = real;
        break;
    case CHOICE:
        *(int *)place = find_choice(r, text);
        DN_CHECK(*(int *)place >= 0, DN_EINVAL, "--%s: found \"%s\", expected %s", r->name, text,
                 r->argument);
        break;
    }
    return DN_OK;
}

/* getopt_long found no option, or no value after it, in the word "--NAME" or "--NAME=VALUE". */
static dn_status refuse_option(const char *word, int is_bare)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    dn_nearest nearest = {.word = name + strspn(name, "-")};
    for (int i = 0; i < ROWS; i++)
        dn_nearest_try(&nearest, rows[i].name);
    return dn_fail(DN_EINVAL, "%s: %s; see --help%s", word,
                   is_bare ? "found no value after it" : "unknown option",
                   is_bare ? "" : dn_nearest_hint(&nearest, "--"));
}

/* Whether the word after an option that needs none is its value. */
static int is_value(const row *r, const char *word)
{
    return r->kind == FLAG ? dn_parse_truth(word) >= 0
                           : r->kind == OPTIONAL && isdigit((unsigned char)*word);
}

/* In the names of options '_' stands for '-'. */
static void use_dashes(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        for (char *c = argv[i]; strncmp(argv[i], "--", 2) == 0 && *c && *c != '='; c++)
            *c = *c == '_' ? '-' : *c;
}

dn_status dn_records_options_parse(int argc, char **argv, dn_records_options *options)
{
    struct option names[ROWS + 1] = {0};
    for (int i = 0; i < ROWS; i++)
        names[i] =
            (struct option){rows[i].name,
                            rows[i].kind == OPTIONAL || rows[i].kind == FLAG ? optional_argument
                                                                             : required_argument,
                            NULL, 0};
    *options = (dn_records_options){
        .zstd_level = 6,
        .seed = 1,
        .timeout = 60,
        .sample = -1,
        .tfrecords = -1,
        .label_base = -1,
        .jobs = dn_limit_threads(dn_limit_processors("").amount, 1, omp_get_num_procs()),
        .help = argc == 1};
    use_dashes(argc, argv);
    opterr = 0;
    for (int c, at = 0; (c = getopt_long(argc, argv, ":h", names, &at)) != -1;) {
        if (c == '?' || c == ':')
            return refuse_option(argv[optind - 1], c == ':');
        if (c == 'h') {
            options->help = 1;
            continue;
        }
        DN_CHECK(optarg == NULL || *optarg != '\0', DN_EINVAL,
                 "--%s: found \"\", expected a value; see --help", names[at].name);
        if (!optarg && argv[optind] && is_value(&rows[at], argv[optind]))
            optarg = argv[optind++];
        DN_TRY(parse_value(&rows[at], optarg, options));
        options->given |= UINT64_C(1) << at;
    }
    return DN_OK;
}

dn_status dn_records_options_check(const dn_records_options *options, int use, const char *command)
{
    for (int i = 0; i < ROWS; i++)
        DN_CHECK(!(options->given >> i & 1) || (rows[i].use & use), DN_EINVAL,
                 "--%s: found it with %s, which does not take it; see --help", rows[i].name,
                 command);
    return DN_OK;
}

void dn_records_options_print(int use)
{
    enum { COLUMN = 17 };
    for (const row *r = rows; r < rows + ROWS; r++) {
        if (!(r->use & use))
            continue;
        const int used =
            printf("  --%s%s%s", r->name, r->argument ? " " : "", r->argument ? r->argument : "");
        printf(used < COLUMN ? "%*s" : "\n%*s", used < COLUMN ? COLUMN - used : COLUMN, "");
        for (const char *line = r->help; line;) {
            const size_t size = strcspn(line, "\n");
            printf("%.*s\n", (int)size, line);
            line = line[size] ? line + size + 1 : NULL;
            if (line)
                printf("%*s", COLUMN, "");
        }
    }
}
