/* What making and verifying records share; see records.h. */
#include "records.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <xxhash.h>

int dn_records_jobs(const dn_manifest *manifest)
{
    return manifest->split[DN_TRAIN].shards + manifest->split[DN_TEST].shards;
}

dn_manifest_shard *dn_records_job(const dn_manifest *manifest, int job, dn_split *split, int *index)
{
    const int train = manifest->split[DN_TRAIN].shards;
    *split = job < train ? DN_TRAIN : DN_TEST;
    *index = job < train ? job : job - train;
    return &manifest->split[*split].shard[*index];
}

dn_status dn_records_measure(const char *folder, dn_manifest_file *file)
{
    enum { BLOCK = 1 << 16 };
    char path[PATH_MAX];
    uint8_t block[BLOCK];
    DN_TRY(dn_join_path(path, folder, file->name));
    FILE *const stream = fopen(path, "rbe");
    DN_CHECK(stream, errno == ENOENT ? DN_ENOENT : DN_EIO, "%s: cannot read: %s", path,
             strerror(errno));
    XXH3_state_t *const state = XXH3_createState();
    dn_status status = DN_OK;
    if (!state || XXH3_64bits_reset(state) != XXH_OK)
        DN_TRY_OR_DONE(dn_fail(DN_ENOMEM, "%s: out of memory", path));
    file->bytes = 0;
    for (size_t size; (size = fread(block, 1, BLOCK, stream)) > 0; file->bytes += (int64_t)size)
        XXH3_64bits_update(state, block, size);
    if (ferror(stream))
        DN_TRY_OR_DONE(dn_fail(DN_EIO, "%s: cannot read: %s", path, strerror(errno)));
    file->hash = XXH3_64bits_digest(state);
done:
    XXH3_freeState(state);
    fclose(stream);
    return status;
}

static int has_size(const char *folder, const dn_manifest_file *file)
{
    char path[PATH_MAX];
    struct stat info;
    return dn_join_path(path, folder, file->name) == DN_OK && stat(path, &info) == 0 &&
           info.st_size == file->bytes;
}

static int files_have_sizes(const char *folder, const dn_manifest *manifest)
{
    for (int i = 0; i < dn_records_jobs(manifest); i++) {
        dn_split split;
        int index;
        const dn_manifest_shard *const shard = dn_records_job(manifest, i, &split, &index);
        if (!has_size(folder, &shard->tfrecord) || !has_size(folder, &shard->hdf5))
            return 0;
    }
    return 1;
}

dn_status dn_records_load(dn_manifest **manifest, const dn_dataset *set, const char *folder)
{
    const dn_status status = dn_manifest_load(manifest, folder);
    if (status == DN_EINVAL)
        return status;
    if (status == DN_OK && strcmp((*manifest)->dataset, set->name) != 0) {
        const dn_status failed =
            dn_fail(DN_EINVAL, "%s/dataset.json: found %s, expected %s; name another --out", folder,
                    (*manifest)->dataset, set->name);
        dn_manifest_destroy(manifest);
        return failed;
    }
    return DN_OK;
}

dn_status dn_records_complete(const dn_dataset *set, const dn_records_options *options,
                              int *complete)
{
    dn_manifest *manifest;
    DN_TRY(dn_records_load(&manifest, set, options->out));
    *complete = manifest && manifest->zstd_level == options->zstd_level &&
                manifest->split[DN_TRAIN].shards == options->shards &&
                files_have_sizes(options->out, manifest);
    dn_manifest_destroy(&manifest);
    return DN_OK;
}
