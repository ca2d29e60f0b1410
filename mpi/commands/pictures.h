/*
 * Image files, and folders of them, for `predict`: rank 0 lists them, and all ranks have a block of
 * them at a time as a source of images without labels.
 *
 * A file that is not a valid image is read as a black image and marked, so that the rest of its
 * batch is computed.
 */
#ifndef DN_PICTURES_H
#define DN_PICTURES_H

#include "dn/conversion.h"
#include "dn/source.h"
#include "job/comm.h"

/* Empty if zeroed. The user of the source sets its info. */
typedef struct dn_pictures {
    dn_source images;  /* the block, all with label 0 */
    const char **path; /* (images.count) */
    uint8_t *bad;      /* (images.count) 1: not a valid image */
    uint8_t *dark; /* (images.count) 1: of 16 bits, of which only the high 8 are used, and dark */
    dn_conversion conversion; /* of the images that the net learnt from; set by the user */
    int64_t count;            /* number of all pictures */

    /* Private: the paths of the block, and on rank 0 of all pictures, each with its NUL. */
    char *text, *all;
    size_t bytes, room, next; /* of `all`: used, allocated, where the next block begins */
    int64_t others;           /* files skipped because they are hidden or have another extension */
} dn_pictures;

/* Finds the pictures that words(count) name, and sets pictures->count. A file is taken whatever its
 * name; a folder contributes its JPEG and PNG files by extension, recursively and in order of name,
 * without hidden ones. DN_EINVAL; DN_ENOENT if there are none; DN_ECORRUPT if a word exists on some
 * ranks only; DN_ENOMEM. The caller frees them, even after a failure. Collective. */
dn_status dn_pictures_find(dn_pictures *pictures, const dn_comm *comm, int count,
                           const char *const *words);

/* Leaves out the first `count` pictures (--skip). DN_EINVAL if these are all. Not collective. */
dn_status dn_pictures_skip(dn_pictures *pictures, int64_t count);

/* Makes the next `count` pictures, at most as many as are left, the source's images in place of the
 * former. DN_ENOMEM. Collective. */
dn_status dn_pictures_load(dn_pictures *pictures, const dn_comm *comm, int64_t count);

/* Not collective. */
void dn_pictures_free(dn_pictures *pictures);

/* Reads the picture again and returns why it cannot be read: one line, as of dn_message. Not
 * collective. */
const char *dn_pictures_fault(const dn_pictures *pictures, int64_t index,
                              const dn_transform *transform);

#endif
