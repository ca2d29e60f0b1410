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

enum { SIDE = 28, TRAIN = 60000, TEST = 10000, CLASSES = 10 };
enum { IMAGE_WORDS = 4, LABEL_WORDS = 2 }; /* of the headers */

static const char *const class_names[] = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                          "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                          "Bag",         "Ankle boot"};

/* Reads bytes(size), fewer only at the end of the file; zlib's message names the file. */
static dn_status unpack_bytes(gzFile file, void *bytes, size_t size, size_t *found)
{
    int code;
    *found = (size_t)gzread(file, bytes, (unsigned)size);
    const char *const message = gzerror(file, &code);
    DN_CHECK(code == Z_OK, DN_ECORRUPT, "%s", message);
    return DN_OK;
}

/* Reads values(size) behind the header, which must be exactly the expected one. */
static dn_status unpack_idx(gzFile file, const char *path, const uint32_t *header, size_t words,
                            uint8_t *values)
{
    uint32_t found_header[IMAGE_WORDS] = {0};
    size_t size = 1, found, more;
    DN_TRY(unpack_bytes(file, found_header, words * sizeof *header, &found));
    for (size_t i = 0; i < words; i++) {
        const uint32_t word = ntohl(found_header[i]);
        DN_CHECK(word == header[i], DN_ECORRUPT,
                 "%s: found %" PRIu32 " in word %zu of the header, expected %" PRIu32, path, word,
                 i, header[i]);
        size *= i > 0 ? header[i] : 1;
    }
    DN_TRY(unpack_bytes(file, values, size, &found));
    DN_TRY(unpack_bytes(file, &(uint8_t){0}, 1, &more)); /* gzip's CRC stands at the end */
    DN_CHECK(found == size && more == 0, DN_ECORRUPT,
             "%s: found %s than the expected %zu bytes of values", path, more ? "more" : "fewer",
             size);
    return DN_OK;
}

static dn_status read_idx(const char *folder, const char *name, const uint32_t *header,
                          size_t words, uint8_t *values)
{
    char path[PATH_MAX];
    DN_TRY(dn_join_path(path, folder, name));
    errno = ENOMEM; /* where gzopen fails without an error of the system */
    const gzFile file = gzopen(path, "rb");
    DN_CHECK(file, errno == ENOENT ? DN_ENOENT : DN_EIO, "%s: cannot read: %s", path,
             strerror(errno));
    const dn_status status = unpack_idx(file, path, header, words, values);
    gzclose(file);
    return status;
}

static dn_status read_labels(const char *folder, const char *name, uint32_t count, uint16_t *labels)
{
    const uint32_t header[LABEL_WORDS] = {0x801, count};
    uint8_t *const values = malloc(count);
    DN_CHECK(values, DN_ENOMEM, "%s/%s: out of memory", folder, name);
    dn_status status = read_idx(folder, name, header, LABEL_WORDS, values);
    for (uint32_t i = 0; i < count && status == DN_OK; i++) {
        labels[i] = values[i];
        if (labels[i] >= CLASSES)
            status =
                dn_fail(DN_ECORRUPT, "%s/%s: found label %d at index %" PRIu32 ", expected 0 to %d",
                        folder, name, labels[i], i, CLASSES - 1);
    }
    free(values);
    return status;
}

static dn_status load_fashion_mnist(const char *folder, dn_split_id split, uint8_t *pixels,
                                    uint16_t *labels)
{
    const int train = split == DN_TRAIN;
    const uint32_t header[IMAGE_WORDS] = {0x803, train ? TRAIN : TEST, SIDE, SIDE};
    DN_TRY(read_idx(folder, train ? "train-images-idx3-ubyte.gz" : "t10k-images-idx3-ubyte.gz",
                    header, IMAGE_WORDS, pixels));
    return read_labels(folder, train ? "train-labels-idx1-ubyte.gz" : "t10k-labels-idx1-ubyte.gz",
                       header[1], labels);
}

const dn_raw_set dn_raw_fashion_mnist = {
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
    .load = load_fashion_mnist,
};
