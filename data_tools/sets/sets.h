/*
 * The known data sets in the (raw) form that their authors publish: finding, downloading and
 * reading their files.
 */
#ifndef DN_SETS_H
#define DN_SETS_H

#include "dn/file.h"
#include "dn/manifest.h"
#include "options.h"

/* A form in which a raw data set is published. */
typedef struct dn_raw_form {
    const char *name;      /* "binary" */
    const char *subfolder; /* subfolder with the files in a folder that holds them */
    const char *probe;     /* file that identifies the form; a name that ends in '/' is a folder,
                              searched for only in --source */
    int is_other;          /* the form cannot be read, and is known for an error message */
} dn_raw_form;

/* A file for download. */
typedef struct dn_raw_archive {
    const char *name; /* file name, also after a mirror's URL */
    int64_t bytes;
    const char *digest; /* MD5 or SHA-256 in hex */
    int64_t unpacked;   /* bytes of its contents; 0: it is not unpacked */
    int is_extra;       /* only with --extra */
} dn_raw_archive;

enum { DN_RAW_FORMS = 3, DN_RAW_ARCHIVES = 4, DN_RAW_MIRRORS = 2 };

/* The images of a split, in memory shared with child processes; empty if zeroed. */
typedef struct dn_raw_split {
    int64_t count;
    uint8_t *pixels;  /* (count, channels, height, width) */
    uint16_t *labels; /* (count) */
    size_t bytes;     /* of pixels and labels */
} dn_raw_split;

struct dn_folder; /* folder/folder.h */
typedef struct dn_raw_set dn_raw_set;

/* Loads a split from the files in `folder`, in their order, into *images made by
 * dn_raw_split_create. DN_ENOENT names a missing file, DN_ECORRUPT the file and record that is not
 * valid. */
typedef dn_status dn_raw_load(const dn_raw_set *set, const char *folder,
                              const dn_records_options *options, dn_split_id split,
                              dn_raw_split *images);

/* The adapter of a data set: a file in this folder with its dn_raw_set, and a row in the table of
 * sets.c. */
struct dn_raw_set {
    dn_data_info info;  /* without mean and std; the name is that on the command line. Sets of
                           encoded images have no height and width */
    int use;            /* bits of the options that it takes */
    const char *prefix; /* of the shards' names: "cifar10"; NULL: named after the source */
    const char *const *class_names; /* (classes) for sets of pixels */
    int64_t count[DN_SPLITS];       /* number of images in the authors' files */

    dn_raw_form form[DN_RAW_FORMS]; /* none: --source is taken as it is */
    const char *package_folder;     /* where a distribution's package installs the files, or NULL */
    const char *hint;               /* how to get the files, for messages */
    const char *mirror[DN_RAW_MIRRORS]; /* URLs of the archives' folders, tried in turn */
    dn_raw_archive archive[DN_RAW_ARCHIVES];

    dn_raw_load *load;                      /* for sets of pixels; for encoded images: */
    dn_status (*scan)(struct dn_folder *f); /* as dn_folder_scan */
};

extern const dn_raw_set dn_raw_cifar10, dn_raw_cifar100, dn_raw_mnist, dn_raw_fashion_mnist,
    dn_raw_svhn, dn_raw_tiny_imagenet, dn_raw_imagenet, dn_raw_folder;

/* Class names of the sets of digits. */
extern const char *const dn_raw_digits[10];

/* All sets, NULL after the last. */
extern const dn_raw_set *const dn_raw_sets[];

/* Searches for the files: in `folder` if it is not NULL, else in the current folder, in
 * $DN_SOURCE_DIR, and where the package or --download puts them; also in the subfolders of forms.
 * Returns 1 and sets `source` if they are found. */
int dn_raw_set_search(const dn_raw_set *set, const char *folder, char source[PATH_MAX]);

/* The same, after downloading the files if --download is given. DN_ENOENT says where to get them;
 * also errors of dn_fetch_file and dn_unpack. */
dn_status dn_raw_set_find(const dn_raw_set *set, const dn_records_options *options,
                          char source[PATH_MAX]);

/* Loads both splits by set->load; the caller frees them, even after a failure. */
dn_status dn_raw_set_load(const dn_raw_set *set, const char *source,
                          const dn_records_options *options, dn_raw_split split[DN_SPLITS]);

/* Prints the known data sets: where to get each, and which files and records are found. */
void dn_records_list(void);

/* Allocates memory for `count` images. DN_ENOMEM. dn_raw_split_free frees and zeroes it. */
dn_status dn_raw_split_create(dn_raw_split *split, const dn_raw_set *set, int64_t count);
void dn_raw_split_free(dn_raw_split *split);

/* For adapters: path = the file `name` in the folder, or that name with .gz; an IDX file also with
 * the name train-images.idx3-ubyte for train-images-idx3-ubyte. DN_ENOENT. */
dn_status dn_raw_file_find(char path[PATH_MAX], const char *folder, const char *name);

/* For adapters: bytes(size), at least one, = everything after the file's header, which must be
 * header(words) in big-endian order. The file may be gzipped, whatever its name. DN_EIO,
 * DN_ECORRUPT. */
dn_status dn_raw_file_read(const char *path, const uint32_t *header, size_t words, uint8_t *bytes,
                           size_t size);

/* For adapters: DN_ECORRUPT if the file, compressed by deflate or not, cannot hold `count` images
 * of `image` bytes, or one block of memory cannot. */
dn_status dn_raw_file_check_count(const char *path, int64_t count, int64_t image);

/* For adapters: word = the first two big-endian words of the file, gzipped or not. DN_EIO,
 * DN_ECORRUPT. */
dn_status dn_raw_file_words(const char *path, uint32_t word[2]);

#endif
