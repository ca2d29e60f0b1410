/*
 * Makes records from TFRecord files of other programs.
 *
 * tfrecord_files.c finds the splits by the names of files; tfrecord_scan.c reads each file once,
 * for everything but the images; tfrecord_names.c names the classes; from_tfrecord.c checks every
 * image and makes the records; record_reader.c reads a record again. Of each record only its place
 * and a few numbers are kept.
 */
#ifndef DN_FROM_TFRECORD_H
#define DN_FROM_TFRECORD_H

#include "writer/pixel_sums.h"
#include "tfrecord/tfrecord.h"

/* A hint that follows the fault of a bad record. */
#define DN_SKIP_HINT "; --on-bad-image skip leaves such records out"

typedef struct dn_record {
    int64_t offset; /* in its file */
    int64_t bytes;  /* of the image; this and the rest are set by from_tfrecord.c */
    uint64_t hash;  /* XXH3-64 of the image's bytes */
    int32_t width, height;
    int32_t file;
    uint32_t number; /* in its file */
    uint16_t label;
    uint8_t split;     /* dn_split_id */
    uint8_t is_raw;    /* raw pixels, which become PNG in encoded shards */
    uint8_t is_jpeg;   /* pixel shards are not made from JPEGs */
    uint8_t is_colour; /* not grayscale */
    int8_t status;     /* dn_status: why it is bad */
    char *fault;       /* the message; NULL: it is good */
} dn_record;

typedef struct dn_record_file {
    const char *path;
    dn_split_id split;
    int is_packed;      /* gzipped: its records are in the unpacked file */
    int64_t base, size; /* where its records begin, and their bytes */
    dn_record *record;  /* (records) until join_records */
    int64_t records, room;
    dn_failure failure;
} dn_record_file;

/* The class name in the first example of a label. */
typedef struct dn_class_text {
    char *text; /* NULL: nothing */
    int file;
} dn_class_text;

/* Zeroed except for the options before dn_record_list; then the caller frees it, even after a
 * failure. */
typedef struct dn_record_set {
    const dn_records_options *options;
    char name[64];        /* of the set: the part of the first file's name before "train" */
    dn_record_file *file; /* (files) */
    int files;
    int unpacked; /* anonymous file of unpacked records; -1: none */
    int64_t unpacked_bytes;
    int is_drawn;      /* the test split is drawn from the records */
    dn_record *record; /* (records) by split, then in the order of the files */
    int64_t records;
    dn_class_text *text; /* (65536) by the labels of the files */
    char **class_names;  /* (classes) */
    int classes;
} dn_record_set;

/* Lists the files with their splits, and names the set after them. DN_EINVAL, also if a file is
 * given twice; DN_ENOMEM. */
dn_status dn_record_list(dn_record_set *set, int files, char **file);

/* Reads all files. Labels are as in the files. DN_EINVAL, DN_ENOENT, DN_EIO, DN_ENOMEM; DN_ECORRUPT
 * names file, record and byte. */
dn_status dn_record_scan(dn_record_set *set);

/* Names the classes and shifts labels to begin with 0. DN_EINVAL names a label without a class, or
 * an invalid file of names. */
dn_status dn_record_name(dn_record_set *set);

void dn_record_free(dn_record_set *set);

/* text(size) = "FILE: record N at byte B", for messages. */
void dn_record_describe(const dn_record_set *set, const dn_record *record, char *text, size_t size);

/* ---- reading records again ---- */

/* The working memory of one thread, DN_RECORD_READER at first; to be freed. */
typedef struct dn_record_reader {
    int opened, file; /* the index of the open file; its descriptor unless it is packed */
    int64_t size;
    dn_buffer buffer;
    dn_example example; /* the record's */
    dn_pixels pixels;   /* of its image */
    char name[PATH_MAX + 64];
    dn_pixel_sums sums;
} dn_record_reader;

#define DN_RECORD_READER ((dn_record_reader){.opened = -1, .file = -1})

void dn_record_reader_free(dn_record_reader *d);

/* dn_record_read reads the record's example. Then dn_record_pixels decodes its pixels;
 * dn_record_encode sets *bytes(*size) to the image for an encoded shard, and *png to memory that
 * the caller frees, or NULL. DN_ECORRUPT, DN_EINVAL, DN_EIO, DN_ENOMEM. */
dn_status dn_record_read(const dn_record_set *set, const dn_record *record, dn_record_reader *d);
dn_status dn_record_pixels(dn_record_reader *d);
dn_status dn_record_encode(const dn_record_reader *d, const uint8_t **bytes, size_t *size,
                           uint8_t **png);

typedef dn_status dn_record_job(const dn_record_set *set, dn_record *record, dn_record_reader *d);

/* Runs the job for all records, by all threads, and returns the failure of the first one in order,
 * the same on any number of threads. Faults of images, if these are to be skipped, are stored in
 * the records instead. The readers' sums are added to `sums`; `what` is for the progress line. */
dn_status dn_each_record(dn_record_set *set, const char *what, dn_record_job *job,
                         dn_pixel_sums *sums);

#endif
