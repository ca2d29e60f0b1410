/*
 * Writes a folder of records: the code shared by the known sets of pixels (sets/records.c), folders
 * of images (folder/folder.c) and TFRecords (tfrecord/from_tfrecord.c).
 *
 * The order is: dn_writer_begin; dn_writer_plan; if there are records already,
 * dn_writer_check_source; dn_writer_write, or dn_writer_open and dn_writer_close around the
 * caller's own loop over the shards; dn_writer_end. Before dn_writer_write or dn_writer_close,
 * the caller sets mean, std and source in the manifest and calls dn_writer_check_channels.
 */
#ifndef DN_WRITER_H
#define DN_WRITER_H

#include "dn/buffer.h"
#include "dn/progress.h"
#include "writer/journal.h"
#include "options.h"

/* An encoded image as stored in a shard. */
typedef struct dn_stored_image {
    dn_buffer bytes; /* owned */
    size_t size;
    uint64_t hash; /* XXH3-64 of bytes(size) */
    int32_t width, height;
    uint16_t label;
    char *name; /* of its original file, owned; NULL: not known */
} dn_stored_image;

/* Frees its memory and zeroes it. */
void dn_stored_image_free(dn_stored_image *image);

/* Frees image(count) and their memory; accepts NULL. */
void dn_stored_images_free(dn_stored_image *image, int64_t count);

/* A writer of records; the first member of the structures for the kinds of sources. */
typedef struct dn_writer {
    const dn_records_options *options;
    const char *prefix;                   /* of the shards' names */
    char conversion[DN_CONVERSION_BYTES]; /* as described in the manifest */
    dn_manifest *existing; /* of the records in the folder; NULL: none that can be used */
    dn_manifest *manifest; /* of the new records */

    /* set between open and close */
    int lock, made_folder, is_open;
    dn_journal journal;
    dn_progress progress; /* of images */
} dn_writer;

/* out = the folder of the records: --out, or data/ and the prefix. DN_EINVAL. */
dn_status dn_writer_out(const dn_records_options *options, const char *prefix, char out[PATH_MAX]);

/* Reads the manifest of existing records. DN_EINVAL if they are of another data set, DN_ECORRUPT if
 * dataset.json is damaged or another program's. */
dn_status dn_writer_begin(dn_writer *w, const char *dataset);

/* 1 if the existing records have the planned class names and label sets. */
int dn_writer_has_classes(const dn_writer *w);

/* 1 if the existing records have these options, all their files, and `shards` shards in the first
 * split. */
int dn_writer_is_complete(const dn_writer *w, int shards);

/* Removes the journal beside complete records, left by a process that was killed after it wrote
 * dataset.json. DN_EINVAL if another process is making records there, DN_EIO. */
dn_status dn_writer_remove_journal(const dn_writer *w);

/* The number of shards of the first split, of `images` images with `bytes` bytes: --shards, or one
 * for each 64 MB, for pixels at least that of the known sets, and at most `images`. */
int dn_writer_shards(const dn_writer *w, int is_encoded, int64_t bytes, int64_t images);

/* 1 if dataset.json can have the class name: printable UTF-8 text on one line. */
int dn_writer_takes_name(const char *name);

/* Adds a split's image(count) checksums and label(count) to *hash, the manifest's checksum of
 * encoded images, which is 0 at first. `image` and `label` point to the first ones; the others
 * follow at a distance of `stride` bytes. DN_ENOMEM. */
dn_status dn_writer_hash_split(uint64_t *hash, const uint64_t *image, const uint16_t *label,
                               size_t stride, int64_t count);

/* Makes the manifest for count[] images in `shards` train shards and a proportional number of test
 * shards, without mean, std, source, and the files' sizes and checksums. The class names are not
 * owned. DN_EINVAL, DN_ENOMEM. */
dn_status dn_writer_plan(dn_writer *w, const dn_data_info *info, const char *const *class_names,
                         const int64_t count[DN_SPLITS], int shards);

/* DN_EINVAL unless every channel has a std above 0. */
dn_status dn_writer_check_channels(const dn_writer *w, const char *source);

/* DN_EINVAL if existing records were made from other images or labels, by the checksums in the
 * manifests. */
dn_status dn_writer_check_source(const dn_writer *w, const char *source);

/* Replaces the records in the folder: runs the job for every shard, after an interrupted conversion
 * for those that are not whole, then writes dataset.json. The journal's notes are not used. */
typedef dn_status dn_shard_job(void *context, dn_manifest_shard *shard);
dn_status dn_writer_write(dn_writer *w, dn_shard_job *job, void *context);

/* The text that messages have for a manifest's conversion, which is "" without one. */
const char *dn_writer_describe(const char *conversion);

/* The parts of dn_writer_write, for callers that make shards in another way. open locks the folder
 * and removes earlier records, except the whole shards of an interrupted conversion with the same
 * planned manifest and `source`, which identifies the input. DN_EINVAL, with nothing removed, if
 * the folder's records have changed since dn_writer_begin, or files with names of the set were not
 * made by create_records (leftovers.h). close writes dataset.json, or after a failure removes what
 * the next attempt cannot use; it returns `status` or its own failure. Call it even after open
 * failed. Between them SIGINT and SIGTERM are only recorded. */
dn_status dn_writer_open(dn_writer *w, uint64_t source);
dn_status dn_writer_close(dn_writer *w, dn_status status);

/* DN_STOPPED, with a message, after such a signal. */
dn_status dn_writer_check_stop(const dn_writer *w);

/* Locks the folder by a file in it; warns if its file system has no locks. If another process holds
 * the lock it `waits`, or fails with DN_EINVAL. DN_EIO. *lock is -1 after a failure. unlock removes
 * the file; it accepts -1. */
dn_status dn_writer_lock(const char *folder, int waits, int *lock);
void dn_writer_unlock(const char *folder, int lock);

/* For jobs: writes bytes(size) to a file of a shard with `images` images, and sets the file's size
 * and checksum. */
dn_status dn_writer_save(const dn_writer *w, dn_manifest_file *file, int64_t images,
                         const void *bytes, size_t size);

/* For jobs: make a shard's HDF5 file in memory and write it, from images(shard->count, channels,
 * height, width) and labels(shard->count), or from image(shard->count), whose bytes are freed.
 * Class names, mean and std, and zstd level are the manifest's. DN_ENOMEM, DN_EIO. */
dn_status dn_writer_save_pixels(const dn_writer *w, dn_manifest_shard *shard, const uint8_t *images,
                                const uint16_t *labels);
dn_status dn_writer_save_encoded(const dn_writer *w, dn_manifest_shard *shard,
                                 dn_stored_image *image);

/* Frees the manifests. */
void dn_writer_end(dn_writer *w);

/* Runs the job for every shard, by all threads. After a failure no further job is started. */
dn_status dn_each_shard(dn_manifest *manifest, dn_shard_job *job, void *context);

#endif
