/*
 * Making and verifying a folder of records; see records.h.
 *
 * make: raw data set -> TFRecord shards -> HDF5 shards -> dataset.json. The HDF5 shards are made
 * from the TFRecord files just written, so these are proved readable and the second half serves
 * TFRecords of any origin.
 * verify: reads both forms of every shard again and compares them image by image. The checksum of
 * an HDF5 file comes before its content, as HDF5 is no reader of damaged files; of a TFRecord file
 * after it, as the content's messages say where the fault is.
 */
#include "records.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <omp.h>
#include <xxhash.h>

#include "dn/file.h"
#include "dn/limits.h"

/* ---- what both do ---- */

typedef dn_status shard_job(void *context, dn_manifest_shard *shard);

/* Runs the job for every shard, by all threads. After a failure no further job starts. */
static dn_status each_shard(dn_manifest *manifest, shard_job *job, void *context)
{
    dn_failure failure = {0};
    atomic_int failed = 0;
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < manifest->shards; i++) {
        const dn_status status = failed ? DN_OK : job(context, &manifest->shard[i]);
#pragma omp critical(dn_records)
        dn_failure_keep(&failure, status);
        if (status != DN_OK)
            failed = 1;
    }
    return dn_failure_report(&failure);
}

typedef dn_status file_job(const char *path, const dn_manifest_file *file);

/* Runs the job for both files of a shard. */
static dn_status each_file(const char *folder, const dn_manifest_shard *shard, file_job *job)
{
    const dn_manifest_file *const files[] = {&shard->tfrecord, &shard->hdf5};
    for (int i = 0; i < 2; i++) {
        char path[PATH_MAX];
        DN_TRY(dn_join_path(path, folder, files[i]->name));
        DN_TRY(job(path, files[i]));
    }
    return DN_OK;
}

static dn_status check_size(const char *path, const dn_manifest_file *file)
{
    int64_t bytes;
    DN_TRY(dn_file_size(path, &bytes));
    DN_CHECK(bytes == file->bytes, DN_ECORRUPT, "%s: found %" PRId64 " bytes, expected %" PRId64,
             path, bytes, file->bytes);
    return DN_OK;
}

/* Sums over pixels by channel; integers, so that no order of adding changes a bit of mean and std.
 * Good for 10^14 pixels. */
struct pixel_sums {
    int64_t sum[DN_MAX_IMAGE_CHANNELS], squares[DN_MAX_IMAGE_CHANNELS];
};

/* Adds pixels(count, channels, height, width). Thread-safe. */
static void add_pixels(struct pixel_sums *sums, const dn_shard_info *info, const uint8_t *pixels,
                       int64_t count)
{
    const size_t image = dn_image_values(info), plane = image / (size_t)info->channels;
    for (int c = 0; c < info->channels; c++, pixels += plane) {
        int64_t sum = 0, squares = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum, squares)
        for (int64_t i = 0; i < count; i++)
            for (size_t p = 0; p < plane; p++) {
                const int64_t x = pixels[(size_t)i * image + p];
                sum += x;
                squares += x * x;
            }
#pragma omp atomic
        sums->sum[c] += sum;
#pragma omp atomic
        sums->squares[c] += squares;
    }
}

/* mean and std of the info, on [0, 1], from the sums over `count` images; each is rounded once, and
 * std divides by the number of pixels. */
static void set_statistics(const struct pixel_sums *sums, int64_t count, dn_shard_info *info)
{
    const int64_t n = count * info->height * info->width;
    for (int c = 0; c < info->channels; c++) {
        const int64_t sum = sums->sum[c];
        /* n^2 times the variance, which an int64_t cannot hold and a double difference would
         * cancel in */
        const __int128 spread = (__int128)n * sums->squares[c] - (__int128)sum * sum;
        info->mean[c] = (double)sum / (255.0 * (double)n);
        info->std[c] = sqrt((double)spread) / (255.0 * (double)n);
    }
}

/* ---- making ---- */

struct make {
    const dn_raw_set *set;
    const dn_records_options *options;
    dn_manifest *existing, *manifest; /* of the records that are replaced, and of the new ones */
    uint8_t *pixels[DN_SPLITS];       /* the raw data set */
    uint16_t *labels[DN_SPLITS];
};

/* Leaves `existing` NULL where there are no records of use. */
static dn_status load_existing(struct make *k)
{
    const char *const name = k->set->info.dataset, *const folder = k->options->out;
    const dn_status status = dn_manifest_load(&k->existing, folder);
    if (!k->existing)
        return status == DN_ENOENT || status == DN_ECORRUPT ? DN_OK : status;
    DN_CHECK(strcmp(k->existing->info.dataset, name) == 0, DN_EINVAL,
             "%s/dataset.json: found %s, expected %s; name another --out", folder,
             k->existing->info.dataset, name);
    return DN_OK;
}

