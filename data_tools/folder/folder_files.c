/* Reads the files of a folder of images; see folder.h. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <xxhash.h>

#include "dn/file.h"
#include "dn/image.h"
#include "dn/progress.h"
#include "folder/folder.h"

dn_status dn_folder_read(const dn_folder *f, const dn_folder_image *image, char path[PATH_MAX],
                         dn_buffer *bytes, size_t *size)
{
    DN_TRY(dn_join_path(path, f->source, image->path));
    *size = (size_t)image->size;
    return dn_image_load(path, image->archive, image->at, bytes, size);
}

dn_status dn_folder_image_name(const dn_folder *f, const dn_folder_image *image, char **name)
{
    const int length =
        !image->archive
            ? asprintf(name, "%s", image->path)
            : asprintf(name, "%s/%s/%s", image->archive == f->archive[DN_TRAIN] ? "train" : "val",
                       f->class_names[image->label], basename(image->path));
    if (length < 0)
        *name = NULL;
    DN_CHECK(*name, DN_ENOMEM, "%s: out of memory", image->path);
    return DN_OK;
}

int dn_folder_is_bad(dn_status status)
{
    return status == DN_EINVAL || status == DN_ENOENT || status == DN_ECORRUPT;
}

dn_status dn_folder_list(dn_folder *f, uint64_t *listing)
{
    dn_failure failure = {0};
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t i = 0; i < f->images; i++) {
        dn_folder_image *const image = &f->image[i];
        char path[PATH_MAX];
        struct stat info = {0};
        const dn_status status = dn_join_path(path, f->source, image->path);
        if (status != DN_OK) {
#pragma omp critical(dn_folder)
            dn_failure_keep(&failure, status);
        } else if (stat(image->archive ? image->archive : path, &info) != 0) {
            info.st_size = 0; /* reading it later will report the fault */
        }
        if (!image->archive)
            image->size = info.st_size;
        const int64_t facts[] = {image->size,          image->at,    info.st_mtim.tv_sec,
                                 info.st_mtim.tv_nsec, image->label, image->split};
        image->hash = XXH3_64bits_withSeed(image->path, strlen(image->path),
                                           XXH3_64bits(facts, sizeof facts));
    }
    *listing = (uint64_t)f->options->on_bad_image;
    for (int64_t i = 0; i < f->images; i++)
        *listing = XXH3_64bits_withSeed(&f->image[i].hash, sizeof f->image[i].hash, *listing);
    return dn_failure_report(&failure);
}

dn_status dn_folder_hash(dn_folder *f)
{
    dn_failure failure = {0};
    dn_progress progress;
    dn_progress_begin(&progress, "comparing:", "images", f->images);
#pragma omp parallel
    {
        dn_buffer bytes = {0};
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < f->images; i++) {
            char path[PATH_MAX];
            size_t size;
            const dn_status status = dn_folder_read(f, &f->image[i], path, &bytes, &size);
            f->image[i].hash = status == DN_OK ? XXH3_64bits(bytes.bytes, size) : 0;
            if (!dn_folder_is_bad(status)) {
#pragma omp critical(dn_folder)
                dn_failure_keep(&failure, status);
            }
            dn_progress_add(&progress, 1);
        }
        dn_buffer_free(&bytes);
    }
    dn_progress_end(&progress);
    return dn_failure_report(&failure);
}
