/* Coarse labels as shards of pixels have them; see tfrecord.h. A child process reads them: HDF5 is
 * not to see what nobody vouches for (docs/security.md). */
#include <string.h>

#include "dn/child.h"
#include "dn/hdf5.h"
#include "tfrecord/tfrecord.h"

#define LABELS DN_SHARD_COARSE DN_SHARD_LABELS
#define NAMES  DN_SHARD_COARSE DN_SHARD_CLASS_NAMES

enum { MOST_CLASSES = UINT16_MAX, NAME_BYTES = 256 };

struct dn_coarse {
    size_t bytes;
    int64_t classes;
    char path[PATH_MAX]; /* of the shard that is being read */
    char name[MOST_CLASSES][NAME_BYTES];
    const char *names[MOST_CLASSES];
    uint16_t labels[]; /* of all shards, in the manifest's order */
};

struct coarse_work {
    const dn_manifest *manifest;
    const char *folder;
    dn_coarse *coarse;
};

/* ---- in the child ---- */

static dn_status read_coarse_names(hid_t file, dn_coarse *c)
{
    hid_t set;
    const dn_status status = dn_hdf5_open_set(file, c->path, NAMES, H5D_CONTIGUOUS, &set);
    const hid_t space = H5Dget_space(set);
    const int64_t classes = H5Sget_simple_extent_npoints(space);
    H5Sclose(space);
    H5Dclose(set);
    DN_TRY(status);
    DN_CHECK(classes >= 1 && classes <= MOST_CLASSES, DN_ECORRUPT,
             "%s: " NAMES " is not as specified", c->path);
    const hid_t type = dn_hdf5_text_type(NAME_BYTES);
    DN_TRY(dn_hdf5_read(file, c->path, NAMES, type, classes, c->name));
    c->classes = classes;
    return DN_OK;
}

/* The first shard decides whether there are any. */
static dn_status read_all_coarse(void *user)
{
    const struct coarse_work *const w = user;
    dn_coarse *const c = w->coarse;
    uint16_t *labels = c->labels;
    for (int i = 0; i < w->manifest->shards; i++) {
        const dn_manifest_shard *const shard = &w->manifest->shard[i];
        DN_TRY(dn_join_path(c->path, w->folder, shard->hdf5.name));
        const hid_t file = dn_hdf5_open(c->path);
        DN_CHECK(file >= 0, DN_ECORRUPT, "%s: damaged: HDF5 cannot open it", c->path);
        const dn_status status = i == 0 ? read_coarse_names(file, c) : DN_OK;
        if (i == 0 && status == DN_ENOENT)
            return DN_OK;
        DN_TRY(status);
        DN_TRY(dn_hdf5_read(file, c->path, LABELS, H5T_NATIVE_UINT16, shard->count, labels));
        H5Fclose(file);
        labels += shard->count;
    }
    return DN_OK;
}

/* ---- what it leaves ---- */

static dn_status use_coarse(dn_coarse *c, dn_coarse_labels *use, const dn_manifest *manifest,
                            const char *folder)
{
    const uint16_t *labels = c->labels;
    DN_CHECK(c->classes >= 0 && c->classes <= MOST_CLASSES, DN_ECORRUPT,
             "%s: " NAMES " is not as specified", folder);
    for (int i = 0; i < c->classes; i++) {
        c->name[i][NAME_BYTES - 1] = '\0';
        c->names[i] = c->name[i];
        DN_CHECK(dn_is_one_line(c->name[i]), DN_ECORRUPT, "%s: " NAMES " %d: found no line of text",
                 folder, i);
    }
    for (int i = 0; i < manifest->shards && c->classes > 0; i++) {
        const dn_manifest_shard *const shard = &manifest->shard[i];
        for (int64_t k = 0; k < shard->count; k++)
            DN_CHECK(labels[k] < c->classes, DN_ECORRUPT,
                     "%s/%s: found coarse label %d, expected 0 to %d", folder, shard->hdf5.name,
                     labels[k], (int)c->classes - 1);
        if (shard->first == 0)
            use->labels[shard->split] = labels;
        labels += shard->count;
    }
    use->names = c->names;
    use->classes = (int)c->classes;
    return DN_OK;
}

dn_status dn_coarse_load(dn_coarse **coarse, dn_coarse_labels *labels, const dn_manifest *manifest,
                         const char *folder)
{
    int64_t images = 0;
    for (int s = 0; s < DN_SPLITS; s++)
        images += manifest->split[s].count;
    const size_t bytes = sizeof(dn_coarse) + (size_t)images * sizeof(uint16_t);
    *coarse = NULL;
    if (dn_is_encoded(&manifest->info))
        return DN_OK;
    dn_coarse *const c = *coarse = dn_child_pages(bytes);
    DN_CHECK(c, DN_ENOMEM, "%s: out of memory for coarse labels", folder);
    const dn_status status =
        dn_child_run(folder, read_all_coarse, &(struct coarse_work){manifest, folder, c});
    c->bytes = bytes; /* where the child went astray, anything may stand there */
    return status == DN_OK ? use_coarse(c, labels, manifest, folder) : status;
}

void dn_coarse_free(dn_coarse **coarse)
{
    if (*coarse)
        dn_child_pages_free(*coarse, (*coarse)->bytes);
    *coarse = NULL;
}
