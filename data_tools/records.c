/* What making and verifying records share; see records.h. */
#include "records.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "dn/file.h"
#include "tfrecord.h"

dn_status dn_records_each(const dn_manifest *manifest, dn_shard_job *job, void *context)
{
    _Atomic dn_status first = DN_OK;
    char message[1024]; /* is per thread, so the first one is carried over */
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < manifest->shards; i++) {
        const dn_status status = first == DN_OK ? job(context, &manifest->shard[i]) : DN_OK;
#pragma omp critical(dn_records)
        if (status != DN_OK && first == DN_OK) {
            snprintf(message, sizeof message, "%s", dn_message());
            first = status;
        }
    }
    return first == DN_OK ? DN_OK : dn_fail(first, "%s", message);
}

static dn_status decode_records(dn_tfrecord *file, const dn_shard_info *info, int64_t count,
                                uint8_t *pixels, uint16_t *labels)
{
    for (int64_t i = 0;; i++, pixels += dn_image_values(info)) {
        const uint8_t *record;
        size_t size;
        DN_TRY(dn_tfrecord_next(file, &record, &size));
        DN_CHECK((record != NULL) == (i < count), DN_ECORRUPT,
                 "%s: found %s than the expected %" PRId64 " records", file->path,
                 record ? "more" : "fewer", count);
        if (!record)
            return DN_OK;
        const dn_status status = dn_example_decode(info, record, size, pixels, &labels[i]);
        DN_CHECK(status == DN_OK, status, "%s: record %" PRId64 ": %s", file->path, i,
                 dn_message());
    }
}

dn_status dn_records_read(const char *folder, const dn_manifest *manifest,
                          const dn_manifest_shard *shard, uint8_t **pixels, uint16_t **labels)
{
    char path[PATH_MAX];
    uint8_t *bytes;
    dn_tfrecord file = {.path = path};
    *pixels = malloc((size_t)shard->count * dn_image_values(&manifest->info));
    *labels = malloc((size_t)shard->count * sizeof **labels);
    DN_TRY(dn_join_path(path, folder, shard->tfrecord.name));
    DN_CHECK(*pixels && *labels, DN_ENOMEM, "%s: out of memory for %" PRId64 " images", path,
             shard->count);
    DN_TRY(dn_file_load(path, &bytes, &file.size));
    file.bytes = bytes;
    const dn_status status = decode_records(&file, &manifest->info, shard->count, *pixels, *labels);
    free(bytes);
    return status;
}

void dn_pixel_sums_add(dn_pixel_sums *sums, const dn_shard_info *info, const uint8_t *pixels,
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

void dn_pixel_sums_finish(const dn_pixel_sums *sums, int64_t count, dn_shard_info *info)
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
