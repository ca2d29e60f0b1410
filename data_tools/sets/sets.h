/*
 * The known data sets as their authors publish them, raw: finding their files, getting them, and
 * reading them.
 */
#ifndef DN_SETS_H
#define DN_SETS_H

#include "dn/file.h"
#include "dn/manifest.h"
#include "options.h"

/* A form in which a raw data set is published. */
typedef struct dn_raw_form {
    const char *name;      /* "binary" */
    const char *subfolder; /* where the files stand below a folder that holds them */
    const char *probe;     /* the file by which it is known; a folder where it ends in '/', which is
                              looked for only in a folder that is named */
    int is_other;          /* it is not read, and known only to say so */
} dn_raw_form;

/* A file that the authors offer. */
typedef struct dn_raw_archive {
    const char *name; /* of the file, and after a mirror's URL */
    int64_t bytes;
    const char *digest; /* its MD5 or SHA-256, in hex */
    int64_t unpacked;   /* bytes of what is in it; 0: it is read as it is */
    int is_extra;       /* --extra asks for it */
} dn_raw_archive;

enum { DN_RAW_FORMS = 3, DN_RAW_ARCHIVES = 4, DN_RAW_MIRRORS = 2 };

/* The images of a split in memory that child processes share; zeroed: none. */
typedef struct dn_raw_split {
    int64_t count;
    uint8_t *pixels;  /* (count, channels, height, width) */
    uint16_t *labels; /* (count) */
    size_t bytes;     /* of both */
} dn_raw_split;

struct dn_folder; /* folder/folder.h */
typedef struct dn_raw_set dn_raw_set;

/* Makes a split of the files in `folder`, in their order, by dn_raw_split_create. DN_ENOENT names
 * the file that is missing, DN_ECORRUPT the file and record that is not valid. */
typedef dn_status dn_raw_load(const dn_raw_set *set, const char *folder,
                              const dn_records_options *options, dn_split_id split,
                              dn_raw_split *images);

/* The adapter to one: a file of this folder with its dn_raw_set, and a row in the table of sets.c.
 */
struct dn_raw_set {
    dn_data_info info;  /* without mean and std; the name is as on the command line. Without height
                            and width: encoded images, and `classes` says how many they are of */
    int use;            /* bits of options that it takes */
    const char *prefix; /* of the shards' names: "cifar10" */
    const char *folder; /* default output */
    const char *const *class_names; /* (classes), of sets of pixels */
    int64_t count[DN_SPLITS];       /* images, as the authors publish it */

    dn_raw_form form[DN_RAW_FORMS];
    const char *package_folder;         /* where a distribution's package puts the files, or NULL */
    const char *hint;                   /* how to get the files */
    const char *mirror[DN_RAW_MIRRORS]; /* URLs of the archives' folders, to be tried in turn */
    dn_raw_archive archive[DN_RAW_ARCHIVES];

    dn_raw_load *load;                      /* of sets of pixels; of encoded images: */
    dn_status (*scan)(struct dn_folder *f); /* as dn_folder_scan */
};

extern const dn_raw_set dn_raw_cifar10, dn_raw_cifar100, dn_raw_mnist, dn_raw_fashion_mnist,
    dn_raw_svhn, dn_raw_tiny_imagenet, dn_raw_imagenet;

/* Class names of two of them. */
extern const char *const dn_raw_digits[10];

/* All of them, NULL after the last. */
extern const dn_raw_set *const dn_raw_sets[];

/* 1, and source = the folder of the files: `folder` or below it where it is given, else the current
 * folder, $DN_SOURCE_DIR, where the package or --download puts them. */
int dn_raw_set_search(const dn_raw_set *set, const char *folder, char source[PATH_MAX]);

/* The same, after getting the files where --download asks for it. DN_ENOENT says where to get them;
 * otherwise as dn_fetch_file and dn_unpack. */
dn_status dn_raw_set_find(const dn_raw_set *set, const dn_records_options *options,
                          char source[PATH_MAX]);

/* Both splits, as `load` gives them, to be freed by the caller, after a failure too. */
dn_status dn_raw_set_load(const dn_raw_set *set, const char *source,
                          const dn_records_options *options, dn_raw_split split[DN_SPLITS]);

/* Prints the known data sets: where to get each, and what of it is found. */
void dn_records_list(void);

/* Memory for so many images; freeing it leaves it zeroed. DN_ENOMEM. */
dn_status dn_raw_split_create(dn_raw_split *split, const dn_raw_set *set, int64_t count);
void dn_raw_split_free(dn_raw_split *split);

/* For adapters: path = the file `name` of the folder, under that name or with .gz after it; an IDX
 * file also as some archives name it, train-images.idx3-ubyte for train-images-idx3-ubyte.
 * DN_ENOENT. */
dn_status dn_raw_file_find(char path[PATH_MAX], const char *folder, const char *name);

/* For adapters: bytes(size), at least one, = all that the file holds after its header, which must
 * be exactly these words, big-endian; gzipped or not, whatever its name. DN_EIO, DN_ECORRUPT. */
dn_status dn_raw_file_read(const char *path, const uint32_t *header, size_t words, uint8_t *bytes,
                           size_t size);

/* For adapters: a file, packed by deflate or not, can hold so many images of `image` bytes, which
 * one block of memory can, too. DN_ECORRUPT. */
dn_status dn_raw_file_check_count(const char *path, int64_t count, int64_t image);

/* For adapters: word = the file's first two, big-endian; gzipped or not. DN_EIO, DN_ECORRUPT. */
dn_status dn_raw_file_words(const char *path, uint32_t word[2]);

#endif
