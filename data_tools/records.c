/* What making and verifying records share; see records.h. */
#include "records.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dn/file.h"
#include "sample.h"
#include "tfrecord.h"

dn_status dn_records_each(const dn_manifest *manifest, dn_shard_job *job, void *context)
{
    dn_status first = DN_OK;
    char message[1024]; /* is per thread, so the first one is carried over */
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < manifest->shards; i++) {
        dn_status seen;
#pragma omp atomic read
        seen = first;
        const dn_status status = seen == DN_OK ? job(context, &manifest->shard[i]) : DN_OK;
#pragma omp critical(dn_records)
        if (status != DN_OK && first == DN_OK) {
            snprintf(message, sizeof message, "%s", dn_message());
#pragma omp atomic write
            first = status;
        }
    }
    return first == DN_OK ? DN_OK : dn_fail(first, "%s", message);
}

static dn_status decode_records(dn_tfrecord *file, const char *path, const dn_manifest *m,
                                int64_t count, uint8_t *pixels, uint16_t *labels)
{
    for (int64_t i = 0;; i++, pixels += dn_image_values(&m->info)) {
        const uint8_t *record;
        size_t size;
        int label;
        DN_TRY(dn_tfrecord_next(file, &record, &size));
        DN_CHECK((record != NULL) == (i < count), DN_ECORRUPT,
                 "%s: found %s than the expected %" PRId64 " records", path,
                 record ? "more" : "fewer", count);
        if (!record)
            return DN_OK;
        const dn_status status = dn_sample_decode(m, record, size, pixels, &label);
        if (status != DN_OK) {
            char reason[512];
            snprintf(reason, sizeof reason, "%s", dn_message());
            return dn_fail(status, "%s: record %" PRId64 ": %s", path, i, reason);
        }
        labels[i] = (uint16_t)label;
    }
}

dn_status dn_records_read(const char *folder, const dn_manifest *manifest,
                          const dn_manifest_shard *shard, uint8_t **pixels, uint16_t **labels)
{
    char path[PATH_MAX];
    dn_tfrecord *file;
    *pixels = malloc((size_t)shard->count * dn_image_values(&manifest->info));
    *labels = malloc((size_t)shard->count * sizeof **labels);
    DN_TRY(dn_join_path(path, folder, shard->tfrecord.name));
    DN_CHECK(*pixels && *labels, DN_ENOMEM, "%s: out of memory for %" PRId64 " images", path,
             shard->count);
    DN_TRY(dn_tfrecord_open(&file, path));
    const dn_status status = decode_records(file, path, manifest, shard->count, *pixels, *labels);
    dn_tfrecord_close(&file);
    return status;
}

/* Adds the channel's pixels and their squares, of the images that stand `image` bytes apart. */
static void add_channel(const uint8_t *pixels, int64_t count, size_t image, size_t plane,
                        int64_t *sum, int64_t *squares)
{
    int64_t s = 0, q = 0;
#pragma omp parallel for schedule(static) reduction(+ : s, q)
    for (int64_t i = 0; i < count; i++)
        for (size_t p = 0; p < plane; p++) {
            const int64_t x = pixels[(size_t)i * image + p];
            s += x;
            q += x * x;
        }
    *sum = s;
    *squares = q;
}

void dn_records_statistics(const dn_shard_info *info, const uint8_t *pixels, int64_t count,
                           double *mean, double *deviation)
{
    const size_t image = dn_image_values(info), plane = image / (size_t)info->channels;
    const int64_t n = count * (int64_t)plane;
    for (int c = 0; c < info->channels; c++, pixels += plane) {
        int64_t sum, squares;
        add_channel(pixels, count, image, plane, &sum, &squares);
        /* n^2 times the variance, which an int64_t cannot hold and a double difference would
         * cancel in */
        const __int128 spread = (__int128)n * squares - (__int128)sum * sum;
        mean[c] = (double)sum / (255.0 * (double)n);
        deviation[c] = sqrt((double)spread) / (255.0 * (double)n);
    }
}

static int has_size(const char *folder, const dn_manifest_file *file)
{
    char path[PATH_MAX];
    struct stat info;
    return dn_join_path(path, folder, file->name) == DN_OK && stat(path, &info) == 0 &&
           info.st_size == file->bytes;
}

dn_status dn_records_load(dn_manifest **manifest, const dn_dataset *set, const char *folder)
{
    const dn_status status = dn_manifest_load(manifest, folder);
    if (status == DN_EINVAL)
        return status;
    if (!*manifest || strcmp((*manifest)->info.dataset, set->info.dataset) == 0)
        return DN_OK;
    dn_fail(DN_EINVAL, "%s/dataset.json: found %s, expected %s; name another --out", folder,
            (*manifest)->info.dataset, set->info.dataset);
    dn_manifest_destroy(manifest);
    return DN_EINVAL;
}

dn_status dn_records_complete(const dn_dataset *set, const dn_records_options *options,
                              int *complete)
{
    dn_manifest *m;
    DN_TRY(dn_records_load(&m, set, options->out));
    *complete =
        m && m->zstd_level == options->zstd_level && m->split[DN_TRAIN].shards == options->shards;
    for (int i = 0; *complete && i < m->shards; i++)
        *complete = has_size(options->out, &m->shard[i].tfrecord) &&
                    has_size(options->out, &m->shard[i].hdf5);
    dn_manifest_destroy(&m);
    return DN_OK;
}
