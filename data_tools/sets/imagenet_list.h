/*
 * The classes of the validation images of ImageNet and Tiny ImageNet, if these are in one folder or
 * tar file. A list has the classes in one of the forms
 *
 *   NAME WNID [..]   as Tiny ImageNet's val_annotations.txt
 *   NAME LABEL       a number from 0, in the order of all classes by code point
 *   WNID             one a line, of ILSVRC2012_val_00000001.JPEG and so on
 *   ID               from 1 to 1000, likewise: the ground truth of the authors' devkit, whose
 *                    meta.mat beside it tells the WordNet ids
 */
#ifndef DN_IMAGENET_LIST_H
#define DN_IMAGENET_LIST_H

#include <limits.h>

#include "folder/folder.h"

enum { DN_IMAGENET_CLASSES = 1000, DN_LISTED_NAME = 64 };

typedef struct dn_listed_image {
    char name[DN_LISTED_NAME], class_name[DN_LISTED_NAME];
    int label; /* -1: its class is left out */
    int is_found;
} dn_listed_image;

typedef struct dn_listed_images {
    char path[PATH_MAX];    /* of the list */
    dn_listed_image *image; /* (count), by name; the caller frees it, even after a failure */
    size_t count;
} dn_listed_images;

/* Reads the list l->path; if it has ids also the meta.mat beside it, in a child process. Labels are
 * indices of f's classes. DN_ECORRUPT names the line; DN_EINVAL, DN_ENOMEM, and errors of
 * dn_file_load_most. */
dn_status dn_listed_images_load(dn_listed_images *l, const dn_folder *f);

/* The image of that name, or NULL. */
dn_listed_image *dn_listed_images_find(const dn_listed_images *l, const char *name);

#endif