/* The existing records are those that were asked for. */
static int is_complete(const dn_manifest *existing, const dn_records_options *options)
{
    int complete = existing && existing->zstd_level == options->zstd_level &&
                   existing->split[DN_TRAIN].shards == options->shards;
    for (int i = 0; complete && i < existing->shards; i++)
        complete = each_file(options->out, &existing->shard[i], check_size) == DN_OK;
    return complete;
}

static void plan_shard(const dn_raw_set *set, int shards, dn_manifest_shard *shard)
{
    const int64_t count = set->count[shard->split];
    const char *const split = dn_split_name(shard->split);
    shard->first = count * shard->index / shards;
    shard->count = count * (shard->index + 1) / shards - shard->first;
    snprintf(shard->tfrecord.name, sizeof shard->tfrecord.name, "%s-%s.tfrecord-%05d-of-%05d",
             set->prefix, split, shard->index, shards);
    snprintf(shard->hdf5.name, sizeof shard->hdf5.name, "%s-%s-%05d-of-%05d.h5", set->prefix, split,
             shard->index, shards);
}

/* The manifest's checksum of the raw data set. */
static uint64_t hash_source(const struct make *k)
{
    const dn_raw_set *const set = k->set;
    uint64_t hash = 0;
    for (int s = 0; s < DN_SPLITS; s++) {
        const size_t count = (size_t)set->count[s];
        hash = XXH3_64bits_withSeed(k->pixels[s], count * dn_image_values(&set->info), hash);
        hash = XXH3_64bits_withSeed(k->labels[s], count * sizeof *k->labels[s], hash);
    }
    return hash;
}

/* Makes the manifest, in which the files' sizes and checksums are missing yet. */
static dn_status plan_records(struct make *k)
{
    const dn_raw_set *const set = k->set;
    const int64_t train = set->count[DN_TRAIN], test = set->count[DN_TEST];
    const int asked = k->options->shards;
    DN_CHECK(asked <= train, DN_EINVAL,
             "--shards: found %d, expected 1 to the %" PRId64 " images of the train split", asked,
             train);
    const int shards[DN_SPLITS] = {asked, (int)((asked * test + train - 1) / train)};
    DN_TRY(dn_manifest_create(&k->manifest, &set->info, shards));
    dn_manifest *const m = k->manifest;
    m->class_names = set->class_names;
    m->zstd_level = k->options->zstd_level;
    for (int s = 0; s < DN_SPLITS; s++)
        m->split[s].count = set->count[s];
    for (int i = 0; i < m->shards; i++)
        plan_shard(set, shards[m->shard[i].split], &m->shard[i]);
    struct pixel_sums sums = {0};
    add_pixels(&sums, &m->info, k->pixels[DN_TRAIN], train);
    set_statistics(&sums, train, &m->info);
    m->source = hash_source(k);
    return DN_OK;
}

/* Training divides by std. */
static dn_status check_channels(const dn_shard_info *info, const char *source)
{
    for (int c = 0; c < info->channels; c++)
        DN_CHECK(info->std[c] > 0, DN_EINVAL,
                 "%s: channel %d: found a std of 0 (every pixel of the train split is %.0f), "
                 "expected one above 0",
                 source, c, 255 * info->mean[c]);
    return DN_OK;
}

/* The existing records were made from the same images and labels; older ones tell only mean and
 * std. */
static dn_status check_source(const struct make *k, const char *source)
{
    const dn_manifest *const old = k->existing, *const m = k->manifest;
    const size_t bytes = (size_t)m->info.channels * sizeof(double);
    if (!old)
        return DN_OK;
    DN_CHECK(old->source ? old->source == m->source
                         : memcmp(old->info.mean, m->info.mean, bytes) == 0 &&
                               memcmp(old->info.std, m->info.std, bytes) == 0,
             DN_EINVAL,
             "%s: found records of other images or labels than those in %s; name another --out, or "
             "delete the folder",
             k->options->out, source);
    return DN_OK;
}

static dn_status remove_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    DN_TRY(dn_join_path(path, folder, name));
    DN_CHECK(unlink(path) == 0 || errno == ENOENT, DN_EIO, "%s: cannot remove: %s", path,
             strerror(errno));
    return DN_OK;
}

/* dataset.json first: without it the folder is not taken for a data set. Then all that is named as
 * a file of the set, of any number of shards: a conversion that was cut off left no list. */
