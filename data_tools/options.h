/*
 * The options of create_records: the table (dn/option.h) that they are read by.
 */
#ifndef DN_RECORDS_OPTIONS_H
#define DN_RECORDS_OPTIONS_H

#include <stdint.h>

#include "dn/option.h"

/* What the words say; zeros and NULL where they say nothing. */
typedef struct dn_records_options {
    const char *source;      /* folder of the raw data set, NULL: search */
    const char *like;        /* folder of records whose classes are taken, or NULL */
    const char *out;         /* folder of the records, made where it is missing */
    int shards;              /* of the train split, the test split gets a number in proportion */
    int zstd_level;          /* 1 to 22 */
    int jobs;                /* threads */
    const char *classes;     /* commas between the names, "\," one in a name; NULL: all */
    int64_t limit;           /* images a class and split, the first by name; 0: all */
    double val_fraction;     /* that is drawn for the test split; 0: the default */
    int64_t seed;            /* of the draw */
    int on_bad_image;        /* dn_on_bad_image */
    int tfrecords;           /* dn_tfrecords; -1: by the kind of records */
    int label_base;          /* the least label of TFRecords, 0 or 1; -1: found out */
    const char *class_names; /* file of theirs, NULL: those beside the TFRecords or in them */
    int extra;               /* SVHN's further images, too */
    const char *val_labels;  /* file with the classes of ImageNet's validation images, or NULL */
    int download;
    const char *url, *sha256; /* of what is got instead of the authors' files, or NULL */
    int timeout;              /* seconds after which a silent server is given up */
    int short_side;           /* of images that are larger; 0: all are kept as they are */
    int quality;              /* of JPEG, where one is made; 0: the default */
    int exif;                 /* dn_exif */
    int json;
    const char *png;     /* file to make, or NULL */
    int split;           /* dn_split_id */
    const char *class;   /* name, NULL: all */
    int64_t sample;      /* index of an image, -1: none */
    int count;           /* images; 0: the default */
    const char *augment; /* dn/transform.h, NULL: as stored */
    int64_t epoch;
    int size; /* pixels a side of an image; 0: the default */
    int help, version;
    char **word; /* (words) those that are no options, and NULL after them */
    int words;
    dn_option_set given; /* the options that are among the arguments */
} dn_records_options;

typedef enum dn_on_bad_image { DN_BAD_STOP, DN_BAD_SKIP } dn_on_bad_image;
typedef enum dn_exif { DN_EXIF_IGNORE, DN_EXIF_APPLY } dn_exif;
typedef enum dn_tfrecords { DN_TFRECORDS_KEEP, DN_TFRECORDS_DROP } dn_tfrecords;

/* Who takes an option: bits. */
enum {
    DN_FOR_PIXELS = 1, /* sets of pixels of one size */
    DN_FOR_IMAGES = 2, /* sets of encoded images */
    DN_FOR_VERIFY = 4,
    DN_FOR_INFO = 8,
    DN_FOR_INSPECT = 16,
    DN_FROM_TFRECORD = 32,
    DN_TO_TFRECORD = 64,
    DN_FOR_EXTRA = 128,      /* SVHN */
    DN_FOR_VAL_LABELS = 256, /* IMAGENET */
    DN_FOR_DOWNLOAD = 512,   /* all sets but FOLDER */
    DN_FOR_FOLDER = 1024,
    DN_FOR_LIST = 2048,
    DN_FOR_SETS = DN_FOR_PIXELS | DN_FOR_IMAGES,
    DN_FOR_ALL = -1
};

/* Sets the defaults and reads the arguments, which become options.word. DN_EINVAL. */
dn_status dn_records_options_parse(int argc, char **argv, dn_records_options *options);

/* What was given is for the command: `use` is its bit, `command` its name. DN_EINVAL names an
 * option that is not. */
dn_status dn_records_options_check(const dn_records_options *options, int use, const char *command);

/* 1 where the option, named without its dashes, is among the arguments. */
int dn_records_options_given(const dn_records_options *options, const char *name);

/* The table; a row without a name ends it. Its takers are those bits. */
extern const dn_option dn_records_option_table[];

#endif
