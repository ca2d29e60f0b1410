/*
 * Any tree of class folders with JPEG and PNG files, as records of encoded images.
 *
 * folder_scan.c finds the files, the classes and the splits (folder_draw.c), folder_files.c reads
 * them, folder.c makes the records, folder_shards.c the shards, conversion.c an image,
 * encoded_writer.c a shard's file. What is kept of an image is its path and a few numbers; its
 * bytes only until its shard is written.
 */
#ifndef DN_FOLDER_H
#define DN_FOLDER_H

#include "conversion.h"
#include "records.h"

/* As dn_records_make, of the class folders in options->source; options->shards 0: so many that a
 * shard has some 64 MB. *out = the folder of the records, options->out or a default by the
 * source's name. DN_ECORRUPT or DN_EINVAL names an image that is not sound. */
dn_status dn_folder_make(const dn_records_options *options, char out[PATH_MAX], int *made);

/* ---- the files ---- */

typedef struct dn_folder_image {
    char *path;    /* below the source */
    int64_t size;  /* from here on by folder_files.c and folder_shards.c */
    uint64_t hash; /* XXH3-64 of its bytes, 0 where they cannot be read */
    uint16_t label;
    uint8_t split; /* dn_split_id */
    uint8_t is_bad;
} dn_folder_image;

/* Zeroed before the scan; freed after it, after a failure too. */
typedef struct dn_folder {
    const char *source;
    const dn_records_options *options;
    char **class_names; /* (classes), by code point */
    int classes;
    int is_drawn;           /* the test split is a part of the folder that the train split is in */
    dn_folder_image *image; /* (images), by split, class and name */
    int64_t images, room;
    int64_t passed_over; /* files that are hidden or no images */
} dn_folder;

/* Finds classes and images. DN_ENOENT, DN_EINVAL, DN_EIO, DN_ENOMEM. */
dn_status dn_folder_scan(dn_folder *f);

/* For the scan: moves a fraction of each class to the test split. At least one image a class stays,
 * unless no class has two. DN_EINVAL where a split is left empty. */
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

/* What `status` says of an image is a fault of the image, not of the machine. */
int dn_folder_is_bad(dn_status status);

/* ---- a shard's file; thread-safe ---- */

/* An encoded shard in memory. */
typedef struct dn_encoded_shard {
    uint8_t *bytes; /* the file */
    size_t size;
} dn_encoded_shard;

/* Makes it of image(shard->count), whose bytes it takes; to be freed, after a failure too.
 * DN_ENOMEM. */
dn_status dn_encoded_shard_create(dn_encoded_shard *s, const dn_manifest *manifest,
                                  const dn_manifest_shard *shard, dn_stored_image *image);
void dn_encoded_shard_free(dn_encoded_shard *s);

#endif
