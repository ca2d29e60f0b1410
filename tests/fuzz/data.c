/* The files of a data set: dataset.json and shards of either kind; see fuzz.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "dn/hdf5.h"
#include "dn/kernels.h"
#include "folder/folder.h"
#include "fuzz.h"
#include "inspect/inspect.h"
#include "sets/records.h"
#include "tfrecord/tfrecord.h"

enum { CHANNELS = 2, HEIGHT = 2, WIDTH = 3, CLASSES = 3, IMAGE = CHANNELS * HEIGHT * WIDTH };
enum { TRAIN = 40, TEST = 5, SHARDS = 2 };

/* Of libhdf5: the checksum of its metadata. */
uint32_t H5_checksum_lookup3(const void *bytes, size_t size, uint32_t initial);

static const char *const class_names[CLASSES] = {"a", "b c", "d"};

static dn_raw_load load_raw;

static const dn_raw_set raw_set = {.info = {.dataset = "FUZZ",
                                            .channels = CHANNELS,
                                            .height = HEIGHT,
                                            .width = WIDTH,
                                            .classes = CLASSES},
                                   .prefix = "fuzz",
                                   .class_names = class_names,
                                   .count = {TRAIN, TEST},
                                   .form = {{.name = "files", .subfolder = ".", .probe = "exe"}},
                                   .load = load_raw};

static dn_status load_raw(const dn_raw_set *set, const char *source,
                          const dn_records_options *options, dn_split_id split,
                          dn_raw_split *images)
{
    const int count = split == DN_TRAIN ? TRAIN : TEST;
    (void)source, (void)options;
    DN_TRY(dn_raw_split_create(images, set, count));
    for (int i = 0; i < count * IMAGE; i++)
        images->pixels[i] = (uint8_t)(i * i / 7 + (int)split);
    for (int i = 0; i < count; i++)
        images->labels[i] = (uint16_t)(i % CLASSES);
    return DN_OK;
}

/* A part of a shard that its own checksum follows. */
typedef struct checked {
    size_t begin, end;
} checked;

typedef struct data_set {
    dn_manifest *manifest;
    checked part[64];
    int parts;
    size_t encoded, offsets, hashes;      /* where these lists of encoded images begin */
    size_t names, names_size, names_hash; /* ... and the names of their files */
} data_set;

static void make_records(fuzz *f)
{
    const dn_records_options options = {
        .source = "/proc/self", .out = f->folder, .shards = SHARDS, .zstd_level = 3};
    data_set *const d = f->own = calloc(1, sizeof *d);
    int made;
    fuzz_require(d && dn_records_make(&raw_set, &options, &made) == DN_OK && made, "records");
    fuzz_require(dn_manifest_load(&d->manifest, f->folder) == DN_OK, "a manifest");
}

static void clear_records(fuzz *f)
{
    free(((data_set *)f->own)->manifest);
}

static void check_info(const dn_data_info *info)
{
    for (int c = 0; c < info->channels; c++)
        fuzz_require(info->mean[c] >= 0 && info->mean[c] <= 1 && info->std[c] > 0 &&
                         info->std[c] <= 1,
                     "mean and std of pixels");
}

static dn_status load_pixels(const dn_shards *shards, const dn_source *source, uint64_t *digest)
{
    const size_t size = (size_t)source->count * dn_image_values(&source->info);
    uint8_t *const pixels = malloc(size);
    const dn_status status = dn_shards_read(shards, 0, source->count, pixels);
    if (status == DN_OK)
        *digest = fuzz_digest(*digest, pixels, size);
    free(pixels);
    return status;
}

/* What `eval` and `inspect` show beside them. */
static dn_status load_names(const dn_shards *shards, int64_t count, uint64_t *digest)
{
    dn_file_names names = {0};
    dn_status status = DN_OK;
    for (int64_t i = 0; i < count && status == DN_OK; i++) {
        const char *name;
        status = dn_shards_file_name(shards, i, &names, &name);
        if (status == DN_OK && name)
            *digest = fuzz_digest(*digest, name, strlen(name));
    }
    dn_file_names_free(&names);
    return status;
}

/* As the loader transforms them. */
static dn_status load_images(const dn_shards *shards, const dn_source *source, uint64_t *digest)
{
    enum { SIDE = 8 };
    char name[PATH_MAX + 64];
    dn_encoded file = {.name = name};
    dn_transform transform;
    dn_transform_memory memory = {0};
    float image[3 * SIDE * SIDE];
    dn_status status = DN_OK;
    fuzz_require(dn_transform_parse(&transform, dn_pixel_kernels_of(dn_kernels_get(0)),
                                    &source->info, "random-resized-crop:8", 1) == DN_OK,
                 "a transform");
    for (int64_t i = 0; i < source->count && status == DN_OK; i++) {
        const dn_request request = {.index = i, .position = i};
        dn_shards_name_image(shards, i, name, sizeof name);
        status = dn_shards_read_encoded(shards, i, &memory.file, &file.size);
        file.bytes = memory.file.bytes;
        if (status == DN_OK)
            status = dn_transform_encoded(&transform, &request, &file, &memory, image);
        if (status == DN_OK)
            *digest = fuzz_digest(*digest, image, sizeof image);
    }
    dn_transform_memory_free(&memory);
    return status;
}

