/*
 * CIFAR-10 in its authors' binary layout: six files of 10,000 records, each one label byte and
 * then 32x32 bytes of red, of green and of blue. Files are checked for their exact size.
 */
#include "records.h"

#include <stdlib.h>
#include <string.h>

enum { PIXELS = 3 * 32 * 32, RECORD = 1 + PIXELS, RECORDS = 10000, TRAIN_FILES = 5, CLASSES = 10 };

static const char *const file_names[TRAIN_FILES + 1] = {"data_batch_1.bin", "data_batch_2.bin",
                                                        "data_batch_3.bin", "data_batch_4.bin",
                                                        "data_batch_5.bin", "test_batch.bin"};

static const char *const class_names[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                          "dog",      "frog",       "horse", "ship", "truck"};

static dn_status load_batch_file(const char *folder, const char *name, uint8_t *records,
                                 uint8_t *pixels, uint16_t *labels)
{
    char path[PATH_MAX];
    DN_TRY(dn_raw_file_find(path, folder, name));
    DN_TRY(dn_raw_file_read(path, NULL, 0, records, RECORDS * RECORD));
    for (int i = 0; i < RECORDS; i++, records += RECORD, pixels += PIXELS) {
        DN_CHECK(records[0] < CLASSES, DN_ECORRUPT,
                 "%s: record %d at byte %d: found label %d, expected 0 to %d", path, i, i * RECORD,
                 records[0], CLASSES - 1);
        labels[i] = records[0];
        memcpy(pixels, records + 1, PIXELS);
    }
    return DN_OK;
}

static dn_status load_cifar10(const char *folder, dn_split_id split, uint8_t *pixels,
                              uint16_t *labels)
{
    const int first = split == DN_TRAIN ? 0 : TRAIN_FILES;
    const int files = split == DN_TRAIN ? TRAIN_FILES : 1;
    uint8_t *const records = malloc(RECORDS * RECORD);
    DN_CHECK(records, DN_ENOMEM, "%s: out of memory", folder);
    dn_status status = DN_OK;
    for (int i = 0; i < files && status == DN_OK; i++)
        status = load_batch_file(folder, file_names[first + i], records,
                                 pixels + (size_t)i * RECORDS * PIXELS, labels + i * RECORDS);
    free(records);
    return status;
}

const dn_raw_set dn_raw_cifar10 = {
    .info = {.dataset = "CIFAR10", .channels = 3, .height = 32, .width = 32, .classes = CLASSES},
    .prefix = "cifar10",
    .folder = "data/cifar10",
    .class_names = class_names,
    .count = {TRAIN_FILES * RECORDS, RECORDS},
    .form = {{"binary", "cifar-10-batches-bin", "data_batch_1.bin"},
             {"Python", "cifar-10-batches-py", "data_batch_1"},
             {"Matlab", "cifar-10-batches-mat", "data_batch_1.mat"}},
    .hint = "get https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz (md5 "
            "c32a1d4ab5d03f1284b67883e8d87530), unpack it and name its folder with --source",
    .load = load_cifar10,
};
