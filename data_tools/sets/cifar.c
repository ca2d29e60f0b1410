/*
 * CIFAR-10 and CIFAR-100 in their authors' binary layout: files of records, each with one label
 * byte (CIFAR-100: a coarse and a fine one) and 32x32 bytes each of red, green and blue. The files
 * do not contain the number of records, so their exact size is checked.
 */
#include "sets/sets.h"

#include <stdlib.h>
#include <string.h>

enum { PIXELS = 3 * 32 * 32, FILES = 5 };

/* All files of a split have the same number of records. */
static const char *const files_10[DN_SPLITS][FILES + 1] = {{"data_batch_1.bin", "data_batch_2.bin",
                                                            "data_batch_3.bin", "data_batch_4.bin",
                                                            "data_batch_5.bin"},
                                                           {"test_batch.bin"}};
static const char *const files_100[DN_SPLITS][FILES + 1] = {{"train.bin"}, {"test.bin"}};

/* Loads the file's images as those from `first` on. */
static dn_status load_file(const dn_raw_set *set, const char *path, int count, uint8_t *records,
                           size_t first, dn_raw_split *images)
{
    const int head = set->info.classes == 100 ? 2 : 1, record = head + PIXELS;
    DN_TRY(dn_raw_file_read(path, NULL, 0, records, (size_t)count * (size_t)record));
    for (int i = 0; i < count; i++, records += record) {
        const size_t image = first + (size_t)i;
        const int label = records[head - 1];
        DN_CHECK(label < set->info.classes, DN_ECORRUPT,
                 "%s: record %d at byte %d: found label %d, expected 0 to %d", path, i,
                 i * record + head - 1, label, set->info.classes - 1);
        images->labels[image] = (uint16_t)label;
        memcpy(images->pixels + image * PIXELS, records + head, PIXELS);
    }
    return DN_OK;
}

static dn_status load_cifar(const dn_raw_set *set, const char *folder,
                            const dn_records_options *options, dn_split_id split,
                            dn_raw_split *images)
{
    const char *const *const file = (set->info.classes == 100 ? files_100 : files_10)[split];
    char path[PATH_MAX];
    int files = 0;
    (void)options;
    while (file[files])
        files++;
    const int count = (int)set->count[split] / files;
    DN_TRY(dn_raw_split_create(images, set, set->count[split]));
    uint8_t *const records = malloc((size_t)count * (2 + PIXELS));
    DN_CHECK(records, DN_ENOMEM, "%s: out of memory", folder);
    dn_status status = DN_OK;
    for (int i = 0; i < files && status == DN_OK; i++) {
        status = dn_raw_file_find(path, folder, file[i]);
        if (status == DN_OK)
            status = load_file(set, path, count, records, (size_t)i * (size_t)count, images);
    }
    free(records);
    return status;
}

/* ---- CIFAR-10 ---- */

static const char *const class_names_10[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                             "dog",      "frog",       "horse", "ship", "truck"};

const dn_raw_set dn_raw_cifar10 = {
    .info = {.dataset = "CIFAR10", .channels = 3, .height = 32, .width = 32, .classes = 10},
    .use = DN_FOR_PIXELS | DN_FOR_DOWNLOAD,
    .prefix = "cifar10",
    .class_names = class_names_10,
    .count = {50000, 10000},
    .form = {{"binary", "cifar-10-batches-bin", "data_batch_1.bin", 0},
             {"Python", "cifar-10-batches-py", "data_batch_1", 1},
             {"Matlab", "cifar-10-batches-mat", "data_batch_1.mat", 1}},
    .hint = "get it with --download, or get "
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz (md5 "
            "c32a1d4ab5d03f1284b67883e8d87530), unpack it and name its folder with --source",
    .mirror = {"https://www.cs.toronto.edu/~kriz/"},
    .archive = {{"cifar-10-binary.tar.gz", 170052171,
                 "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", 184380000, 0}},
    .load = load_cifar,
};

/* ---- CIFAR-100 ---- */

static const char *const class_names_100[] = {
    "apple",       "aquarium_fish", "baby",      "bear",       "beaver",       "bed",
    "bee",         "beetle",        "bicycle",   "bottle",     "bowl",         "boy",
    "bridge",      "bus",           "butterfly", "camel",      "can",          "castle",
    "caterpillar", "cattle",        "chair",     "chimpanzee", "clock",        "cloud",
    "cockroach",   "couch",         "crab",      "crocodile",  "cup",          "dinosaur",
    "dolphin",     "elephant",      "flatfish",  "forest",     "fox",          "girl",
    "hamster",     "house",         "kangaroo",  "keyboard",   "lamp",         "lawn_mower",
    "leopard",     "lion",          "lizard",    "lobster",    "man",          "maple_tree",
    "motorcycle",  "mountain",      "mouse",     "mushroom",   "oak_tree",     "orange",
    "orchid",      "otter",         "palm_tree", "pear",       "pickup_truck", "pine_tree",
    "plain",       "plate",         "poppy",     "porcupine",  "possum",       "rabbit",
    "raccoon",     "ray",           "road",      "rocket",     "rose",         "sea",
    "seal",        "shark",         "shrew",     "skunk",      "skyscraper",   "snail",
    "snake",       "spider",        "squirrel",  "streetcar",  "sunflower",    "sweet_pepper",
    "table",       "tank",          "telephone", "television", "tiger",        "tractor",
    "train",       "trout",         "tulip",     "turtle",     "wardrobe",     "whale",
    "willow_tree", "wolf",          "woman",     "worm"};

_Static_assert(sizeof class_names_100 == 100 * sizeof *class_names_100,
               "CIFAR-100 has 100 classes");

const dn_raw_set dn_raw_cifar100 = {
    .info = {.dataset = "CIFAR100", .channels = 3, .height = 32, .width = 32, .classes = 100},
    .use = DN_FOR_PIXELS | DN_FOR_DOWNLOAD,
    .prefix = "cifar100",
    .class_names = class_names_100,
    .count = {50000, 10000},
    .form = {{"binary", "cifar-100-binary", "train.bin", 0},
             {"Python", "cifar-100-python", "train", 1},
             {"Matlab", "cifar-100-matlab", "train.mat", 1}},
    .hint = "get it with --download, or get "
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz (md5 "
            "03b5dce01913d631647c71ecec9e9cb8), unpack it and name its folder with --source",
    .mirror = {"https://www.cs.toronto.edu/~kriz/"},
    .archive = {{"cifar-100-binary.tar.gz", 168513733,
                 "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec", 184440000, 0}},
    .load = load_cifar,
};