/* What training reads of a split. */
static dn_status load_split(const char *folder, dn_split_id split, uint64_t *digest)
{
    dn_shards *shards;
    DN_TRY(dn_shards_open(&shards, folder, split));
    const dn_source source = dn_shards_source(shards, NULL);
    check_info(&source.info);
    for (int64_t i = 0; i < source.count; i++)
        fuzz_require(source.labels[i] < source.info.classes, "labels of classes that are there");
    *digest = fuzz_digest(*digest, &source.info, sizeof source.info);
    *digest = fuzz_digest(*digest, source.labels, (size_t)source.count * sizeof(uint16_t));
    dn_status status = dn_is_encoded(&source.info) ? load_images(shards, &source, digest)
                                                   : load_pixels(shards, &source, digest);
    if (status == DN_OK)
        status = load_names(shards, source.count, digest);
    dn_shards_close(&shards);
    return status;
}

/* As `train` does; then, whatever it says, as `create_records verify` does. */
static dn_status load_records(fuzz *f, uint64_t *digest)
{
    dn_status status = DN_OK;
    *digest = 0;
    for (int s = 0; s <= DN_TEST && status == DN_OK; s++)
        status = load_split(f->folder, (dn_split_id)s, digest);
    if (status == DN_OK)
        (void)dn_records_verify(f->folder);
    return status;
}

/* Writes the last line but the brace; docs/shard-format.md. */
static int seal_manifest(fuzz *f, fuzz_file *file, int renew)
{
    char seal[] = "  \"xxh3\": \"0123456789abcdef\"\n}\n";
    const size_t size = strlen(seal);
    (void)f;
    if (file->size < size)
        return 0;
    const size_t content = file->size - size;
    snprintf(seal, sizeof seal, "  \"xxh3\": \"%016llx\"\n}\n",
             (unsigned long long)XXH3_64bits(file->bytes, content));
    if (renew)
        memcpy(file->bytes + content, seal, size);
    return memcmp(file->bytes + content, seal, size) == 0;
}

const fuzz_format fuzz_manifest = {.name = "manifest",
                                   .file = "dataset.json",
                                   .make = make_records,
                                   .clear = clear_records,
                                   .seal = seal_manifest,
                                   .load = load_records};

/* ---- a shard: what covers it stands in dataset.json ---- */

/* HDF5's checksums stand behind what they cover, which begins with a signature. Where a part ends
 * follows from many fields, so it is found by trying. */
static void find_checked_parts(const fuzz_file *file, data_set *d)
{
    static const char *const signatures[] = {"\211HDF", "OHDR", "OCHK", "FRHP", "FHDB", "BTHD",
                                             "BTLF",    "FAHD", "FADB", "EAHD", "EAIB"};
    for (size_t at = 0; at + 8 < file->size; at++)
        for (size_t s = 0; s < sizeof signatures / sizeof *signatures; s++) {
            size_t end = at + 8;
            uint32_t sum;
            if (memcmp(file->bytes + at, signatures[s], 4) != 0)
                continue;
            for (; end + sizeof sum <= file->size; end++) {
                memcpy(&sum, file->bytes + end, sizeof sum);
                if (sum == H5_checksum_lookup3(file->bytes + at, end - at, 0))
                    break;
            }
            if (end + sizeof sum <= file->size && d->parts < 64)
                d->part[d->parts++] = (checked){at, end};
        }
    fuzz_require(d->parts > 0, "checksums in a shard");
}

static void make_shard(fuzz *f)
{
    make_records(f);
    fuzz_read(&f->original, f->path);
    find_checked_parts(&f->original, f->own);
}

static void repair_parts(const data_set *d, fuzz_file *file)
{
    for (const checked *p = d->part; p < d->part + d->parts; p++) {
        const uint32_t sum = H5_checksum_lookup3(file->bytes + p->begin, p->end - p->begin, 0);
        if (p->end + sizeof sum <= file->size)
            memcpy(file->bytes + p->end, &sum, sizeof sum);
    }
}

/* The checksums of images whose offsets can be. */
static void repair_hashes(const data_set *d, fuzz_file *file)
{
    for (int64_t i = 0; d->encoded && i < d->manifest->shard[0].count; i++) {
        const size_t at = d->offsets + (size_t)i * 8, hash_at = d->hashes + (size_t)i * 8;
        uint64_t offset[2];
        if (at + sizeof offset > file->size || hash_at + 8 > file->size || d->encoded > file->size)
            return;
        memcpy(offset, file->bytes + at, sizeof offset);
        if (offset[0] > offset[1] || offset[1] > file->size - d->encoded)
            continue;
        const uint64_t hash =
            XXH3_64bits(file->bytes + d->encoded + offset[0], offset[1] - offset[0]);
        memcpy(file->bytes + hash_at, &hash, sizeof hash);
    }
}

