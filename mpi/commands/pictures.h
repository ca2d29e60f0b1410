/*
 * Image files, and folders of them, as a source of images without labels, for `predict`. Not
 * collective.
 *
 * A file that is not a valid image is read as a black image and marked, so that the rest of its
 * batch is computed.
 */
#ifndef DN_PICTURES_H
#define DN_PICTURES_H

#include "dn/source.h"

/* Empty if zeroed. The user of the source sets its info. */
typedef struct dn_pictures {
    dn_source images; /* all with label 0 */
    char **path;      /* (images.count) */
    int64_t room;     /* capacity of `path` */
    int64_t others;   /* files skipped because they are hidden or have another extension */
    uint8_t *bad;     /* (images.count) 1: not a valid image */
} dn_pictures;

/* Finds the pictures that words(count) name. A file is taken whatever its name; a folder
 * contributes its JPEG and PNG files by extension, recursively and in order of name, without hidden
 * ones. DN_EINVAL, DN_ENOENT if there are none; DN_ENOMEM. The caller frees them, even after a
 * failure. */
dn_status dn_pictures_find(dn_pictures *pictures, int count, const char *const *words);
void dn_pictures_free(dn_pictures *pictures);

/* A hash of the paths, to compare between ranks. */
uint64_t dn_pictures_hash(const dn_pictures *pictures);

/* Reads the picture again and returns why it cannot be read: one line, as of dn_message. */
const char *dn_pictures_fault(const dn_pictures *pictures, int64_t index,
                              const dn_transform *transform);

#endif
