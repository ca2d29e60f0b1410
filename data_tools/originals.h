/*
 * Adapters to the original files of data sets. A new data set is one file with its dn_dataset and
 * one line in the table of originals.c.
 */
#ifndef DN_ORIGINALS_H
#define DN_ORIGINALS_H

#include "dn/manifest.h"

typedef struct dn_dataset {
    const char *name;   /* as on the command line: "CIFAR10" */
    const char *prefix; /* of the shards' names: "cifar10" */
    const char *folder; /* default output */
    int channels, height, width, classes;
    const char *const *class_names; /* (classes) */
    int64_t count[DN_SPLITS];       /* images */

    const char *subfolder;      /* where the files stand below a folder that holds them */
    const char *probe;          /* the file by which a source is known */
    const char *package_folder; /* where a distribution's package puts the files, or NULL */
    const char *hint;           /* where to get the files, and their checksum */

    size_t source_bytes; /* of the adapter's state, zero before `open` */

    /* Opens the files in `folder` and checks that they are all there; `close` follows in any case.
     * DN_ENOENT names the file that is missing. */
    dn_status (*open)(void *source, const char *folder);

    /* image(channels, height, width) and its label, in the source's order. Thread-safe.
     * DN_ECORRUPT names the file and the record that is not valid. */
    dn_status (*read)(const void *source, dn_split_id split, int64_t index, uint8_t *image,
                      int *label);

    void (*close)(void *source);
} dn_dataset;

extern const dn_dataset dn_dataset_cifar10, dn_dataset_fashion_mnist;

/* The data sets by index, NULL after the last. */
const dn_dataset *dn_dataset_at(int index);

/* Finds the original files and opens them: in `folder` where it is given, else in the current
 * folder, in $DN_SOURCE_DIR or where the package puts them. DN_ENOENT says where to get them. */
dn_status dn_dataset_open(const dn_dataset *set, const char *folder, void **source);

/* Frees the source and sets *source to NULL; accepts NULL inside. */
void dn_dataset_close(const dn_dataset *set, void **source);

#endif
