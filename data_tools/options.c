/* The options of create_records; see options.h. */
#include "options.h"

#include <string.h>

#include <omp.h>

#include "dn/limits.h"

#define FOR(use) .takers = use
#define FIELD(member)                                                                              \
    .offset = offsetof(dn_records_options, member),                                                \
    .size = sizeof(((dn_records_options *)NULL)->member)
#define WORD(member, word) .kind = DN_WORD, FIELD(member), .argument = word
#define WHOLE(member, least, most, word)                                                           \
    .kind = DN_WHOLE, FIELD(member), .min = least, .max = most, .argument = word
#define FRACTION(member, word) .kind = DN_BETWEEN, FIELD(member), .max = 1, .argument = word
/* clang-format off */
#define CHOICE(member, ...)                                                                        \
    .kind = DN_CHOICE, FIELD(member), .names = (const char *const[]){__VA_ARGS__, NULL}
/* clang-format on */
#define SWITCH(member) .kind = DN_SWITCH, FIELD(member), .bare = "1"
#define FLAG(member)   .kind = DN_FLAG, FIELD(member), .bare = "1"

const dn_option dn_records_option_table[] = {
    {"source", FOR(DN_FOR_SETS), WORD(source, "DIR"),
     .help = "folder of the raw data set, or the one that has it under its usual name (default: "
             "the current folder, $DN_SOURCE_DIR, a Debian package's, then that of --download); "
             "for FOLDER: class folders of JPEG and PNG files, or folders train, test and val, or "
             "train and one of these, that contain class folders"},
    {"like", FOR(DN_FOR_FOLDER), WORD(like, "DIR"),
     .help =
         "use the classes, in their order, and the mean and std of these records; all images "
         "become the test split, which 'dn_dist eval --data' scores; some classes may have none"},
    {"multi-label", FOR(DN_FOR_FOLDER), WORD(multi_label, "NONE"),
     .help =
         "images have any number of classes: a folder's name joins them with '|', such as "
         "\"Cardiomegaly|Effusion\", with '?' before a class if it is not known whether they have "
         "it; NONE is the name of the folder of images without a class, such as \"No Finding\""},
    {"out", FOR(DN_FOR_SETS | DN_FROM_TFRECORD | DN_TO_TFRECORD), WORD(out, "DIR"),
     .help = "folder of the records, or of the files of to-tfrecord; created if missing"},
    {"shards", FOR(DN_FOR_SETS | DN_FROM_TFRECORD), WHOLE(shards, 1, 99999, "N"),
     .help =
         "number of shards of the train split, or of all images with --like, 1 to 99999 (default "
         "4, for encoded images one per 64 MB); other splits get shards in proportion"},
    {"level", FOR(DN_FOR_SETS | DN_FROM_TFRECORD), WHOLE(zstd_level, 1, 22, "Z"), .initial = "6",
     .help = "zstd level of pixels, 1 to 22"},
    {"classes", FOR(DN_FOR_SETS), WORD(classes, "A,B"),
     .help = "only these classes; write a comma in a name as \\,"},
    {"limit", FOR(DN_FOR_SETS), WHOLE(limit, 1, UINT32_MAX, "N"),
     .help = "at most N images per class and split: the first by name or in the authors' files"},
    {"val-fraction", FOR(DN_FOR_SETS | DN_FROM_TFRECORD), FRACTION(val_fraction, "F"),
     .help = "fraction of each class of the train split drawn as the test split; the set's own "
             "test split is left out; for FOLDER and TFRecords only if they have no such split "
             "(default 0.1)"},
    {"seed", FOR(DN_FOR_SETS | DN_FROM_TFRECORD | DN_FOR_INSPECT),
     WHOLE(seed, 0, (double)INT64_MAX, "S"), .initial = "1", .help = "seed of all random draws"},
    {"on-bad-image", FOR(DN_FOR_IMAGES | DN_FROM_TFRECORD), CHOICE(on_bad_image, "stop", "skip"),
     .initial = "stop", .help = "stop at an image that cannot be decoded, or leave it out"},
    {"short-side", FOR(DN_FOR_IMAGES), WHOLE(short_side, 1, 65500, "[S]"), .bare = "256",
     .help =
         "shrink images whose short side is longer than S (default 256) to that size; PNGs remain "
         "PNGs; without it all are stored unchanged"},
    {"quality", FOR(DN_FOR_IMAGES), WHOLE(quality, 1, 100, "Q"),
     .help = "JPEG quality, 1 to 100 (default 90; without --short-side 95)"},
    {"exif", FOR(DN_FOR_IMAGES), CHOICE(exif, "ignore", "apply"), .initial = "ignore",
     .help = "orientation in EXIF: ignore it, as torchvision does, or apply it, which encodes "
             "the image anew"},
    {"grey-window", FOR(DN_FOR_FOLDER), WORD(grey_window, "LOW-HIGH"),
     .help = "grey levels of 16-bit PNGs that become 0 and 255, such as 0-4095 of 12 bits; the "
             "image becomes an 8-bit PNG (default: the high 8 bits are used)"},
    {"tfrecords", FOR(DN_FOR_SETS), CHOICE(tfrecords, "keep", "drop"),
     .help =
         "also make TFRecord shards, or not (default: keep for pixels, drop for encoded images)"},
    {"label-base", FOR(DN_FROM_TFRECORD), CHOICE(label_base, "0", "1"),
     .help = "label of the first class (default: detected)"},
    {"class-names", FOR(DN_FROM_TFRECORD), WORD(class_names, "FILE"),
     .help = "file with one class name per line, by label (default: found beside the TFRecords or "
             "in them, else numbers)"},
    {"extra", FOR(DN_FOR_EXTRA), SWITCH(extra),
     .help = "add SVHN's 531131 further images to the train split"},
    {"val-labels", FOR(DN_FOR_VAL_LABELS), WORD(val_labels, "FILE"),
     .help =
         "classes of IMAGENET's validation images if they are not in class folders: lines NAME "
         "WNID or NAME LABEL, or the devkit's ground truth (default: from the devkit beside them)"},
    {"download", FOR(DN_FOR_DOWNLOAD), SWITCH(download),
     .help = "download missing files of the authors to --source (default data/downloads/ and the "
             "set's name); resumes interrupted transfers"},
    {"url", FOR(DN_FOR_DOWNLOAD), WORD(url, "URL"),
     .help = "download from here, without a known checksum: the URL of the file, or of its folder "
             "with '/' at the end"},
    {"sha256", FOR(DN_FOR_DOWNLOAD), WORD(sha256, "HEX"),
     .help = "checksum that the file of --url must have"},
    {"timeout", FOR(DN_FOR_DOWNLOAD), WHOLE(timeout, 1, 3600, "S"), .initial = "60",
     .help = "seconds under 1 KB/s that end an attempt; after 4 attempts in a row without "
             "progress, the transfer fails"},
    {"json", FOR(DN_FOR_INFO), SWITCH(json), .help = "print JSON"},
    {"png", FOR(DN_FOR_INSPECT), WORD(png, "FILE"),
     .help = "PNG file to write: many images with their class and number; with --sample one image "
             "in its own size"},
    {"split", FOR(DN_FOR_INSPECT), CHOICE(split, "train", "test", "val"), .initial = "train",
     .help = "split of the images"},
    {"class", FOR(DN_FOR_INSPECT), WORD(class, "NAME"), .help = "only images of this class"},
    {"count", FOR(DN_FOR_INSPECT), WHOLE(count, 1, 10000, "N"),
     .help = "number of images, 1 to 10000 (default 64)"},
    {"sample", FOR(DN_FOR_INSPECT), WHOLE(sample, 0, UINT32_MAX, "N"),
     .help = "image N of the split, from 0: print what it is and where it is stored"},
    {"augment", FOR(DN_FOR_INSPECT), WORD(augment, "LIST"),
     .help = "show the first images of the epoch as training sees them with this --augment, "
             "without --val-fraction and with the default --shuffle"},
    {"epoch", FOR(DN_FOR_INSPECT), WHOLE(epoch, 0, INT32_MAX, "E"), .initial = "0",
     .help = "epoch of the random draws of --augment, from 0"},
    {"size", FOR(DN_FOR_INSPECT), WHOLE(size, 16, 2048, "S"),
     .help = "side of an image in the PNG, 16 to 2048 pixels (default 128, or the size that "
             "--augment gives)"},
    {"jobs", FOR(DN_FOR_ALL & ~DN_FOR_LIST), WHOLE(jobs, 1, 1024, "J"),
     .help = "number of threads, 1 to 1024 (default: one per available processor)"},
    {"help", FOR(DN_FOR_ALL), FLAG(help), .help = "print this text"},
    {"version", FOR(DN_FOR_ALL), FLAG(version), .help = "print the version"},
    {0},
};

