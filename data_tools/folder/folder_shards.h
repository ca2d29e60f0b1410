/*
 * Makes shards from a folder's images in one pass, in which each image is read, decoded as a check,
 * and converted. Mean, std and the source's checksum are computed afterwards from sums and
 * checksums, which the journal keeps for each whole shard.
 */
#ifndef DN_FOLDER_SHARDS_H
#define DN_FOLDER_SHARDS_H

#include "dn/conversion.h"
#include "folder/folder.h"
#include "writer/writer.h"
#include "writer/pixel_sums.h"

typedef struct dn_folder_shard {
    int64_t begin, planned; /* indices of its images; their number */
    _Atomic int64_t left;   /* images not yet done */
    dn_stored_image *image; /* (planned) NULL before the first is begun and once all are written */
    dn_pixel_sums sums;     /* of training images */
    int64_t oriented;       /* images with an EXIF orientation other than upright */
} dn_folder_shard;

typedef struct dn_folder_writer {
    dn_writer writer;
    dn_folder folder;
    dn_folder_shard *shard; /* (shards) */
    dn_conversion conversion;
    int64_t oriented;
    _Atomic int64_t end; /* images before this one are to be done */
    dn_failure failure;  /* of image `end`; if that is -1, not of an image */
} dn_folder_writer;

/* Makes the shards that are not whole, by all threads; to be called between dn_writer_open and
 * dn_writer_close. Sets the numbers of images in the manifest, sums and `oriented` of each shard,
 * and the checksum and is_bad of each image; names those that are left out. If bad images end the
 * work the first one is reported, on any number of threads, as all images before it are done. */
dn_status dn_folder_make_shards(dn_folder_writer *k);

#endif
