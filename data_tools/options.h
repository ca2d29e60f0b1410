/*
 * The options of create_records, and the table (dn/option.h) by which they are parsed.
 */
#ifndef DN_RECORDS_OPTIONS_H
#define DN_RECORDS_OPTIONS_H

#include <stdint.h>

#include "dn/option.h"

/* The parsed command line; options that were not given are 0 or NULL unless they have a default. */
typedef struct dn_records_options {
    const char *source;      /* folder of the raw data set; NULL: search for it */
    const char *like;        /* folder of records whose classes are used, or NULL */
    const char *out;         /* folder of the records, created if missing */
    int shards;              /* of the train split; the test split has a proportional number */
    int zstd_level;          /* 1 to 22 */
    int jobs;                /* threads */
    const char *classes;     /* names separated by commas ("\," in a name); NULL: all */
    const char *multi_label; /* folder of images without a class; NULL: images have one class */
    int64_t limit;           /* images per class and split, the first by name; 0: all */
    double val_fraction;     /* drawn for the test split; 0: the default */
    int64_t seed;            /* of the draw */
    int on_bad_image;        /* dn_on_bad_image */
    int tfrecords;           /* dn_tfrecords; -1: by the kind of records */
    int label_base;          /* smallest label of TFRecords, 0 or 1; -1: automatic */
    const char *class_names; /* file of class names; NULL: those beside the TFRecords or in them */
    int extra;               /* include SVHN's extra images */
    const char *val_labels;  /* file with the classes of ImageNet's validation images, or NULL */
    int download;
    const char *url, *sha256; /* of a replacement for the authors' files, or NULL */
    int timeout;              /* seconds under 1 KB/s that end an attempt */
    int short_side;           /* larger images are reduced to it; 0: kept as they are */
    int quality;              /* of JPEGs that are written; 0: the default */
    int exif;                 /* dn_exif */
    const char *grey_window;  /* LOW-HIGH; NULL: none */
    int json;
    const char *png;     /* file to write, or NULL */
    int split;           /* dn_split_id */
    const char *class;   /* name; NULL: all */
    int64_t sample;      /* index of an image; -1: none */
    int count;           /* number of images; 0: the default */
    const char *augment; /* dn/transform.h; NULL: images as stored */
    int64_t epoch;
    int size; /* pixels per side of an image; 0: the default */
    int help, version;
    char **word; /* (words) operands, with a NULL after the last */
    int words;
    dn_option_set given; /* options that were given */
} dn_records_options;

typedef enum dn_on_bad_image { DN_BAD_STOP, DN_BAD_SKIP } dn_on_bad_image;
typedef enum dn_exif { DN_EXIF_IGNORE, DN_EXIF_APPLY } dn_exif;
typedef enum dn_tfrecords { DN_TFRECORDS_KEEP, DN_TFRECORDS_DROP } dn_tfrecords;

/* The bits of `takers`: which commands and sets take an option. */
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
    DN_FOR_DOWNLOAD = 512,
    DN_FOR_FOLDER = 1024,
    DN_FOR_LIST = 2048,
    DN_FOR_SETS = DN_FOR_PIXELS | DN_FOR_IMAGES,
    DN_FOR_ALL = -1
};

/* Sets the defaults and parses the arguments; options->word is a part of `argv`. DN_EINVAL. */
dn_status dn_records_options_parse(int argc, char **argv, dn_records_options *options);

/* DN_EINVAL names an option that was given and that the command does not take, or that needs
 * another one or excludes it; `use` is the command's bit, `command` its name. */
dn_status dn_records_options_check(const dn_records_options *options, int use, const char *command);

/* 1 if the option, named without its dashes, was given. */
int dn_records_options_given(const dn_records_options *options, const char *name);

/* The table; a row without a name ends it. Its `takers` are the bits above. */
extern const dn_option dn_records_option_table[];

#endif