_Static_assert(sizeof dn_records_option_table / sizeof *dn_records_option_table <=
                   8 * sizeof(dn_option_set) + 1,
               "dn_records_options.given has a bit for each");

/* Operands are moved to the front of argv. */
static dn_status take_word(const dn_option_reader *reader, const char *word)
{
    dn_records_options *const options = reader->fields;
    options->word[options->words++] = (char *)word;
    return DN_OK;
}

dn_status dn_records_options_parse(int argc, char **argv, dn_records_options *options)
{
    const dn_option_reader reader = {
        dn_records_option_table, DN_FOR_ALL, "create_records", 1, options,
        &options->given,         take_word};
    *options = (dn_records_options){
        .sample = -1,
        .tfrecords = -1,
        .label_base = -1,
        .jobs = dn_limit_threads(dn_limit_processors("").amount, 1, omp_get_num_procs()),
        .help = argc == 1,
        .word = argv};
    DN_TRY(dn_option_set_defaults(dn_records_option_table, options));
    for (int i = 1; i < argc;)
        DN_TRY(dn_option_take(&reader, argc, (const char *const *)argv, &i));
    argv[options->words] = NULL;
    return DN_OK;
}

static int is_given(const dn_records_options *options, const dn_option *o)
{
    return options->given >> (o - dn_records_option_table) & 1;
}

