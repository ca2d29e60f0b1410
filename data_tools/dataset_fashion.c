/*
 * Fashion-MNIST: four gzipped IDX files (big-endian magic 0x00000801 for labels or 0x00000803 for
 * images, the dimensions, then bytes). They are unpacked into memory at open, so that images can
 * be read in any order; zlib checks gzip's CRC on the way.
 */
#include "dataset.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

enum { SIDE = 28, PIXELS = SIDE * SIDE };

static const char *const image_files[DN_SPLITS] = {"train-images-idx3-ubyte.gz",
                                                   "t10k-images-idx3-ubyte.gz"};
static const char *const label_files[DN_SPLITS] = {"train-labels-idx1-ubyte.gz",
                                                   "t10k-labels-idx1-ubyte.gz"};
static const uint32_t counts[DN_SPLITS] = {60000, 10000};

static const char *const class_names[] = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                          "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                          "Bag",         "Ankle boot"};

struct source {
    char folder[PATH_MAX];
    uint8_t *images[DN_SPLITS], *labels[DN_SPLITS];
};

static void close_source(void **source)
{
    struct source *const s = *source;
    for (int i = 0; s && i < DN_SPLITS; i++) {
        free(s->images[i]);
        free(s->labels[i]);
    }
    free(s);
    *source = NULL;
}

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static dn_status read_bytes(gzFile file, const char *path, uint8_t *bytes, size_t size)
{
    const int read = gzread(file, bytes, (unsigned)size);
    int code = Z_OK;
    const char *const message = gzerror(file, &code);
    DN_CHECK(code == Z_OK, DN_ECORRUPT, "%s", message); /* zlib's message names the file */
    DN_CHECK(read == (int)size, DN_ECORRUPT, "%s: cut short", path);
    return DN_OK;
}

/* The header's magic number and dimensions are exactly the expected ones. */
static dn_status check_header(gzFile file, const char *path, const uint32_t *expected, int words)
{
    uint8_t header[16];
    DN_TRY(read_bytes(file, path, header, 4 * (size_t)words));
    for (int i = 0; i < words; i++)
        DN_CHECK(big_endian(header + 4 * i) == expected[i], DN_ECORRUPT,
                 "%s: found %" PRIu32 " in word %d of the header, expected %" PRIu32, path,
                 big_endian(header + 4 * i), i, expected[i]);
    return DN_OK;
}

static dn_status read_idx(const char *folder, const char *name, const uint32_t *header, int words,
                          uint8_t **bytes)
{
    char path[PATH_MAX];
    uint8_t beyond;
    size_t size = 1;
    for (int i = 1; i < words; i++)
        size *= header[i];
    DN_TRY(dn_join_path(path, folder, name));
    const gzFile file = gzopen(path, "rb");
    DN_CHECK(file, DN_ENOENT, "%s: cannot read: %s; %s", path, strerror(errno),
             dn_dataset_fashion_mnist.hint);
    dn_status status = DN_OK;
    *bytes = malloc(size);
    if (!*bytes)
        status = dn_fail(DN_ENOMEM, "%s: out of memory for %zu bytes", path, size);
    if (status == DN_OK)
        status = check_header(file, path, header, words);
    if (status == DN_OK)
        status = read_bytes(file, path, *bytes, size);
    if (status == DN_OK && gzread(file, &beyond, 1) != 0) /* the end is where gzip's CRC stands */
        status = dn_fail(DN_ECORRUPT, "%s: damaged, or more than %zu bytes of data", path, size);
    gzclose(file);
    return status;
}

static dn_status open_source(void **source, const char *folder, int64_t count[DN_SPLITS])
{
    struct source *const s = *source = calloc(1, sizeof *s);
    DN_CHECK(s, DN_ENOMEM, "%s: out of memory", folder);
    strncpy(s->folder, folder, sizeof s->folder - 1);
    dn_status status = DN_OK;
    for (int i = 0; i < DN_SPLITS && status == DN_OK; i++) {
        count[i] = counts[i];
        status = read_idx(folder, image_files[i], (uint32_t[]){0x803, counts[i], SIDE, SIDE}, 4,
                          &s->images[i]);
        if (status == DN_OK)
            status =
                read_idx(folder, label_files[i], (uint32_t[]){0x801, counts[i]}, 2, &s->labels[i]);
    }
    if (status != DN_OK)
        close_source(source);
    return status;
}

static dn_status read_image(const void *source, dn_split split, int64_t index, uint8_t *image,
                            int *label)
{
    const struct source *const s = source;
    *label = s->labels[split][index];
    DN_CHECK(*label < 10, DN_ECORRUPT,
             "%s/%s: found label %d at index %" PRId64 ", expected 0 to 9", s->folder,
             label_files[split], *label, index);
    memcpy(image, s->images[split] + index * PIXELS, PIXELS);
    return DN_OK;
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
    .subfolder = "fashion-mnist",
    .probe = "train-images-idx3-ubyte.gz",
    .package_folder = "/usr/share/datasets/fashion-mnist",
    .hint = "install Debian's package dataset-fashion-mnist, or get "
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz "
            "(md5 8d4fb7e6c68d591d4c3dfef9ec88bf0d) and the other three, and name their folder "
            "with --source",
    .open = open_source,
    .read = read_image,
    .close = close_source,
};
