/*
 * CIFAR-10 in its authors' binary layout: six files of 10,000 records, each one label byte and
 * then 32x32 bytes of red, of green and of blue. Files are checked for their exact size.
 */
#include "originals.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dn/file.h"

enum { PIXELS = 3 * 32 * 32, RECORD = 1 + PIXELS, RECORDS = 10000, FILES = 6, TRAIN_FILES = 5 };

static const char *const file_names[FILES] = {"data_batch_1.bin", "data_batch_2.bin",
                                              "data_batch_3.bin", "data_batch_4.bin",
                                              "data_batch_5.bin", "test_batch.bin"};

static const char *const class_names[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                          "dog",      "frog",       "horse", "ship", "truck"};

struct cifar {
    char path[FILES][PATH_MAX];
    uint8_t *records[FILES]; /* (RECORDS, RECORD) */
};

static dn_status open_files(void *source, const char *folder)
{
    struct cifar *const s = source;
    const size_t expected = (size_t)RECORDS * RECORD;
    for (int i = 0; i < FILES; i++) {
        size_t size;
        DN_TRY(dn_join_path(s->path[i], folder, file_names[i]));
        DN_TRY(dn_file_load(s->path[i], &s->records[i], &size));
        DN_CHECK(size == expected, DN_ECORRUPT, "%s: found %zu bytes, expected %zu", s->path[i],
                 size, expected);
    }
    return DN_OK;
}

static dn_status read_image(const void *source, dn_split_id split, int64_t index, uint8_t *image,
                            int *label)
{
    const struct cifar *const s = source;
    const int file = (split == DN_TEST ? TRAIN_FILES : 0) + (int)(index / RECORDS);
    const int64_t offset = index % RECORDS * RECORD;
    const uint8_t *const record = s->records[file] + offset;
    *label = record[0];
    DN_CHECK(*label < 10, DN_ECORRUPT,
             "%s: record %" PRId64 " at byte %" PRId64 ": found label %d, expected 0 to 9",
             s->path[file], index % RECORDS, offset, *label);
    memcpy(image, record + 1, PIXELS);
    return DN_OK;
}

static void close_files(void *source)
{
    for (int i = 0; i < FILES; i++)
        free(((struct cifar *)source)->records[i]);
}

const dn_dataset dn_dataset_cifar10 = {
    .name = "CIFAR10",
    .prefix = "cifar10",
    .folder = "data/cifar10",
    .channels = 3,
    .height = 32,
    .width = 32,
    .classes = 10,
    .class_names = class_names,
    .count = {TRAIN_FILES * RECORDS, (FILES - TRAIN_FILES) * RECORDS},
    .subfolder = "cifar-10-batches-bin",
    .probe = "data_batch_1.bin",
    .hint = "get https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz (md5 "
            "c32a1d4ab5d03f1284b67883e8d87530), unpack it and name its folder with --source",
    .source_bytes = sizeof(struct cifar),
    .open = open_files,
    .read = read_image,
    .close = close_files,
};
