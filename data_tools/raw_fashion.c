/*
 * Fashion-MNIST: four gzipped IDX files (big-endian magic 0x00000801 for labels or 0x00000803 for
 * images, the dimensions, then bytes). zlib checks gzip's CRC on the way.
 */
#include "raw_sets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "dn/file.h"

enum { SIDE = 28, PIXELS = SIDE * SIDE, TRAIN = 60000, TEST = 10000, CLASSES = 10 };

static const char *const class_names[] = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                          "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                          "Bag",         "Ankle boot"};

enum { IMAGE_WORDS = 4, LABEL_WORDS = 2, WORD = 4 }; /* of the headers; bytes */

/* bytes(size) = the file's content and zeros after it; one byte more is asked for, since gzip's CRC
 * stands at the end. */
static dn_status unpack(const char *path, uint8_t *bytes, size_t size, size_t *found)
{
    int code;
    errno = ENOMEM; /* where gzopen fails without an error of the system */
    const gzFile file = gzopen(path, "rb");
    DN_CHECK(file, errno == ENOENT ? DN_ENOENT : DN_EIO, "%s: cannot read: %s", path,
             strerror(errno));
    *found = (size_t)gzread(file, bytes, (unsigned)size + 1);
    const char *const message = gzerror(file, &code);
    if (code != Z_OK)
        dn_fail(DN_ECORRUPT, "%s", message); /* zlib's message names the file */
    gzclose(file);
    return code == Z_OK ? DN_OK : DN_ECORRUPT;
}

/* *bytes = a whole IDX file, whose header (words) is exactly the expected one, to be freed by the
 * caller, after a failure too. */
static dn_status read_idx(const char *folder, const char *name, const uint32_t *header, int words,
                          uint8_t **bytes)
{
    char path[PATH_MAX];
    size_t size = 1, found;
    for (int i = 1; i < words; i++)
        size *= header[i];
    size += (size_t)words * WORD;
    DN_TRY(dn_join_path(path, folder, name));
    *bytes = calloc(1, size + 1);
    DN_CHECK(*bytes, DN_ENOMEM, "%s: out of memory for %zu bytes", path, size);
    DN_TRY(unpack(path, *bytes, size, &found));
    for (int i = 0; i < words; i++) {
        uint32_t word;
        memcpy(&word, *bytes + i * WORD, WORD);
        DN_CHECK(ntohl(word) == header[i], DN_ECORRUPT,
                 "%s: found %" PRIu32 " in word %d of the header, expected %" PRIu32, path,
                 ntohl(word), i, header[i]);
    }
    DN_CHECK(found == size, DN_ECORRUPT, "%s: found %s than the expected %zu bytes", path,
             found < size ? "fewer" : "more", size);
    return DN_OK;
}

static dn_status load_labels(const char *folder, const char *name, uint32_t count, uint16_t *labels)
{
    const uint32_t header[LABEL_WORDS] = {0x801, count};
    uint8_t *bytes = NULL;
    dn_status status = read_idx(folder, name, header, LABEL_WORDS, &bytes);
    for (uint32_t i = 0; i < count && status == DN_OK; i++) {
        labels[i] = bytes[LABEL_WORDS * WORD + i];
        if (labels[i] >= CLASSES)
            status =
                dn_fail(DN_ECORRUPT, "%s/%s: found label %d at index %" PRIu32 ", expected 0 to %d",
                        folder, name, labels[i], i, CLASSES - 1);
    }
    free(bytes);
    return status;
}

static dn_status load_images(const char *folder, const char *name, uint32_t count, uint8_t *pixels)
{
    const uint32_t header[IMAGE_WORDS] = {0x803, count, SIDE, SIDE};
    uint8_t *bytes = NULL;
    const dn_status status = read_idx(folder, name, header, IMAGE_WORDS, &bytes);
    if (status == DN_OK)
        memcpy(pixels, bytes + IMAGE_WORDS * WORD, (size_t)count * PIXELS);
    free(bytes);
    return status;
}

static dn_status load(const char *folder, dn_split_id split, uint8_t *pixels, uint16_t *labels)
{
    const int train = split == DN_TRAIN;
    const uint32_t count = train ? TRAIN : TEST;
    DN_TRY(load_images(folder, train ? "train-images-idx3-ubyte.gz" : "t10k-images-idx3-ubyte.gz",
                       count, pixels));
    return load_labels(folder, train ? "train-labels-idx1-ubyte.gz" : "t10k-labels-idx1-ubyte.gz",
                       count, labels);
}

const dn_dataset dn_dataset_fashion_mnist = {
    .info = {.dataset = "FASHION_MNIST",
             .channels = 1,
             .height = SIDE,
             .width = SIDE,
             .classes = CLASSES},
    .prefix = "fashion_mnist",
    .folder = "data/fashion_mnist",
    .class_names = class_names,
    .count = {TRAIN, TEST},
    .subfolder = "fashion-mnist",
    .probe = "train-images-idx3-ubyte.gz",
    .package_folder = "/usr/share/datasets/fashion-mnist",
    .hint = "install Debian's package dataset-fashion-mnist, or get "
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz "
            "(md5 8d4fb7e6c68d591d4c3dfef9ec88bf0d) and the other three, and name their folder "
            "with --source",
    .load = load,
};