static dn_status remove_existing(const char *folder, const char *prefix)
{
    char pattern[128];
    snprintf(pattern, sizeof pattern,
             "%s-@(train|test)?(.tfrecord)-+([0-9])-of-+([0-9])?(.h5)?(" DN_PARTIAL ")", prefix);
    DN_TRY(remove_file(folder, "dataset.json"));
    DIR *const list = opendir(folder);
    DN_CHECK(list, DN_EIO, "%s: cannot read: %s", folder, strerror(errno));
    dn_status status = DN_OK;
    for (struct dirent *entry; status == DN_OK && (entry = readdir(list));)
        if (fnmatch(pattern, entry->d_name, FNM_EXTMATCH) == 0)
            status = remove_file(folder, entry->d_name);
    closedir(list);
    return status;
}

/* Holds the folder until *lock is closed; one that its file system cannot lock is as good as
 * held. */
static dn_status lock_folder(const char *folder, int *lock)
{
    *lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DN_CHECK(*lock >= 0, DN_EIO, "%s: cannot open: %s", folder, strerror(errno));
    DN_CHECK(flock(*lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK, DN_EINVAL,
             "%s: another create_records is making records there", folder);
    return DN_OK;
}

/* Writes a file of a shard of so many images, and notes its size and checksum. */
static dn_status save_file(const struct make *k, dn_manifest_file *file, int64_t images,
                           const void *bytes, size_t size)
{
    char path[PATH_MAX];
    DN_TRY(dn_join_path(path, k->options->out, file->name));
    DN_TRY(dn_file_write(path, bytes, size));
    file->bytes = (int64_t)size;
    file->hash = XXH3_64bits(bytes, size);
    dn_info("%s: %" PRId64 " images, %.1f MB", file->name, images, (double)size / 1e6);
    return DN_OK;
}

static dn_status make_shard(void *context, dn_manifest_shard *shard)
{
    const struct make *const k = context;
    const size_t image = dn_image_values(&k->set->info);
    const uint8_t *const raw = k->pixels[shard->split] + (size_t)shard->first * image;
    const uint16_t *const raw_labels = k->labels[shard->split] + shard->first;
    char *tfrecord = NULL;
    uint8_t *hdf5 = NULL, *pixels = NULL;
    uint16_t *labels = NULL;
    size_t size;
    dn_status status;
    DN_TRY_OR_DONE(dn_tfrecord_encode(k->manifest, shard, raw, raw_labels, &tfrecord, &size));
    DN_TRY_OR_DONE(save_file(k, &shard->tfrecord, shard->count, tfrecord, size));
    DN_TRY_OR_DONE(dn_tfrecord_load(k->options->out, k->manifest, shard, &pixels, &labels));
    DN_TRY_OR_DONE(dn_shard_encode(k->manifest, shard, pixels, labels, &hdf5, &size));
    DN_TRY_OR_DONE(save_file(k, &shard->hdf5, shard->count, hdf5, size));
done:
    free(tfrecord);
    free(hdf5);
    free(pixels);
    free(labels);
    return status;
}

static dn_status write_records(struct make *k)
{
    const char *const folder = k->options->out;
    int lock = -1;
    dn_status status;
    DN_TRY_OR_DONE(dn_make_folders(folder));
    DN_TRY_OR_DONE(lock_folder(folder, &lock));
    DN_TRY_OR_DONE(remove_existing(folder, k->set->prefix));
    DN_TRY_OR_DONE(each_shard(k->manifest, make_shard, k));
    DN_TRY_OR_DONE(dn_manifest_save(k->manifest, folder));
done:
    if (lock >= 0)
        close(lock);
    return status;
}

static dn_status make_records(struct make *k, int *made)
{
    DN_TRY(load_existing(k));
    const int complete = is_complete(k->existing, k->options);
    char source[PATH_MAX];
    const dn_status found = dn_raw_set_find(k->set, k->options->source, source);
    if (found == DN_ENOENT && complete && !k->options->source)
        return DN_OK;
    DN_TRY(found);
    DN_TRY(dn_raw_set_load(k->set, source, k->pixels, k->labels));
    DN_TRY(plan_records(k));
    DN_TRY(check_channels(&k->manifest->info, source));
    DN_TRY(check_source(k, source));
    if (complete)
        return DN_OK;
    DN_TRY(write_records(k));
    *made = 1;
    return DN_OK;
}

dn_status dn_records_make(const dn_raw_set *set, const dn_records_options *options, int *made)
{
    struct make k = {.set = set, .options = options};
    *made = 0;
    const dn_status status = make_records(&k, made);
    for (int s = 0; s < DN_SPLITS; s++) {
        free(k.pixels[s]);
        free(k.labels[s]);
    }
    free(k.manifest);
    free(k.existing);
    return status;
}

/* ---- verifying ---- */

struct verify {
    const char *folder;
    dn_manifest *manifest;
    dn_shards *shards[DN_SPLITS];
    struct pixel_sums sums; /* of the train split */
};

/* pixels and labels, from the TFRecords, are those of the HDF5 shard. */
static dn_status compare_images(const struct verify *v, const dn_manifest_shard *shard,
                                const uint8_t *pixels, const uint16_t *labels, uint8_t *hdf5_pixels)
{
    const dn_shards *const hdf5 = v->shards[shard->split];
    const uint16_t *const expected = dn_shards_source(hdf5, NULL).labels + shard->first;
    const size_t image = dn_image_values(&v->manifest->info);
    DN_TRY(dn_shards_read(hdf5, shard->first, shard->count, hdf5_pixels));
    for (int64_t i = 0; i < shard->count; i++) {
        DN_CHECK(labels[i] == expected[i], DN_ECORRUPT,
                 "%s/%s: record %" PRId64 ": found label %d, expected %d as in HDF5", v->folder,
                 shard->tfrecord.name, i, labels[i], expected[i]);
        const size_t at = (size_t)i * image;
        DN_CHECK(memcmp(pixels + at, hdf5_pixels + at, image) == 0, DN_ECORRUPT,
                 "%s/%s: record %" PRId64 ": found pixels that differ from those in HDF5",
                 v->folder, shard->tfrecord.name, i);
    }
    return DN_OK;
}

static dn_status verify_shard(void *context, dn_manifest_shard *shard)
{
    struct verify *const v = context;
    const dn_shard_info *const info = &v->manifest->info;
    uint8_t *pixels = NULL, *const hdf5_pixels =
                                malloc((size_t)shard->count * dn_image_values(info));
    uint16_t *labels = NULL;
    char path[PATH_MAX];
    dn_status status;
    DN_TRY_OR_DONE(dn_join_path(path, v->folder, shard->tfrecord.name));
    DN_TRY_OR_DONE(check_size(path, &shard->tfrecord)); /* it is read whole */
    DN_TRY_OR_DONE(dn_tfrecord_load(v->folder, v->manifest, shard, &pixels, &labels));
    if (!hdf5_pixels)
        DN_TRY_OR_DONE(dn_fail(DN_ENOMEM, "%s: out of memory", v->folder));
    DN_TRY_OR_DONE(compare_images(v, shard, pixels, labels, hdf5_pixels));
    DN_TRY_OR_DONE(dn_manifest_check(path, &shard->tfrecord));
    if (shard->split == DN_TRAIN)
        add_pixels(&v->sums, info, pixels, shard->count);
done:
    free(labels);
    free(pixels);
    free(hdf5_pixels);
    return status;
}

static dn_status check_statistics(const struct verify *v)
{
    const dn_shard_info *const found = &v->manifest->info;
    dn_shard_info expected = *found;
    set_statistics(&v->sums, v->manifest->split[DN_TRAIN].count, &expected);
    for (int c = 0; c < found->channels; c++)
        DN_CHECK(found->mean[c] == expected.mean[c] && found->std[c] == expected.std[c],
                 DN_ECORRUPT,
                 "%s/dataset.json: channel %d: found mean %.17g and std %.17g, expected %.17g and "
                 "%.17g",
                 v->folder, c, found->mean[c], found->std[c], expected.mean[c], expected.std[c]);
    return DN_OK;
}

/* What the threads hold of shards at once is no more than there is. */
static dn_status check_memory(const struct verify *v)
{
    const double image = (double)dn_image_values(&v->manifest->info), left = dn_memory_left("");
    const int threads = omp_get_max_threads();
    const int at_once = threads < v->manifest->shards ? threads : v->manifest->shards;
    for (int i = 0; i < v->manifest->shards; i++) {
        const dn_manifest_shard *const shard = &v->manifest->shard[i];
        const double bytes = 2 * (double)shard->count * image + (double)shard->tfrecord.bytes;
        DN_CHECK(bytes * at_once <= left, DN_ENOMEM,
                 "%s/%s: verifying %d such at once takes %.0f MiB, found %.0f MiB left (--jobs)",
                 v->folder, shard->hdf5.name, at_once, bytes * at_once / 0x1p20, left / 0x1p20);
    }
    return DN_OK;
}

dn_status dn_records_verify(const char *folder)
{
    struct verify v = {.folder = folder};
    dn_status status;
    DN_TRY_OR_DONE(dn_manifest_load(&v.manifest, folder));
    for (int s = 0; s < DN_SPLITS; s++)
        DN_TRY_OR_DONE(dn_shards_open(&v.shards[s], folder, (dn_split_id)s));
    DN_TRY_OR_DONE(check_memory(&v));
    DN_TRY_OR_DONE(each_shard(v.manifest, verify_shard, &v));
    DN_TRY_OR_DONE(check_statistics(&v));
done:
    for (int s = 0; s < DN_SPLITS; s++)
        dn_shards_close(&v.shards[s]);
    free(v.manifest);
    return status;
}
