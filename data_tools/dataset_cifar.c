/*
 * CIFAR-10 in its authors' binary layout: six files of 10,000 records, each one label byte and
 * then 32x32 bytes of red, of green and of blue. Files are checked for their exact size at open.
 */
#include "dataset.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIXELS = 3 * 32 * 32, RECORD = 1 + PIXELS, RECORDS = 10000, FILES = 6, TRAIN_FILES = 5 };

static const char *const file_names[FILES] = {"data_batch_1.bin", "data_batch_2.bin",
                                              "data_batch_3.bin", "data_batch_4.bin",
                                              "data_batch_5.bin", "test_batch.bin"};

static const char *const class_names[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                          "dog",      "frog",       "horse", "ship", "truck"};

struct source {
    char folder[PATH_MAX];
    int fd[FILES];
};

static void close_source(void **source)
{
    struct source *const s = *source;
    for (int i = 0; s && i < FILES; i++)
        if (s->fd[i] >= 0)
            close(s->fd[i]);
    free(s);
    *source = NULL;
}

static dn_status open_file(struct source *s, int i)
{
    const int64_t expected = (int64_t)RECORDS * RECORD;
    char path[PATH_MAX];
    struct stat info;
    DN_TRY(dn_join_path(path, s->folder, file_names[i]));
    s->fd[i] = open(path, O_RDONLY | O_CLOEXEC);
    DN_CHECK(s->fd[i] >= 0 && fstat(s->fd[i], &info) == 0, DN_ENOENT, "%s: cannot read: %s; %s",
             path, strerror(errno), dn_dataset_cifar10.hint);
    DN_CHECK(info.st_size == expected, DN_ECORRUPT,
             "%s: found %" PRId64 " bytes, expected %" PRId64, path, (int64_t)info.st_size,
             expected);
    return DN_OK;
}

static dn_status open_source(void **source, const char *folder, int64_t count[DN_SPLITS])
{
    struct source *const s = *source = calloc(1, sizeof *s);
    DN_CHECK(s, DN_ENOMEM, "%s: out of memory", folder);
    strncpy(s->folder, folder, sizeof s->folder - 1);
    for (int i = 0; i < FILES; i++)
        s->fd[i] = -1;
    count[DN_TRAIN] = TRAIN_FILES * RECORDS;
    count[DN_TEST] = (FILES - TRAIN_FILES) * RECORDS;
    dn_status status = DN_OK;
    for (int i = 0; i < FILES && status == DN_OK; i++)
        status = open_file(s, i);
    if (status != DN_OK)
        close_source(source);
    return status;
}

static dn_status read_image(const void *source, dn_split split, int64_t index, uint8_t *image,
                            int *label)
{
    const struct source *const s = source;
    const int file = (split == DN_TEST ? TRAIN_FILES : 0) + (int)(index / RECORDS);
    const off_t offset = (off_t)(index % RECORDS) * RECORD;
    uint8_t record[RECORD];
    const ssize_t size = pread(s->fd[file], record, sizeof record, offset);
    DN_CHECK(size == RECORD, DN_EIO, "%s/%s: cannot read record %d: %s", s->folder,
             file_names[file], (int)(index % RECORDS), size < 0 ? strerror(errno) : "cut short");
    DN_CHECK(record[0] < 10, DN_ECORRUPT,
             "%s/%s: record %d at byte %" PRId64 ": found label %d, expected 0 to 9", s->folder,
             file_names[file], (int)(index % RECORDS), (int64_t)offset, record[0]);
    *label = record[0];
    memcpy(image, record + 1, PIXELS);
    return DN_OK;
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
    .subfolder = "cifar-10-batches-bin",
    .probe = "data_batch_1.bin",
    .hint = "get https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz (md5 "
            "c32a1d4ab5d03f1284b67883e8d87530), unpack it and name its folder with --source",
    .open = open_source,
    .read = read_image,
    .close = close_source,
};
