/*
 * Fashion-MNIST: four gzipped IDX files (big-endian magic 0x00000801 for labels or 0x00000803 for
 * images, the dimensions, then bytes). They are unpacked into memory at open, so that images can
 * be read in any order; zlib checks gzip's CRC on the way.
 */
#include "originals.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "dn/file.h"

enum { SIDE = 28, PIXELS = SIDE * SIDE, TRAIN = 60000, TEST = 10000 };
enum { IMAGES, LABELS, KINDS };

static const char *const class_names[] = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                          "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                          "Bag",         "Ankle boot"};

static const char *const file_names[DN_SPLITS][KINDS] = {
    {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"},
    {"t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"}};

enum { IMAGE_WORDS = 4, LABEL_WORDS = 2, WORD = 4 }; /* of the headers; bytes */

struct fashion {
    char path[DN_SPLITS][KINDS][PATH_MAX];
    uint8_t *bytes[DN_SPLITS][KINDS]; /* with the headers */
};

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

/* *bytes = a whole IDX file, whose header (words) is exactly the expected one. */
static dn_status read_idx(const char *path, const uint32_t *header, int words, uint8_t **bytes)
{
    size_t size = 1, found;
    for (int i = 1; i < words; i++)
        size *= header[i];
    size += (size_t)words * WORD;
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

static dn_status open_files(void *source, const char *folder)
{
    struct fashion *const s = source;
    for (int i = 0; i < DN_SPLITS; i++) {
        const uint32_t count = i == DN_TRAIN ? TRAIN : TEST;
        const uint32_t images[IMAGE_WORDS] = {0x803, count, SIDE, SIDE};
        const uint32_t labels[LABEL_WORDS] = {0x801, count};
        for (int k = 0; k < KINDS; k++)
            DN_TRY(dn_join_path(s->path[i][k], folder, file_names[i][k]));
        DN_TRY(read_idx(s->path[i][IMAGES], images, IMAGE_WORDS, &s->bytes[i][IMAGES]));
        DN_TRY(read_idx(s->path[i][LABELS], labels, LABEL_WORDS, &s->bytes[i][LABELS]));
    }
    return DN_OK;
}

static dn_status read_image(const void *source, dn_split_id split, int64_t index, uint8_t *image,
                            int *label)
{
    const struct fashion *const s = source;
    *label = s->bytes[split][LABELS][LABEL_WORDS * WORD + index];
    DN_CHECK(*label < 10, DN_ECORRUPT, "%s: found label %d at index %" PRId64 ", expected 0 to 9",
             s->path[split][LABELS], *label, index);
    memcpy(image, s->bytes[split][IMAGES] + IMAGE_WORDS * WORD + index * PIXELS, PIXELS);
    return DN_OK;
}

static void close_files(void *source)
{
    struct fashion *const s = source;
    for (int i = 0; i < DN_SPLITS; i++)
        for (int k = 0; k < KINDS; k++)
            free(s->bytes[i][k]);
}

const dn_dataset dn_dataset_fashion_mnist = {
    .name = "FASHION_MNIST",
    .prefix = "fashion_mnist",
    .folder = "data/fashion_mnist",
    .channels = 1,
    .height = SIDE,
    .width = SIDE,
    .classes = 10,
    .class_names = class_names,
    .count = {TRAIN, TEST},
    .subfolder = "fashion-mnist",
    .probe = "train-images-idx3-ubyte.gz",
    .package_folder = "/usr/share/datasets/fashion-mnist",
    .hint = "install Debian's package dataset-fashion-mnist, or get "
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz "
            "(md5 8d4fb7e6c68d591d4c3dfef9ec88bf0d) and the other three, and name their folder "
            "with --source",
    .source_bytes = sizeof(struct fashion),
    .open = open_files,
    .read = read_image,
    .close = close_files,
};
