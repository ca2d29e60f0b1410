/* The files of raw data sets: CIFAR's, and IDX, gzipped or not; see fuzz.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include "fuzz.h"
#include "sets/sets.h"

/* A split as its adapter reads it. */
static dn_status load_raw_split(const dn_raw_set *set, const char *folder, uint64_t *digest)
{
    const dn_records_options options = {0};
    dn_raw_split split = {0};
    const dn_status status = set->load(set, folder, &options, DN_TEST, &split);
    if (status == DN_OK) {
        const size_t count = (size_t)split.count, size = count * dn_image_values(&set->info);
        for (size_t i = 0; i < count; i++)
            fuzz_require(split.labels[i] < set->info.classes, "labels of classes that are there");
        *digest = fuzz_digest(fuzz_digest(0, split.pixels, size), split.labels,
                              count * sizeof *split.labels);
    }
    dn_raw_split_free(&split);
    return status;
}

/* ---- CIFAR: the first records of 10000; the others are zeros ---- */

enum { RECORD = 3073, RECORDS = 10000, CHANGED = 5 };

static void make_cifar(fuzz *f)
{
    FILE *const file = fopen(f->path, "wb");
    fuzz_require(file != NULL, f->path);
    for (int i = 0; i < CHANGED * RECORD; i++)
        putc(i % RECORD == 0 ? i / RECORD : i % 251, file);
    fuzz_require(fclose(file) == 0, f->path);
}

static dn_status load_cifar(fuzz *f, uint64_t *digest)
{
    struct stat head;
    fuzz_require(stat(f->path, &head) == 0 &&
                     truncate(f->path, (RECORDS - CHANGED) * RECORD + head.st_size) == 0,
                 "a file as long as CIFAR's");
    return load_raw_split(&dn_raw_cifar10, f->folder, digest);
}

const fuzz_format fuzz_cifar = {
    .name = "cifar", .file = "test_batch.bin", .make = make_cifar, .load = load_cifar};

/* ---- IDX: the labels; the images are zeros ---- */

enum { IDX_COUNT = 10000, IDX_PIXELS = 28 * 28 };

static void write_words(gzFile file, const uint32_t *words, int count)
{
    for (int i = 0; i < count; i++)
        for (int shift = 24; shift >= 0; shift -= 8)
            gzputc(file, (int)(words[i] >> shift & 255));
}

/* mode "wT": as it is. */
static void write_idx(const char *path, const char *mode, const uint32_t *header, int words,
                      int bytes, int classes)
{
    const gzFile file = gzopen(path, mode);
    fuzz_require(file != NULL, path);
    write_words(file, header, words);
    for (int i = 0; i < bytes; i++)
        gzputc(file, i % classes);
    fuzz_require(gzclose(file) == Z_OK, path);
}

static void make_images(const fuzz *f)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/t10k-images-idx3-ubyte", f->folder);
    write_idx(path, "wb1", (const uint32_t[]){0x803, IDX_COUNT, 28, 28}, 4, IDX_COUNT * IDX_PIXELS,
              1);
}

static void make_idx(fuzz *f)
{
    make_images(f);
    write_idx(f->path, "wbT", (const uint32_t[]){0x801, IDX_COUNT}, 2, IDX_COUNT, 10);
}

static void make_gzip(fuzz *f)
{
    make_images(f);
    write_idx(f->path, "wb", (const uint32_t[]){0x801, IDX_COUNT}, 2, IDX_COUNT, 10);
}

static dn_status load_idx(fuzz *f, uint64_t *digest)
{
    return load_raw_split(&dn_raw_fashion_mnist, f->folder, digest);
}

/* Its checksum is zlib's to check: whatever is accepted has the original's content. */
static int seal_gzip(fuzz *f, fuzz_file *file, int renew)
{
    (void)f, (void)file, (void)renew;
    return 0;
}

const fuzz_format fuzz_idx = {
    .name = "idx", .file = "t10k-labels-idx1-ubyte", .make = make_idx, .load = load_idx};
const fuzz_format fuzz_gzip = {.name = "gzip",
                               .file = "t10k-labels-idx1-ubyte.gz",
                               .make = make_gzip,
                               .seal = seal_gzip,
                               .load = load_idx};
