/*
 * SVHN's cropped digits: train_32x32.mat, test_32x32.mat and extra_32x32.mat, Matlab files of
 * version 5 with X, uint8 (32, 32, 3, N), and y, N numbers from 1 to 10, where 10 is the digit 0.
 * Arrays are in column-major order.
 *
 * matio unpacks X into the memory of the pixels, and each image is transposed in place, so a split
 * needs no more memory than its pixels: 1.9 GB for train and extra.
 */
#include "sets/sets.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "dn/child.h"
#include "sets/fetch.h"
#include "sets/mat_file.h"

enum { SIDE = 32, CHANNELS = 3, PLANE = SIDE * SIDE, PIXELS = CHANNELS * PLANE, CLASSES = 10 };

/* A file, and the results of the child process that reads it. */
struct part {
    char path[PATH_MAX];
    int64_t *found; /* number of images, in shared pages */
    int64_t count;
    uint8_t *pixels;  /* (count, CHANNELS, SIDE, SIDE) in shared pages */
    uint16_t *labels; /* (count) in shared pages */
};

/* *x = the description of X, without its values; the caller frees it. */
static dn_status find_pixels(mat_t *mat, const char *path, matvar_t **x)
{
    static const size_t shape[3] = {SIDE, SIDE, CHANNELS};
    *x = Mat_VarReadInfo(mat, "X");
    DN_CHECK(*x, DN_ECORRUPT, "%s: found no X, expected uint8 (32, 32, 3, N)", path);
    DN_CHECK((*x)->rank == 4 && memcmp((*x)->dims, shape, sizeof shape) == 0 &&
                 (*x)->class_type == MAT_C_UINT8 && !(*x)->isComplex,
             DN_ECORRUPT, "%s: found X of another shape or type, expected uint8 (32, 32, 3, N)",
             path);
    return DN_OK;
}

/* Transposes an image to row-major order in place. */
static void turn_image(uint8_t *pixels)
{
    for (uint8_t *plane = pixels; plane < pixels + PIXELS; plane += PLANE)
        for (int r = 0; r < SIDE; r++)
            for (int c = 0; c < r; c++) {
                const uint8_t other = plane[c * SIDE + r];
                plane[c * SIDE + r] = plane[r * SIDE + c];
                plane[r * SIDE + c] = other;
            }
}

/* Reads the numbers of y, which must be integers of one byte. */
static dn_status read_labels(mat_t *mat, const struct part *p)
{
    matvar_t *const y = Mat_VarRead(mat, "y");
    double value = 0;
    int64_t i = 0;
    for (; i < p->count && dn_mat_number(y, (size_t)i, &value); i++)
        p->labels[i] =
            value >= 0 && value <= UINT8_MAX && value == (int)value ? (uint16_t)value : UINT16_MAX;
    const int is_longer = i == p->count && dn_mat_number(y, (size_t)i, &value);
    Mat_VarFree(y);
    DN_CHECK(i == p->count && !is_longer, DN_ECORRUPT,
             "%s: found %s numbers in y than the %" PRId64 " images of X, expected as many",
             p->path, is_longer ? "more" : "fewer", p->count);
    return DN_OK;
}

/* Converts the labels to digits. */
static dn_status turn_labels(const struct part *p)
{
    for (int64_t i = 0; i < p->count; i++) {
        const int found = p->labels[i];
        DN_CHECK(found >= 1 && found <= CLASSES, DN_ECORRUPT,
                 "%s: found label %d at index %" PRId64 ", expected 1 to %d", p->path,
                 found == UINT16_MAX ? -1 : found, i, CLASSES);
        p->labels[i] = (uint16_t)(found % CLASSES);
    }
    return DN_OK;
}

static dn_status read_images(mat_t *mat, matvar_t *x, const struct part *p)
{
    DN_CHECK(x->dims[3] == (size_t)p->count &&
                 Mat_VarReadDataLinear(mat, x, p->pixels, 0, 1, (int)(p->count * PIXELS)) == 0,
             DN_ECORRUPT, "%s: the pixels of X are damaged or cut off", p->path);
    for (int64_t i = 0; i < p->count; i++)
        turn_image(p->pixels + i * PIXELS);
    return read_labels(mat, p);
}

