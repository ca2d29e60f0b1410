/* Files for from-tfrecord: records with their checksums, and the examples in them; see fuzz.h. */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tfrecord/tfrecord.h"

enum { RECORDS = 6, SIDE = 3 };

/* *record(size) = an example of class i % 2. */
static dn_status pack_record(int i, uint8_t **record, size_t *size)
{
    static const char *const names[] = {"ant", "bee"};
    uint8_t pixels[SIDE * SIDE * 3], *png;
    dn_example e = {.height = SIDE, .width = SIDE, .label = i % 2, .text = names[i % 2]};
    e.text_size = strlen(e.text);
    for (size_t p = 0; p < sizeof pixels; p++)
        pixels[p] = (uint8_t)(p * p * (size_t)(i + 3));
    DN_TRY(dn_png_encode(pixels, SIDE, SIDE, 3, &png, &e.size));
    e.image = png;
    const dn_status status = dn_example_pack(&e, record, size);
    free(png);
    return status;
}

static void make_file(fuzz *f)
{
    FILE *const stream = fopen(f->path, "wb");
    dn_status status = stream ? DN_OK : DN_EIO;
    for (int i = 0; i < RECORDS && status == DN_OK; i++) {
        uint8_t *record = NULL;
        size_t size;
        status = pack_record(i, &record, &size);
        if (status == DN_OK)
            status = dn_tfrecord_append(stream, record, size);
        free(record);
    }
    fuzz_require(stream && status == DN_OK && fclose(stream) == 0, "a file of records");
}

static uint32_t masked(const uint8_t *bytes, size_t size)
{
    const uint32_t crc = dn_crc32c(bytes, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8;
}

/* Puts the checksum of bytes(size) behind them, or says whether it is there. */
static int seal_part(uint8_t *bytes, size_t size, int renew)
{
    const uint32_t crc = htole32(masked(bytes, size));
    if (renew)
        memcpy(bytes + size, &crc, sizeof crc);
    return memcmp(bytes + size, &crc, sizeof crc) == 0;
}

/* Goes from record to record by their lengths, as far as these are possible. */
static int seal_file(fuzz *f, fuzz_file *file, int renew)
{
    const size_t around = DN_TFRECORD_HEAD + DN_TFRECORD_TAIL;
    int sealed = 1;
    (void)f;
    for (size_t at = 0; at < file->size;) {
        uint8_t *const record = file->bytes + at;
        const size_t left = file->size - at;
        uint64_t length;
        if (left < around)
            return 0;
        memcpy(&length, record, sizeof length);
        length = le64toh(length);
        sealed &= seal_part(record, sizeof length, renew);
        if (length > left - around)
            return 0;
        sealed &= seal_part(record + DN_TFRECORD_HEAD, length, renew);
        at += around + length;
    }
    /* a file that ends between two records is a sound one of fewer */
    return sealed;
}

/* What came out of a conversion; `source` has every image and label. */
static dn_status digest_records(const char *folder, uint64_t *digest)
{
    dn_manifest *m;
    DN_TRY(dn_manifest_load(&m, folder));
    *digest = fuzz_digest(0, &m->source, sizeof m->source);
    for (int c = 0; c < m->info.classes; c++)
        *digest = fuzz_digest(*digest, m->class_names[c], strlen(m->class_names[c]));
    free(m);
    return DN_OK;
}

static dn_status load_file(fuzz *f, uint64_t *digest)
{
    char folder[PATH_MAX], out[PATH_MAX], *path = f->path;
    int made;
    snprintf(folder, sizeof folder, "%s/out", f->folder);
    const dn_records_options options = {
        .out = folder, .shards = 1, .zstd_level = 1, .seed = 1, .label_base = -1, .tfrecords = -1};
    const dn_status status = dn_from_tfrecord(1, &path, &options, out, &made);
    if (status != DN_OK)
        return status;
    fuzz_require(made && digest_records(folder, digest) == DN_OK, "sound records");
    fuzz_remove(folder);
    return DN_OK;
}

const fuzz_format fuzz_tfrecord = {.name = "tfrecord",
                                   .file = "all.tfrecord",
                                   .make = make_file,
                                   .seal = seal_file,
                                   .load = load_file};

/* ---- an example alone, without what surrounds it in a file ---- */

static void make_example(fuzz *f)
{
    uint8_t *record = NULL;
    size_t size;
    fuzz_require(pack_record(1, &record, &size) == DN_OK &&
                     dn_file_write(f->path, record, size) == DN_OK,
                 "an example");
    free(record);
}

static dn_status load_example(fuzz *f, uint64_t *digest)
{
    uint8_t *record;
    size_t size;
    dn_example e;
    DN_TRY(dn_file_load(f->path, &record, &size));
    const dn_status status = dn_example_unpack(&e, record, size);
    if (status == DN_OK) {
        fuzz_require(e.label >= 0 && e.label <= UINT16_MAX && e.size > 0, "a label and an image");
        fuzz_require(!e.is_raw || (size_t)(e.height * e.width * e.channels) == e.size,
                     "pixels that account for every byte");
        *digest = fuzz_digest((uint64_t)e.label, e.image, e.size);
        *digest = fuzz_digest(*digest, e.text, e.text_size);
    }
    dn_example_free(&e);
    free(record);
    return status;
}

const fuzz_format fuzz_example = {
    .name = "example", .file = "example", .make = make_example, .load = load_example};