int dn_records_options_given(const dn_records_options *options, const char *name)
{
    return is_given(options,
                    dn_option_find(dn_records_option_table, DN_FOR_ALL, name, strlen(name)));
}

/* Checks options that need another one, or exclude it. */
static dn_status check_together(const dn_records_options *o)
{
    DN_CHECK(!o->quality || o->short_side || o->exif == DN_EXIF_APPLY, DN_EINVAL,
             "--quality: found it without --short-side or --exif apply, so no JPEG is made");
    DN_CHECK(!o->multi_label || !strchr(o->multi_label, '|'), DN_EINVAL,
             "--multi-label: found '%s', expected the name of one folder, without '|'",
             o->multi_label);
    DN_CHECK(!o->multi_label || !o->classes, DN_EINVAL,
             "--classes: found it with --multi-label, which takes all classes");
    DN_CHECK(!o->multi_label || o->tfrecords != DN_TFRECORDS_KEEP, DN_EINVAL,
             "--tfrecords: found keep with --multi-label, expected drop: a TFRecord has one label");
    DN_CHECK(!o->like || !o->classes, DN_EINVAL,
             "--classes: found it with --like, whose classes are taken");
    DN_CHECK(!o->like || o->val_fraction <= 0, DN_EINVAL,
             "--val-fraction: found it with --like, where all images are the test split");
    return DN_OK;
}

dn_status dn_records_options_check(const dn_records_options *options, int use, const char *command)
{
    dn_option_reader reader = {.table = dn_records_option_table, .takers = use};
    snprintf(reader.usage, sizeof reader.usage, "create_records %s", command);
    for (const dn_option *o = dn_records_option_table; o->name; o++)
        if (is_given(options, o) && !(o->takers & use))
            return dn_option_refuse(&reader, "--", o->name);
    return check_together(options);
}
