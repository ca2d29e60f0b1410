/*
 * Any tree of class folders with JPEG and PNG files, as records of encoded images.
 *
 * folder_splits.c finds the splits, folder_classes.c the classes, folder_scan.c the files (for
 * known sets sets/imagenet.c does), folder_files.c reads the files, folder.c makes the records,
 * folder_shards.c the shards, conversion.c an image, folder_doubles.c compares splits. What is kept
 * of an image is its path and a few numbers; its bytes only until its shard is written.
 */
#ifndef DN_FOLDER_H
#define DN_FOLDER_H

#include "dn/progress.h"
#include "folder/conversion.h"
#include "making/making.h"

struct dn_folder;

/* A known set of images, whose files are found. */
typedef struct dn_folder_set {
    dn_data_info info;
    const char *prefix; /* of the shards' names */
    const char *source;
    const char *folder;                     /* default of *out */
    dn_status (*scan)(struct dn_folder *f); /* as dn_folder_scan */
} dn_folder_set;

/* Options that need others, or forbid them. DN_EINVAL. */
dn_status dn_folder_check_options(const dn_records_options *options);

/* As dn_records_make (sets/records.h), of that set, or NULL: of the class folders in
 * options->source; options->shards 0: so many that a shard has some 64 MB. *out = the folder of the
 * records, options->out or a default: the set's, or one by the source's name. DN_ECORRUPT or
 * DN_EINVAL names an image that is not sound. */
dn_status dn_folder_make(const dn_folder_set *set, const dn_records_options *options,
                         char out[PATH_MAX], int *made);

/* ---- the files ---- */

typedef struct dn_folder_image {
    char *path; /* below the source */
    /* the tar file that it is in, from byte `at` on; NULL: a file of its own */
    const char *archive;
    int64_t at;
    int64_t size;  /* of one in an archive; from here on by folder_files.c and folder_shards.c */
    uint64_t hash; /* XXH3-64 of its bytes, 0 where they cannot be read */
    uint16_t label;
    uint8_t split; /* dn_split_id */
    uint8_t is_bad : 1;
    uint8_t is_faint : 1; /* a PNG of 16 bits, of which it uses at most 14 */
} dn_folder_image;

/* Zeroed before the scan; freed after it, after a failure too. */
typedef struct dn_folder {
    const char *source;
    const dn_records_options *options;
    const dn_manifest *like; /* records whose classes these are, by their order; NULL: none */
    char **class_names;      /* (classes), by code point, or as `like` has them */
    int classes;
    int *place; /* (classes), of each among all that the source has */
    int all_classes;
    char *archive[DN_SPLITS]; /* tar files, or NULL */
    int is_drawn;           /* the test split is a part of the folder that the train split is in */
    dn_folder_image *image; /* (images), by split, class and name */
    int64_t images, room;
    int64_t passed_over; /* files that are hidden or no images */
    char *other;         /* the first of them that is not hidden, in a class folder, or NULL */
    dn_progress finding; /* of images, during the scan */
} dn_folder;

/* Finds classes and images; where f->like is, of a test split alone. DN_ENOENT, DN_EINVAL, DN_EIO,
 * DN_ENOMEM. */
dn_status dn_folder_scan(dn_folder *f);

/* ---- splits ---- */

/* Folders below the source, "" where there is none; all "": the source has class folders itself. */
typedef struct dn_folder_splits {
    char name[DN_SPLITS][NAME_MAX + 1];
} dn_folder_splits;

/* DN_EINVAL where names are those of splits, and do not make any. */
dn_status dn_folder_find_splits(const dn_folder *f, dn_folder_splits *splits);

/* Names the folders beside the splits. */
dn_status dn_folder_name_siblings(const dn_folder *f, const dn_folder_splits *splits);

/* Warns where all images that were found, below the folder `train` of the source, or "", stand in
 * folders of the class folders, and those of a class in several: these may be the classes. */
void dn_folder_warn_of_depth(const dn_folder *f, const char *train);

/* Warns of images that stand, with the same bytes, in the train split and in another, or, apart
 * from those, in two classes. DN_ENOMEM. */
dn_status dn_folder_warn_of_doubles(const dn_folder *f);

/* ---- for scans; as dn_folder_scan ---- */

/* names(*count) = the folders in `path`, by code point, to be freed, after a failure too; *others
 * grows by what else is there, of which links to nothing are named; NULL: nothing is said of it.
 * DN_EIO where one may be a folder, and cannot be reached. */
dn_status dn_folder_names(const char *path, char ***names, int *count, int64_t *others);
void dn_folder_free_names(char **names, int count);
int dn_folder_is_among(const char *name, char **names, int count);

/* Takes over the names(classes), sorted, of all classes that are in `where`; leaves those of
 * --classes. DN_EINVAL where fewer than two are left. */
dn_status dn_folder_set_classes(dn_folder *f, const char *where, char **names, int classes);

/* Its label, or -1; not with `like`, whose classes are not sorted. */
int dn_folder_find_class(const dn_folder *f, const char *name);

/* Adds f->image[f->images - 1], a file below the source. */
dn_status dn_folder_add(dn_folder *f, const char *below, dn_split_id split, int label);

/* Add the images of the class folders in `folder`; that of the train split tells the classes, and
 * those of the others may lack some. */
dn_status dn_folder_scan_train(dn_folder *f, const char *folder);
dn_status dn_folder_scan_other(dn_folder *f, const char *folder, dn_split_id split);

/* Moves a fraction of each class of the train split to the test split, which is empty
 * (selection.h). */
dn_status dn_folder_draw(dn_folder *f);

void dn_folder_free(dn_folder *f);

/* Sets the images' sizes. *listing = a checksum of what tells without reading them that they are
 * those of an earlier attempt: names, labels, sizes and times of change. */
dn_status dn_folder_list(dn_folder *f, uint64_t *listing);

/* Reads all files and sets their checksums. DN_EIO. */
dn_status dn_folder_hash(dn_folder *f);

/* *size bytes of the image, at least one, in the buffer; `path` is its. Thread-safe. */
dn_status dn_folder_read(const dn_folder *f, const dn_folder_image *image, char path[PATH_MAX],
                         dn_buffer *bytes, size_t *size);

/* *name = that of the image's file in a shard: below the source, and of one in an archive as it
 * would be in folders of classes, "train/n01440764/n01440764_10026.JPEG". To be freed. DN_ENOMEM.
 */
dn_status dn_folder_image_name(const dn_folder *f, const dn_folder_image *image, char **name);

/* What `status` says of an image is a fault of the image, not of the machine. */
int dn_folder_is_bad(dn_status status);

#endif
