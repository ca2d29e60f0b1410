/* Image files as a source; see pictures.h. */
#include "commands/pictures.h"

#include <fts.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "dn/image.h"

enum { MOST_IMAGES = 1 << 24 };

/* ---- reading them ---- */

/* Converts to luma in place, as PIL's convert("L"). */
static void make_grey(uint8_t *rgb, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        rgb[i] = (uint8_t)((19595u * rgb[3 * i] + 38470u * rgb[3 * i + 1] + 7471u * rgb[3 * i + 2] +
                            0x8000u) >>
                           16);
}

static dn_status read_picture(const dn_source *source, const dn_request *request,
                              const dn_transform *transform, dn_workspace *w, float *image)
{
    dn_encoded file = {.name = ((const dn_pictures *)source)->path[request->index]};
    DN_TRY(dn_image_load(file.name, NULL, 0, &w->file, &file.size));
    file.bytes = w->file.bytes;
    if (transform->channels == 3)
        return dn_transform_encoded(transform, request, &file, w, image);
    dn_image_info info;
    DN_TRY(dn_image_probe(&file, &info));
    dn_box whole = {0, 0, info.width, info.height};
    DN_TRY(dn_image_decode(&file, &whole, 1, &w->pixels));
    make_grey(w->pixels.rgb.bytes, (size_t)info.width * (size_t)info.height);
    return dn_transform_pixels(transform, request, w->pixels.rgb.bytes, info.height, info.width, w,
                               image);
}

/* A dn_read_fn that does not fail: a bad image is black and marked. */
static dn_status read_or_blacken(const dn_source *source, const dn_request *request,
                                 const dn_transform *t, dn_workspace *w, float *image)
{
    const dn_status status = read_picture(source, request, t, w, image);
    if (status != DN_OK) {
        ((const dn_pictures *)source)->bad[request->index] = 1;
        memset(image, 0,
               (size_t)t->channels * (size_t)t->height * (size_t)t->width * sizeof *image);
    }
    return DN_OK;
}

const char *dn_pictures_fault(const dn_pictures *p, int64_t index, const dn_transform *transform)
{
    dn_workspace workspace = {0};
    float *const image = malloc((size_t)transform->channels * (size_t)transform->height *
                                (size_t)transform->width * sizeof *image);
    const dn_request request = {.index = index};
    if (!image || read_picture(&p->images, &request, transform, &workspace, image) == DN_OK)
        dn_fail(DN_EIO, "%s: a rank could not read it", p->path[index]);
    free(image);
    dn_workspace_free(&workspace);
    return dn_message();
}

/* ---- finding them ---- */

static dn_status add_path(dn_pictures *p, const char *path)
{
    if (p->images.count == p->room) {
        p->room = p->room ? 2 * p->room : 256;
        char **const longer = realloc(p->path, (size_t)p->room * sizeof *longer);
        DN_CHECK(longer, DN_ENOMEM, "out of memory for %lld paths", (long long)p->room);
        p->path = longer;
    }
    DN_CHECK(p->images.count < MOST_IMAGES, DN_EINVAL, "found more than %d images", MOST_IMAGES);
    DN_CHECK((p->path[p->images.count] = strdup(path)) != NULL, DN_ENOMEM,
             "out of memory for a path");
    p->images.count++;
    return DN_OK;
}

static int compare_entries(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* Adds a file, whatever its name, or the images of a folder and its subfolders in order of name,
 * without hidden ones. Files that cannot be read are added too: they are reported with the results.
 */
static dn_status add_word(dn_pictures *p, const char *word)
{
    char *const roots[] = {(char *)word, NULL};
    FTS *const tree = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR | FTS_NOSTAT, compare_entries);
    dn_status status = DN_OK;
    DN_CHECK(tree, DN_ENOMEM, "%s: cannot be looked through", word);
    for (FTSENT *e; status == DN_OK && (e = fts_read(tree)) != NULL;) {
        const int is_folder = e->fts_info == FTS_D || e->fts_info == FTS_DP;
        const int is_error = e->fts_info == FTS_DNR || e->fts_info == FTS_ERR;
        const int is_hidden = e->fts_level > 0 && e->fts_name[0] == '.';
        if (is_hidden)
            fts_set(tree, e, FTS_SKIP);
        if (is_folder)
            continue;
        if (!is_hidden && (is_error || e->fts_level == 0 || dn_image_is_name(e->fts_name)))
            status = add_path(p, e->fts_path);
        else
            p->others++;
    }
    fts_close(tree);
    return status;
}

dn_status dn_pictures_find(dn_pictures *p, int count, const char *const *words)
{
    DN_CHECK(count > 0, DN_EINVAL, "found no image, expected files or folders of them");
    for (int i = 0; i < count; i++) {
        DN_CHECK(words[i][0], DN_EINVAL,
                 "found an empty name, expected files or folders of images");
        DN_TRY(add_word(p, words[i]));
    }
    const size_t images = (size_t)p->images.count;
    DN_CHECK(images > 0, DN_ENOENT, "%s: found no image, expected .jpg, .jpeg or .png files",
             words[0]);
    if (p->others > 0)
        dn_warn("other files skipped: %" PRId64, p->others);
    p->bad = calloc(images, sizeof *p->bad);
    p->images.labels = calloc(images, sizeof *p->images.labels);
    p->images.read = read_or_blacken;
    DN_CHECK(p->bad && p->images.labels, DN_ENOMEM, "out of memory for %zu images", images);
    return DN_OK;
}

uint64_t dn_pictures_hash(const dn_pictures *p)
{
    uint64_t hash = 0;
    for (int64_t i = 0; i < p->images.count; i++)
        hash = XXH3_64bits_withSeed(p->path[i], strlen(p->path[i]) + 1, hash);
    return hash;
}

void dn_pictures_free(dn_pictures *p)
{
    for (int64_t i = 0; i < p->images.count; i++)
        free(p->path[i]);
    free(p->path);
    free(p->bad);
    free((void *)p->images.labels);
}
