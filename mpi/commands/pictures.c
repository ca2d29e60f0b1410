/* Image files as a source; see pictures.h. */
#include "commands/pictures.h"

#include <fts.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "dn/image.h"

/* ---- reading them ---- */

/* Converts to luma in place, as PIL's convert("L"). */
static void make_grey(uint8_t *rgb, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        rgb[i] = (uint8_t)((19595u * rgb[3 * i] + 38470u * rgb[3 * i + 1] + 7471u * rgb[3 * i + 2] +
                            0x8000u) >>
                           16);
}

/* Loads a picture and treats it as the net's training images were. */
static dn_status load_picture(const dn_pictures *p, int64_t index, dn_transform_memory *memory,
                              dn_encoded *file)
{
    dn_converter converter = {0};
    *file = (dn_encoded){.name = p->path[index]};
    DN_TRY(dn_image_load(file->name, NULL, 0, &memory->file, &file->size));
    file->bytes = memory->file.bytes;
    const int drops_bits = dn_conversion_drops_bits(&p->conversion, file);
    dn_status status = dn_convert(&converter, &p->conversion, file, &memory->file);
    dn_converter_free(&converter);
    if (status == DN_OK && drops_bits) {
        status = dn_image_decode(file, NULL, 1, &memory->pixels);
        p->dark[index] = status == DN_OK && dn_pixels_are_dark(&memory->pixels);
    }
    return status;
}

static dn_status read_picture(const dn_source *source, const dn_request *request,
                              const dn_transform *transform, dn_transform_memory *memory,
                              float *image)
{
    dn_encoded file;
    DN_TRY(load_picture((const dn_pictures *)source, request->index, memory, &file));
    if (transform->channels == 3)
        return dn_transform_encoded(transform, request, &file, memory, image);
    dn_image_info info;
    DN_TRY(dn_image_probe(&file, &info));
    dn_box whole = {0, 0, info.width, info.height};
    DN_TRY(dn_image_decode(&file, &whole, 1, &memory->pixels));
    make_grey(memory->pixels.rgb.bytes, (size_t)info.width * (size_t)info.height);
    return dn_transform_pixels(transform, request, memory->pixels.rgb.bytes, info.height,
                               info.width, memory, image);
}

/* A dn_read_fn that does not fail: a bad image is black and marked. */
static dn_status read_or_blacken(const dn_source *source, const dn_request *request,
                                 const dn_transform *t, dn_transform_memory *memory, float *image)
{
    const dn_status status = read_picture(source, request, t, memory, image);
    if (status != DN_OK) {
        ((const dn_pictures *)source)->bad[request->index] = 1;
        memset(image, 0, dn_transform_values(t) * sizeof *image);
    }
    return DN_OK;
}

const char *dn_pictures_fault(const dn_pictures *p, int64_t index, const dn_transform *transform)
{
    dn_transform_memory memory = {0};
    float *const image = malloc(dn_transform_values(transform) * sizeof *image);
    const dn_request request = {.index = index};
    if (!image || read_picture(&p->images, &request, transform, &memory, image) == DN_OK)
        dn_fail(DN_EIO, "%s: a rank could not read it", p->path[index]);
    free(image);
    dn_transform_memory_free(&memory);
    return dn_message();
}

/* ---- finding them ---- */

static dn_status add_path(dn_pictures *p, const char *path)
{
    const size_t size = strlen(path) + 1;
    if (p->bytes + size > p->room) {
        const size_t room = 2 * p->room + size + 4096;
        char *const larger = realloc(p->all, room);
        DN_CHECK(larger, DN_ENOMEM, "out of memory for %" PRId64 " paths", p->count + 1);
        p->all = larger;
        p->room = room;
    }
    memcpy(p->all + p->bytes, path, size);
    p->bytes += size;
    p->count++;
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

static dn_status find_all(dn_pictures *p, int count, const char *const *words)
{
    for (int i = 0; i < count; i++)
        DN_TRY(add_word(p, words[i]));
    DN_CHECK(p->count > 0, DN_ENOENT, "%s: found no image, expected .jpg, .jpeg or .png files",
             words[0]);
    if (p->others > 0)
        dn_warn("other files skipped: %" PRId64, p->others);
    return DN_OK;
}

/* Ranks that do not share a file system would read other files. */
static dn_status check_words(const dn_comm *comm, int count, const char *const *words)
{
    uint64_t hash = 0;
    for (int i = 0; i < count; i++) {
        const int exists = access(words[i], F_OK) == 0;
        hash = XXH3_64bits_withSeed(&exists, sizeof exists, hash);
    }
    return dn_comm_same_hash(comm, hash, "the files and folders that exist");
}

dn_status dn_pictures_find(dn_pictures *p, const dn_comm *comm, int count, const char *const *words)
{
    DN_CHECK(count > 0, DN_EINVAL, "found no image, expected files or folders of them");
    for (int i = 0; i < count; i++)
        DN_CHECK(words[i][0], DN_EINVAL,
                 "found an empty name, expected files or folders of images");
    DN_TRY(check_words(comm, count, words));
    DN_TRY(DN_ON_RANK_0(comm, find_all(p, count, words)));
    dn_comm_broadcast(comm, &p->count, sizeof p->count);
    p->images.read = read_or_blacken;
    return DN_OK;
}

/* ---- blocks of them ---- */

/* The end of the `count` paths that begin at `begin`. */
static size_t end_of(const dn_pictures *p, size_t begin, int64_t count)
{
    while (count-- > 0)
        begin += strlen(p->all + begin) + 1;
    return begin;
}

dn_status dn_pictures_skip(dn_pictures *p, int64_t count)
{
    DN_CHECK(count < p->count, DN_EINVAL,
             "--skip %" PRId64 ": found %" PRId64 " images, expected more", count, p->count);
    p->next = p->all ? end_of(p, p->next, count) : 0;
    p->count -= count;
    return DN_OK;
}

static dn_status make_room(dn_pictures *p, size_t bytes, int64_t count)
{
    const size_t images = (size_t)count;
    free(p->text);
    free(p->path);
    free(p->bad);
    free(p->dark);
    free((void *)p->images.labels);
    p->text = malloc(bytes);
    p->path = malloc(images * sizeof *p->path);
    p->bad = calloc(images, sizeof *p->bad);
    p->dark = calloc(images, sizeof *p->dark);
    p->images.labels = calloc(images, sizeof *p->images.labels);
    DN_CHECK(p->text && p->path && p->bad && p->dark && p->images.labels, DN_ENOMEM,
             "out of memory for %zu images", images);
    return DN_OK;
}

dn_status dn_pictures_load(dn_pictures *p, const dn_comm *comm, int64_t count)
{
    const size_t end = p->all ? end_of(p, p->next, count) : 0;
    size_t bytes = end - p->next;
    dn_comm_broadcast(comm, &bytes, sizeof bytes);
    DN_TRY(dn_comm_agree(comm, make_room(p, bytes, count)));
    if (p->all)
        memcpy(p->text, p->all + p->next, bytes);
    dn_comm_broadcast(comm, p->text, bytes);
    const char *at = p->text;
    for (int64_t i = 0; i < count; i++, at += strlen(at) + 1)
        p->path[i] = at;
    p->images.count = count;
    p->next = end;
    return DN_OK;
}

void dn_pictures_free(dn_pictures *p)
{
    free(p->all);
    free(p->text);
    free(p->path);
    free(p->bad);
    free(p->dark);
    free((void *)p->images.labels);
}
