/*
 * Fashion-MNIST: four IDX files, gzipped or not (big-endian magic 0x00000801 for labels or
 * 0x00000803 for images, the dimensions, then bytes).
 */
#include "records.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SIDE = 28, TRAIN = 60000, TEST = 10000, CLASSES = 10 };
enum { IMAGE_WORDS = 4, LABEL_WORDS = 2 }; /* of the headers */

static const char *const class_names[] = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                          "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                          "Bag",         "Ankle boot"};

static dn_status load_idx_labels(const char *folder, const char *name, uint32_t count,
                                 uint16_t *labels)
{
    const uint32_t header[LABEL_WORDS] = {0x801, count};
    char path[PATH_MAX];
    DN_TRY(dn_raw_file_find(path, folder, name));
    uint8_t *const values = malloc(count);
    DN_CHECK(values, DN_ENOMEM, "%s: out of memory", path);
    dn_status status = dn_raw_file_read(path, header, LABEL_WORDS, values, count);
    for (uint32_t i = 0; i < count && status == DN_OK; i++) {
        labels[i] = values[i];
        if (labels[i] >= CLASSES)
            status =
                dn_fail(DN_ECORRUPT, "%s: found label %d at index %" PRIu32 ", expected 0 to %d",
                        path, labels[i], i, CLASSES - 1);
    }
    free(values);
    return status;
}

static dn_status load_fashion_mnist(const char *folder, dn_split_id split, uint8_t *pixels,
                                    uint16_t *labels)
{
    const int train = split == DN_TRAIN;
    const uint32_t header[IMAGE_WORDS] = {0x803, train ? TRAIN : TEST, SIDE, SIDE};
    char path[PATH_MAX];
    DN_TRY(dn_raw_file_find(path, folder,
                            train ? "train-images-idx3-ubyte" : "t10k-images-idx3-ubyte"));
    DN_TRY(dn_raw_file_read(path, header, IMAGE_WORDS, pixels, (size_t)header[1] * SIDE * SIDE));
    return load_idx_labels(folder, train ? "train-labels-idx1-ubyte" : "t10k-labels-idx1-ubyte",
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
    .form = {{"IDX", "fashion-mnist", "train-images-idx3-ubyte"}},
    .package_folder = "/usr/share/datasets/fashion-mnist",
    .hint = "install Debian's package dataset-fashion-mnist, or get "
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz "
            "(md5 8d4fb7e6c68d591d4c3dfef9ec88bf0d) and the other three, and name their folder "
            "with --source",
    .load = load_fashion_mnist,
};
