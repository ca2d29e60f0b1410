/*
 * Making a folder of records, of whatever kind: what is the same for the known sets of pixels
 * (sets/records.c), folders of images (folder/folder.c) and TFRecords (tfrecord/from_tfrecord.c).
 *
 * dn_making_begin, dn_making_plan, mean, std and source into the manifest, both dn_making_check_*,
 * dn_making_write, dn_making_end.
 */
#ifndef DN_MAKING_H
#define DN_MAKING_H

#include "dn/buffer.h"
#include "dn/progress.h"
#include "making/journal.h"
#include "options.h"

/* An encoded image as it stands in a shard. */
typedef struct dn_stored_image {
    dn_buffer bytes; /* owned */
    size_t size;
    uint64_t hash; /* XXH3-64 of bytes(size) */
    int32_t width, height;
    uint16_t label;
    char *name; /* of the file that it was, owned; NULL: not known */
} dn_stored_image;

/* Leaves it zeroed. */
void dn_stored_image_free(dn_stored_image *image);

/* Records that are being made; the first member of a structure that knows of what. */
typedef struct dn_making {
    const dn_records_options *options;
    const char *prefix;    /* of the shards' names */
    char conversion[64];   /* for the manifest */
    dn_manifest *existing; /* of the records in the folder, NULL where there are none of use */
    dn_manifest *manifest; /* of the new ones */

    /* between open and close */
    int lock, made_folder, is_open;
    dn_journal journal;
    dn_progress progress; /* in images */
} dn_making;

/* Reads the existing records. DN_EINVAL where they are of another data set, DN_ECORRUPT where
 * dataset.json is damaged or somebody else's. */
dn_status dn_making_begin(dn_making *m, const char *dataset);

/* The existing records have the class names of those that are planned. */
int dn_making_has_classes(const dn_making *m);

/* The existing records have these options and files, and so many shards of the first split. */
int dn_making_is_complete(const dn_making *m, int shards);

/* The first split's shards where nobody said how many, of images with so many bytes: one for each
 * 64 MB, but of pixels at least as many as a known set has, and no more than images. */
int dn_making_shards(int is_encoded, int64_t bytes, int64_t images);

/* dataset.json takes the class name: a UTF-8 text that a line of output can show. */
int dn_making_takes_name(const char *name);

/* Takes `count` images of a split into *hash, the manifest's checksum of encoded images, which
 * begins as 0: their checksums, then their labels, the first of which are given and the others
 * follow every `stride` bytes. DN_ENOMEM. */
dn_status dn_making_hash_split(uint64_t *hash, const uint64_t *image, const uint16_t *label,
                               size_t stride, int64_t count);

/* Makes the manifest of count[] images in so many train shards, and test shards in proportion;
 * without mean, std and source, and the files' sizes and checksums. The class names stay the
 * caller's. DN_EINVAL, DN_ENOMEM. */
dn_status dn_making_plan(dn_making *m, const dn_data_info *info, const char *const *class_names,
                         const int64_t count[DN_SPLITS], int shards);

/* Every channel has a std above 0. DN_EINVAL. */
dn_status dn_making_check_channels(const dn_making *m, const char *source);

/* Existing records were made from the same images and labels: their checksum is in the manifest.
 * DN_EINVAL. */
dn_status dn_making_check_source(const dn_making *m, const char *source);

/* Makes the shards by the job, then dataset.json, in place of what is in the folder; after a
 * conversion that was cut off only the shards that are not whole. Notes of them are dropped. */
typedef dn_status dn_shard_job(void *context, dn_manifest_shard *shard);
dn_status dn_making_write(dn_making *m, dn_shard_job *job, void *context);

/* The parts of dn_making_write, for who makes shards in another way. open locks the folder and
 * removes what is in it but the whole shards of a conversion that was cut off: the same planned
 * manifest and `source`, which tells what shards are made from. DN_EINVAL, with nothing removed,
 * where other records stand there than at first, or files of such names that create_records did not
 * note (leftovers.h). close writes dataset.json, after a failure removes what is of no use to the
 * next attempt; it returns `status` or its own failure, and is called after a failed open, too. In
 * between SIGINT and SIGTERM are notes. */
dn_status dn_making_open(dn_making *m, uint64_t source);
dn_status dn_making_close(dn_making *m, dn_status status);

/* DN_STOPPED, and the message, after such a signal. */
dn_status dn_making_check_stop(const dn_making *m);

/* Holds the folder until *lock is closed, where it is not -1; one that its file system cannot lock
 * is as good as held. Where another process holds it, `waits`, or DN_EINVAL. DN_EIO. */
dn_status dn_making_lock(const char *folder, int waits, int *lock);

/* For jobs: writes a file of a shard of so many images, and notes its size and checksum. */
dn_status dn_making_save(const dn_making *m, dn_manifest_file *file, int64_t images,
                         const void *bytes, size_t size);

/* Likewise make a shard's HDF5 file in memory, and write it: of images(shard->count, channels,
 * height, width) and labels(shard->count), or of image(shard->count), whose bytes it takes. What
 * else stands in it (class names, mean and std, zstd level) is the manifest's. DN_ENOMEM, DN_EIO.
 */
dn_status dn_making_save_pixels(const dn_making *m, dn_manifest_shard *shard, const uint8_t *images,
                                const uint16_t *labels);
dn_status dn_making_save_encoded(const dn_making *m, dn_manifest_shard *shard,
                                 dn_stored_image *image);

/* Frees both manifests. */
void dn_making_end(dn_making *m);

/* Runs the job for every shard, by all threads. After a failure no further job starts. */
dn_status dn_each_shard(dn_manifest *manifest, dn_shard_job *job, void *context);

#endif
