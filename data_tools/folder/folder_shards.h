/*
 * From a folder's images to shards: one pass, in which each is read, proved sound and converted.
 * Mean, std and the source's checksum follow afterwards from sums and checksums, which the journal
 * keeps of each shard that is whole.
 */
#ifndef DN_FOLDER_SHARDS_H
#define DN_FOLDER_SHARDS_H

#include <stdatomic.h>

#include "folder/folder.h"
#include "making/making.h"
#include "making/pixel_sums.h"

typedef struct dn_folder_shard {
    int64_t begin, planned; /* images of the folder */
    _Atomic int64_t left;   /* that are not yet done */
    dn_stored_image *image; /* (planned), NULL before the first is begun and once it is whole */
    dn_pixel_sums sums;     /* of images of the train split */
    int64_t turned;         /* images that EXIF says are to be seen turned */
} dn_folder_shard;

typedef struct dn_folder_making {
    dn_making making;
    dn_folder folder;
    dn_status (*scan)(dn_folder *f);
    dn_folder_shard *shard; /* (shards) */
    int64_t turned;
    _Atomic int64_t end; /* images before it are to be done */
    dn_failure failure;  /* of image `end`, or where that is -1, not of an image */
} dn_folder_making;

/* Makes the shards that are not whole, by all threads, between dn_making_open and close. Sets
 * counts of images in the manifest, sums and `turned` of each shard, and each image's checksum and
 * whether it is bad; names those that are left out. Of bad images that end the work the first
 * counts, on any number of threads: those before it are done in any case. */
dn_status dn_folder_make_shards(dn_folder_making *k);

#endif
