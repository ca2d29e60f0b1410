/*
 * Makes records of encoded images from any tree of class folders with JPEG and PNG files.
 *
 * folder_splits.c finds the splits, folder_classes.c the classes, folder_sets.c sets of classes
 * (--multi-label), and folder_scan.c the files (sets/imagenet.c those of ImageNet); folder_files.c
 * reads files, folder_shards.c converts images and makes the shards, folder_doubles.c finds
 * duplicates, and folder.c is the whole. An image's path and a few numbers are kept, its bytes only
 * until its shard is written.
 */
#ifndef DN_FOLDER_H
#define DN_FOLDER_H

#include "dn/progress.h"
#include "sets/sets.h"
#include "writer/writer.h"

/* As dn_records_make (sets/records.h), for a set of encoded images; dn_raw_folder is any tree of
 * class folders, named after the last component of options->source. With options->shards 0 a shard
 * has some 64 MB. out = the folder of the records, as of dn_writer_out. DN_ECORRUPT or DN_EINVAL
 * names a bad image. */
dn_status dn_folder_make(const dn_raw_set *set, const dn_records_options *options,
                         char out[PATH_MAX], int *made);

/* ---- the files ---- */

typedef struct dn_folder_image {
    char *path; /* below the source */
    /* the tar file that contains it, from byte `at` on; NULL: it is a file */
    const char *archive;
    int64_t at;
    int64_t size;   /* of one in an archive; this and the rest: folder_files.c, folder_shards.c */
    uint64_t hash;  /* XXH3-64 of its bytes, 0 if they cannot be read */
    uint16_t label; /* its class, or with --multi-label its set of classes */
    uint8_t split;  /* dn_split_id */
    uint8_t is_bad : 1;
    uint8_t is_dark : 1; /* a dark PNG of 16 bits, of which 8 are kept */
} dn_folder_image;

/* Zeroed before the scan; the caller frees it, even after a failure. */
typedef struct dn_folder {
    const char *source;
    const dn_records_options *options;
    const dn_manifest *like; /* records whose classes and their order are used, or NULL */
    char **class_names;      /* (classes), by code point, or in the order of `like` */
    int classes;
    int labels;                /* number of different labels: classes, or sets of classes */
    uint8_t *label_sets;       /* as of dn_manifest */
    struct json_t *set_labels; /* the label of each set; NULL: none yet */
    int *place;                /* (classes) their indices among all classes of the source */
    int all_classes;
    char *archive[DN_SPLITS]; /* tar files, or NULL */
    int is_drawn;             /* the test split is drawn from the train split's folder */
    dn_folder_image *image;   /* (images), by split, class and name */
    int64_t images, room;
    int64_t skipped;      /* files: hidden, or not images */
    int64_t other_images; /* of these, by name: TIFF, DICOM, ... */
    char *other;          /* the first of them that is not hidden, in a class folder; or NULL */
    int empty_folders;    /* class folders of the train split that have no image */
    dn_failure empty;     /* the first of them */
    dn_progress finding;  /* images found, during the scan */
} dn_folder;

/* Finds classes and images; with f->like those of a test split only. DN_ENOENT, DN_EINVAL, DN_EIO,
 * DN_ENOMEM. */
dn_status dn_folder_scan(dn_folder *f);

/* ---- splits ---- */

/* Folders of the splits below the source, "" for none; all are "" if the source itself has the
 * class folders. */
typedef struct dn_folder_splits {
    char name[DN_SPLITS][NAME_MAX + 1];
} dn_folder_splits;

/* Finds the folders of splits. DN_EINVAL if folders have names of splits but do not form splits. */
dn_status dn_folder_find_splits(const dn_folder *f, dn_folder_splits *splits);

/* Warns of the folders beside the splits, which are ignored; DN_EINVAL for a split's second. */
dn_status dn_folder_name_siblings(const dn_folder *f, const dn_folder_splits *splits);

/* Warns if all images below the folder `train` of the source ("": the source) are in subfolders of
 * the class folders, several for a class: the subfolders may be the classes. */
void dn_folder_warn_of_depth(const dn_folder *f, const char *train);

/* Warns of images whose bytes are the same in the train split and another split, or otherwise in
 * two classes. DN_ENOMEM. */
dn_status dn_folder_warn_of_doubles(const dn_folder *f);

/* ---- for scans; as dn_folder_scan ---- */

/* names(*count) = the folders in `path`, by code point; the caller frees them, even after a
 * failure. *others is raised by the number of other entries, and dangling links are named; NULL:
 * not counted, not named. DN_EIO if an entry that may be a folder cannot be read. */
dn_status dn_folder_names(const char *path, char ***names, int *count, int64_t *others);
void dn_folder_free_names(char **names, int count);

/* *has = 1 if there is a folder in `path`. Errors as of dn_folder_names. */
dn_status dn_folder_has_folders(const char *path, int *has);

/* The index of `name` in names(count), which are sorted by code point, or -1. */
int dn_folder_find_name(const char *name, char **names, int count);

/* DN_EINVAL unless dataset.json can have the name of a class folder in `folder`. */
dn_status dn_folder_check_name(const char *folder, const char *name);

/* Takes over the names(classes) of all classes in `where`, in their order, and keeps those of
 * --classes. DN_EINVAL if fewer than two are left. */
dn_status dn_folder_set_classes(dn_folder *f, const char *where, char **names, int classes);

/* For --multi-label: takes the classes in the names of the folders of all splits, and warns if none
 * is of images without a class. DN_EINVAL, DN_ENOMEM. */
dn_status dn_folder_find_set_classes(dn_folder *f, const dn_folder_splits *splits);

/* *label = the label of the set of classes that the folder's name is, a new one if need be.
 * DN_EINVAL, DN_ENOMEM. */
dn_status dn_folder_find_set(dn_folder *f, const char *where, const char *name, int *label);

/* Appends an image to f->image: the file `below`, relative to the source. */
dn_status dn_folder_add(dn_folder *f, const char *below, dn_split_id split, int label);

/* Add the images of the class folders in `folder`. The train split defines the classes, unless they
 * are those of dn_folder_find_set_classes; other splits may lack some. */
dn_status dn_folder_scan_train(dn_folder *f, const char *folder);
dn_status dn_folder_scan_other(dn_folder *f, const char *folder, dn_split_id split);

/* Moves a fraction of each class of the train split to the empty test split (selection.h). */
dn_status dn_folder_draw(dn_folder *f);

/* Accepts a zeroed one. */
void dn_folder_free(dn_folder *f);

/* Sets the images' sizes. *listing = a checksum of names, labels, sizes and modification times, by
 * which an interrupted run recognises the same files without reading them. */
dn_status dn_folder_list(dn_folder *f, uint64_t *listing);

/* Reads all files and sets their checksums. DN_EIO. */
dn_status dn_folder_hash(dn_folder *f);

/* Reads the image's bytes(*size), at least one, into the buffer; path = its path. Thread-safe. */
dn_status dn_folder_read(const dn_folder *f, const dn_folder_image *image, char path[PATH_MAX],
                         dn_buffer *bytes, size_t *size);

/* *name = the file name of the image in a shard: its path relative to the source, for an image in
 * an archive as it would be in class folders ("train/n01440764/n01440764_10026.JPEG"). The caller
 * frees it. DN_ENOMEM. */
dn_status dn_folder_image_name(const dn_folder *f, const dn_folder_image *image, char **name);

/* 1 if `status` is a fault of the image, not of the machine. */
int dn_folder_is_bad(dn_status status);

#endif