static void repair_names(const data_set *d, fuzz_file *file)
{
    char hash[17];
    if (d->names_size == 0 || d->names + d->names_size > file->size ||
        d->names_hash + sizeof hash > file->size)
        return;
    snprintf(hash, sizeof hash, "%016llx",
             (unsigned long long)XXH3_64bits(file->bytes + d->names, d->names_size));
    memcpy(file->bytes + d->names_hash, hash, sizeof hash);
}

static int seal_shard(fuzz *f, fuzz_file *file, int renew)
{
    const data_set *const d = f->own;
    dn_manifest_file *const entry = &d->manifest->shard[0].hdf5;
    const dn_manifest_file original = *entry;
    if (renew) {
        repair_hashes(d, file);
        repair_names(d, file);
        repair_parts(d, file);
    }
    const dn_manifest_file forged = {.bytes = (int64_t)file->size,
                                     .hash = XXH3_64bits(file->bytes, file->size)};
    if (renew) {
        entry->bytes = forged.bytes;
        entry->hash = forged.hash;
    }
    fuzz_require(dn_manifest_save(d->manifest, f->folder) == DN_OK, "a manifest");
    *entry = original;
    return renew || (forged.bytes == original.bytes && forged.hash == original.hash);
}

const fuzz_format fuzz_shard = {.name = "shard",
                                .file = "fuzz-train-00000-of-00002.h5",
                                .make = make_shard,
                                .clear = clear_records,
                                .seal = seal_shard,
                                .load = load_records};

/* ---- encoded images ---- */

static void write_folder(const char *folder)
{
    char path[128];
    for (int i = 0; i < 12; i++) {
        snprintf(path, sizeof path, "%s/%c", folder, 'a' + i % 2);
        fuzz_require(dn_make_folders(path) == DN_OK, path);
        snprintf(path, sizeof path, "%s/%c/%d", folder, 'a' + i % 2, i);
        if (i % 3 == 0)
            fuzz_write_png(path, i, 9 + i, 11);
        else
            fuzz_write_jpeg(path, i, 17 + i, 15);
    }
}

static size_t place_of(hid_t file, const char *name)
{
    const hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    const haddr_t place = H5Dget_offset(set);
    fuzz_require(place != HADDR_UNDEF, name);
    H5Dclose(set);
    return (size_t)place;
}

/* Where the names of files stand, and in an attribute their checksum. */
static void find_names(const fuzz_file *file, hid_t shard, data_set *d)
{
    char hash[17];
    const hid_t set = H5Dopen2(shard, DN_SHARD_FILE_NAMES, H5P_DEFAULT);
    d->names_size = (size_t)H5Dget_storage_size(set);
    H5Dclose(set);
    d->names = place_of(shard, DN_SHARD_FILE_NAMES);
    fuzz_require(dn_hdf5_get_text(shard, "", DN_SHARD_FILES_HASH, hash, sizeof hash) == DN_OK,
                 DN_SHARD_FILES_HASH);
    const uint8_t *const found = memmem(file->bytes, file->size, hash, sizeof hash);
    fuzz_require(found != NULL, "the checksum of names");
    d->names_hash = (size_t)(found - file->bytes);
}

static void make_encoded(fuzz *f)
{
    char source[80], out[PATH_MAX];
    int made;
    data_set *const d = f->own = calloc(1, sizeof *d);
    snprintf(source, sizeof source, "%s/fuzz", f->folder);
    write_folder(source);
    const dn_records_options options = {.source = source,
                                        .out = f->folder,
                                        .shards = 1,
                                        .zstd_level = 3,
                                        .val_fraction = 0.2,
                                        .seed = 1};
    fuzz_require(d && dn_folder_make(&dn_raw_folder, &options, out, &made) == DN_OK && made,
                 "records");
    fuzz_require(dn_manifest_load(&d->manifest, f->folder) == DN_OK, "a manifest");
    fuzz_read(&f->original, f->path);
    find_checked_parts(&f->original, d);
    const hid_t file = dn_hdf5_open(f->path);
    d->encoded = place_of(file, DN_SHARD_ENCODED);
    d->offsets = place_of(file, DN_SHARD_OFFSETS);
    d->hashes = place_of(file, DN_SHARD_HASHES);
    find_names(&f->original, file, d);
    H5Fclose(file);
}

const fuzz_format fuzz_encoded = {.name = "encoded",
                                  .file = "fuzz-train-00000-of-00001.h5",
                                  .make = make_encoded,
                                  .clear = clear_records,
                                  .seal = seal_shard,
                                  .load = load_records};
