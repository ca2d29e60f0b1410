/*
 * MNIST and Fashion-MNIST: four IDX files, gzipped or not (big-endian magic 0x00000801 for labels
 * or 0x00000803 for images, the dimensions, then bytes). The header of the images has their number;
 * the file of labels must have the same.
 */
#include "sets/sets.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SIDE = 28, TRAIN = 60000, TEST = 10000, CLASSES = 10 };
enum { IMAGE_WORDS = 4, LABEL_WORDS = 2 }; /* of the headers */

static const char *const garments[] = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                       "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};

static dn_status load_idx_labels(const char *path, dn_raw_split *images)
{
    const uint32_t header[LABEL_WORDS] = {0x801, (uint32_t)images->count};
    const size_t count = header[1];
    uint8_t *const values = malloc(count);
    DN_CHECK(values, DN_ENOMEM, "%s: out of memory", path);
    dn_status status = dn_raw_file_read(path, header, LABEL_WORDS, values, count);
    for (size_t i = 0; i < count && status == DN_OK; i++) {
        images->labels[i] = values[i];
        if (values[i] >= CLASSES)
            status = dn_fail(DN_ECORRUPT, "%s: found label %d at index %zu, expected 0 to %d", path,
                             values[i], i, CLASSES - 1);
    }
    free(values);
    return status;
}

/* *count = the number of images in the header. DN_ECORRUPT if the file cannot hold them. */
static dn_status count_idx_images(const char *path, uint32_t *count)
{
    uint32_t word[LABEL_WORDS];
    DN_TRY(dn_raw_file_words(path, word));
    DN_CHECK(word[0] == 0x803, DN_ECORRUPT,
             "%s: found %" PRIu32 " in word 0 of the header, expected %d", path, word[0], 0x803);
    *count = word[1];
    return dn_raw_file_check_count(path, word[1], SIDE * SIDE);
}

static dn_status load_idx(const dn_raw_set *set, const char *folder,
                          const dn_records_options *options, dn_split_id split,
                          dn_raw_split *images)
{
    const int train = split == DN_TRAIN;
    (void)options;
    uint32_t header[IMAGE_WORDS] = {0x803, 0, SIDE, SIDE};
    char path[PATH_MAX], labels[PATH_MAX];
    DN_TRY(dn_raw_file_find(path, folder,
                            train ? "train-images-idx3-ubyte" : "t10k-images-idx3-ubyte"));
    DN_TRY(dn_raw_file_find(labels, folder,
                            train ? "train-labels-idx1-ubyte" : "t10k-labels-idx1-ubyte"));
    DN_TRY(count_idx_images(path, &header[1]));
    DN_TRY(dn_raw_split_create(images, set, header[1]));
    DN_TRY(dn_raw_file_read(path, header, IMAGE_WORDS, images->pixels,
                            (size_t)header[1] * SIDE * SIDE));
    return load_idx_labels(labels, images);
}

const dn_raw_set dn_raw_mnist = {
    .info = {.dataset = "MNIST", .channels = 1, .height = SIDE, .width = SIDE, .classes = CLASSES},
    .use = DN_FOR_PIXELS | DN_FOR_DOWNLOAD,
    .prefix = "mnist",
    .class_names = dn_raw_digits,
    .count = {TRAIN, TEST},
    .form = {{.name = "IDX", .subfolder = "MNIST/raw", .probe = "train-images-idx3-ubyte"}},
    .hint = "get its four files with --download, or name their folder with --source",
    .mirror = {"https://ossci-datasets.s3.amazonaws.com/mnist/",
               "https://storage.googleapis.com/cvdf-datasets/mnist/"},
    .archive = {{"train-images-idx3-ubyte.gz", 9912422,
                 "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 0, 0},
                {"train-labels-idx1-ubyte.gz", 28881,
                 "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 0, 0},
                {"t10k-images-idx3-ubyte.gz", 1648877,
                 "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 0, 0},
                {"t10k-labels-idx1-ubyte.gz", 4542,
                 "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 0, 0}},
    .load = load_idx,
};

const dn_raw_set dn_raw_fashion_mnist = {
    .info = {.dataset = "FASHION_MNIST",
             .channels = 1,
             .height = SIDE,
             .width = SIDE,
             .classes = CLASSES},
    .use = DN_FOR_PIXELS | DN_FOR_DOWNLOAD,
    .prefix = "fashion_mnist",
    .class_names = garments,
    .count = {TRAIN, TEST},
    .form = {{.name = "IDX", .subfolder = "fashion-mnist", .probe = "train-images-idx3-ubyte"}},
    .package_folder = "/usr/share/datasets/fashion-mnist",
    .hint =
        "install Debian's package dataset-fashion-mnist, get its four files with --download, or "
        "name their folder with --source",
    .mirror = {"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"},
    .archive = {{"train-images-idx3-ubyte.gz", 26421880,
                 "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 0, 0},
                {"train-labels-idx1-ubyte.gz", 29515,
                 "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", 0, 0},
                {"t10k-images-idx3-ubyte.gz", 4422102,
                 "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 0, 0},
                {"t10k-labels-idx1-ubyte.gz", 5148,
                 "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", 0, 0}},
    .load = load_idx,
};