/* In a child process: reads the number of images or, if there is room for them, the images. */
static dn_status read_file(void *user)
{
    const struct part *const p = user;
    matvar_t *x = NULL;
    mat_t *mat;
    dn_status status = dn_mat_open(&mat, p->path);
    if (status == DN_OK)
        status = find_pixels(mat, p->path, &x);
    if (status == DN_OK && !p->pixels)
        *p->found = x->dims[3] <= INT_MAX ? (int64_t)x->dims[3] : INT_MAX;
    else if (status == DN_OK)
        status = read_images(mat, x, p);
    Mat_VarFree(x);
    if (mat)
        Mat_Close(mat);
    return status;
}

/* Checks that the file is the authors', or warns and checks that it is valid. */
static dn_status check_file(const struct part *p, const char *digest)
{
    if (dn_digest_check(p->path, digest) == DN_OK)
        return DN_OK;
    dn_warn("%s; not the authors' file", dn_message());
    return dn_mat_check(p->path);
}

static dn_status load_parts(const dn_raw_set *set, struct part *part, int parts,
                            dn_raw_split *images)
{
    int64_t count = 0;
    for (int i = 0; i < parts; i++) {
        DN_TRY(dn_child_run(part[i].path, read_file, &part[i]));
        part[i].count = *part[i].found;
        DN_TRY(dn_raw_file_check_count(part[i].path, part[i].count, PIXELS));
        count += part[i].count;
    }
    DN_TRY(dn_raw_split_create(images, set, count));
    uint8_t *pixels = images->pixels;
    uint16_t *labels = images->labels;
    for (int i = 0; i < parts; i++) {
        part[i].pixels = pixels;
        part[i].labels = labels;
        DN_TRY(dn_child_run(part[i].path, read_file, &part[i]));
        DN_TRY(turn_labels(&part[i]));
        pixels += part[i].count * PIXELS;
        labels += part[i].count;
    }
    return DN_OK;
}

static dn_status load_svhn(const dn_raw_set *set, const char *folder,
                           const dn_records_options *options, dn_split_id split,
                           dn_raw_split *images)
{
    enum { PARTS = 2 };
    static const int archives[DN_SPLITS][PARTS] = {{0, 2}, {1}};
    const int parts = split == DN_TRAIN && options->extra ? PARTS : 1;
    struct part part[PARTS] = {0};
    int64_t *const found = dn_child_pages(sizeof *found);
    DN_CHECK(found, DN_ENOMEM, "%s: out of memory", folder);
    dn_status status = DN_OK;
    for (int i = 0; i < parts && status == DN_OK; i++) {
        const dn_raw_archive *const archive = &set->archive[archives[split][i]];
        part[i].found = found;
        status = dn_raw_file_find(part[i].path, folder, archive->name);
        if (status == DN_OK)
            status = check_file(&part[i], archive->digest);
    }
    if (status == DN_OK)
        status = load_parts(set, part, parts, images);
    dn_child_pages_free(found, sizeof *found);
    return status;
}

const dn_raw_set dn_raw_svhn = {
    .info = {.dataset = "SVHN",
             .channels = CHANNELS,
             .height = SIDE,
             .width = SIDE,
             .classes = CLASSES},
    .use = DN_FOR_PIXELS | DN_FOR_EXTRA | DN_FOR_DOWNLOAD,
    .prefix = "svhn",
    .class_names = dn_raw_digits,
    .count = {73257, 26032},
    .form = {{.name = "cropped", .subfolder = "svhn", .probe = "train_32x32.mat"}},
    .hint = "get its files with --download, or name the folder of train_32x32.mat and "
            "test_32x32.mat with --source",
    .mirror = {"http://ufldl.stanford.edu/housenumbers/"},
    .archive = {{"train_32x32.mat", 182040794,
                 "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8", 0, 0},
                {"test_32x32.mat", 64275384,
                 "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b", 0, 0},
                {"extra_32x32.mat", 1329278602,
                 "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3", 0, 1}},
    .load = load_svhn,
};
