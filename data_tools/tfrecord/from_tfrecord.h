/*
 * Records of TFRecord files that others wrote.
 *
 * tfrecord_files.c tells by their names which split they are of; tfrecord_scan.c reads each once,
 * for what the examples say but their images; tfrecord_names.c names the classes; from_tfrecord.c
 * proves every image sound and makes the records, which record_reader.c reads again. What is kept
 * of a record is its place and a few numbers.
 */
#ifndef DN_FROM_TFRECORD_H
#define DN_FROM_TFRECORD_H

#include "making/pixel_sums.h"
#include "tfrecord/tfrecord.h"

/* What to do about a bad record; after its fault. */
#define DN_SKIP_HINT "; --on-bad-image skip leaves such records out"

typedef struct dn_record {
    int64_t offset; /* in its file */
    int64_t bytes;  /* of the image; from here on by from_tfrecord.c */
    uint64_t hash;  /* XXH3-64 of these */
    int32_t width, height;
    int32_t file;
    uint32_t number; /* in its file */
    uint16_t label;
    uint8_t split;     /* dn_split_id */
    uint8_t is_raw;    /* pixels, which encoded shards take as PNG */
    uint8_t is_jpeg;   /* what no pixel shard is made of */
    uint8_t is_colour; /* not gray */
    int8_t status;     /* dn_status: why it is not sound */
    char *fault;       /* and in words; NULL: it is */
} dn_record;

typedef struct dn_record_file {
    const char *path;
    dn_split_id split;
    int is_packed;      /* by gzip: its records stand in the file of the unpacked */
    int64_t base, size; /* where they begin, and their bytes */
    dn_record *record;  /* (records), until all are in one list */
    int64_t records, room;
    dn_failure failure;
} dn_record_file;

/* What the first example of a label says of its class. */
typedef struct dn_class_text {
    char *text; /* NULL: nothing */
    int file;
} dn_class_text;

/* Zeroed but for the options before it is listed; freed after that, after a failure too. */
typedef struct dn_record_set {
    const dn_records_options *options;
    char name[64];        /* of the set: what the first file's name has before "train" */
    dn_record_file *file; /* (files) */
    int files;
    int unpacked; /* file without a name, -1: none */
    int64_t unpacked_bytes;
    int is_drawn;      /* the test split is a part of the records */
    dn_record *record; /* (records), by split; in each in the order of the files */
    int64_t records;
    dn_class_text *text; /* (65536), by the files' labels */
    char **class_names;  /* (classes) */
    int classes;
} dn_record_set;

/* Lists the files with their splits, and names the set by them. DN_EINVAL, as where two are one;
 * DN_ENOMEM. */
dn_status dn_record_list(dn_record_set *set, int files, char **file);

/* Reads all files. The labels are the files'. DN_EINVAL, DN_ENOENT, DN_EIO, DN_ENOMEM; DN_ECORRUPT
 * names file, record and byte. */
dn_status dn_record_scan(dn_record_set *set);

/* Names the classes; afterwards labels begin with 0. DN_EINVAL names a label that has no class, or
 * a file of names that is none. */
dn_status dn_record_name(dn_record_set *set);

void dn_record_free(dn_record_set *set);

/* text(size) = "FILE: record N at byte B", for messages. */
void dn_record_describe(const dn_record_set *set, const dn_record *record, char *text, size_t size);

/* ---- reading them again ---- */

/* What one thread uses, DN_RECORD_READER at first; freed in the end. */
typedef struct dn_record_reader {
    int opened, file; /* which file that is, and its descriptor where it is not packed */
    int64_t size;
    dn_buffer buffer;
    dn_example example; /* the record's */
    dn_pixels pixels;   /* its image's */
    char name[PATH_MAX + 64];
    dn_pixel_sums sums;
} dn_record_reader;

#define DN_RECORD_READER ((dn_record_reader){.opened = -1, .file = -1})

void dn_record_reader_free(dn_record_reader *d);

/* Reads the record's example; then of that its pixels, or *bytes(size) = the image as an encoded
 * shard has it; *png, to be freed by the caller, or NULL. DN_ECORRUPT, DN_EINVAL, DN_EIO,
 * DN_ENOMEM. */
dn_status dn_record_read(const dn_record_set *set, const dn_record *record, dn_record_reader *d);
dn_status dn_record_pixels(dn_record_reader *d);
dn_status dn_record_encode(const dn_record_reader *d, const uint8_t **bytes, size_t *size,
                           uint8_t **png);

typedef dn_status dn_record_job(const dn_record_set *set, dn_record *record, dn_record_reader *d);

/* Runs the job for all, by all threads, and returns the first failure in their order, which is the
 * same on any number of threads; but a fault of an image, where these are to be skipped, is noted
 * in its record. The readers' sums are added to `sums`; `what` is for the progress line. */
dn_status dn_each_record(dn_record_set *set, const char *what, dn_record_job *job,
                         dn_pixel_sums *sums);

#endif
