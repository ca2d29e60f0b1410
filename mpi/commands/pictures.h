/*
 * Image files and folders of them as a source of images without labels, for `predict`.
 *
 * One that is no image becomes a black one, and is marked, so that the rest of its batch is done.
 */
#ifndef DN_PICTURES_H
#define DN_PICTURES_H

#include "dn/source.h"

/* Zeroed: none. Whoever uses the source sets its info. */
typedef struct dn_pictures {
    dn_source images; /* all of label 0 */
    char **path;      /* (images.count) */
    int64_t room;     /* of path */
    int64_t others;   /* files that were passed over: hidden, or with other names */
    uint8_t *bad;     /* (images.count) 1: no image */
} dn_pictures;

/* Finds the pictures that words(count) name: a file whatever its name, of a folder all files with
 * names of JPEG or PNG, those of folders in it too, by name, but nothing hidden. The caller frees
 * them, also after a failure. DN_EINVAL, DN_ENOENT: there are none; DN_ENOMEM. */
dn_status dn_pictures_find(dn_pictures *pictures, int count, const char *const *words);
void dn_pictures_free(dn_pictures *pictures);

/* Of the paths, to be the same on all ranks. */
uint64_t dn_pictures_hash(const dn_pictures *pictures);

/* Why the picture cannot be read, which is tried again: in one line, as dn_message. */
const char *dn_pictures_fault(const dn_pictures *pictures, int64_t index,
                              const dn_transform *transform);

#endif
