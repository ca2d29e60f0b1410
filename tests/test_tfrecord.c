/*
 * TFRecord framing, CRC32C and tf.train.Example against published vectors and protoc's bytes, and
 * against files that were cut short or changed in any one bit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "example.h"
#include "tfrecord.h"

/* {"image/class/label": 3, "image/format": "raw"} as one record; protoc 3.21 decodes it so. */
static const uint8_t golden[71] = {
    0x37, 0,    0,    0,    0,    0,    0,    0,    0xe7, 0xe8, 0xca, 0x59, 0x0a, 0x35, 0x0a,
    0x1a, 0x0a, 0x11, 0x69, 0x6d, 0x61, 0x67, 0x65, 0x2f, 0x63, 0x6c, 0x61, 0x73, 0x73, 0x2f,
    0x6c, 0x61, 0x62, 0x65, 0x6c, 0x12, 0x05, 0x1a, 0x03, 0x0a, 0x01, 0x03, 0x0a, 0x17, 0x0a,
    0x0c, 0x69, 0x6d, 0x61, 0x67, 0x65, 0x2f, 0x66, 0x6f, 0x72, 0x6d, 0x61, 0x74, 0x12, 0x07,
    0x0a, 0x05, 0x0a, 0x03, 0x72, 0x61, 0x77, 0x7a, 0x13, 0xf7, 0x9b};
enum { HEAD = 12, TAIL = 4 };

static const uint8_t golden_empty[16] = {0,    0, 0,    0, 0,    0,    0,    0,
                                         0x29, 3, 0x98, 7, 0xd8, 0xea, 0x82, 0xa2};

static char path[] = "/tmp/dn_tfrecord_XXXXXX";

static void write_file(const uint8_t *bytes, size_t size)
{
    FILE *const file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Reads the whole file; *records = those before the end or the failure. */
static dn_status read_all(int *records)
{
    dn_tfrecord *reader;
    const uint8_t *data;
    size_t size;
    *records = 0;
    dn_status status = dn_tfrecord_open(&reader, path);
    while (status == DN_OK && (status = dn_tfrecord_next(reader, &data, &size)) == DN_OK && data)
        ++*records;
    dn_tfrecord_close(&reader);
    return status;
}

static void test_crc_vectors(void **state)
{
    (void)state;
    dn_crc32c crc;
    uint8_t bytes[32] = {0};
    dn_crc32c_init(&crc);
    assert_int_equal(dn_crc32c_of(&crc, "", 0), 0);
    assert_int_equal(dn_crc32c_of(&crc, "123456789", 9), 0xE3069283);
    /* RFC 3720, appendix B.4 */
    assert_int_equal(dn_crc32c_of(&crc, bytes, 32), 0x8A9136AA);
    memset(bytes, 0xff, 32);
    assert_int_equal(dn_crc32c_of(&crc, bytes, 32), 0x62A8AB43);
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(dn_crc32c_of(&crc, bytes, 32), 0x46DD794E);
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(31 - i);
    assert_int_equal(dn_crc32c_of(&crc, bytes, 32), 0x113FDB5C);
}

/* Eight bytes at a time and one at a time are the same function, at any alignment. */
static void test_crc_pieces(void **state)
{
    (void)state;
    dn_crc32c crc;
    uint8_t bytes[64];
    dn_crc32c_init(&crc);
    for (int i = 0; i < 64; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    for (int first = 0; first < 9; first++)
        for (int size = 0; first + size <= 64; size++) {
            uint32_t value = 0xFFFFFFFFu;
            for (int i = 0; i < size; i++) {
                value ^= bytes[first + i];
                for (int bit = 0; bit < 8; bit++)
                    value = (value >> 1) ^ (value & 1 ? 0x82F63B78u : 0);
            }
            assert_int_equal(dn_crc32c_of(&crc, bytes + first, (size_t)size), ~value);
        }
}

static void test_golden_write(void **state)
{
    (void)state;
    const dn_feature features[] = {
        {.key = "image/class/label", .kind = DN_FEATURE_INT64, .integer = 3},
        {.key = "image/format",
         .kind = DN_FEATURE_BYTES,
         .bytes = (const uint8_t *)"raw",
         .size = 3}};
    uint8_t example[64], file[sizeof golden + sizeof golden_empty + 1];
    const size_t size = dn_example_encode(example, sizeof example, features, 2);
    assert_int_equal(size, sizeof golden - HEAD - TAIL);
    assert_int_equal(dn_example_encode(NULL, 0, features, 2), size);
    dn_tfrecord *writer;
    assert_int_equal(dn_tfrecord_create(&writer, path), DN_OK);
    assert_int_equal(dn_tfrecord_append(writer, example, size), DN_OK);
    assert_int_equal(dn_tfrecord_append(writer, example, 0), DN_OK);
    assert_int_equal(dn_tfrecord_save(writer), DN_OK);
    dn_tfrecord_close(&writer);
    assert_null(writer);
    FILE *const stream = fopen(path, "rb");
    assert_int_equal(fread(file, 1, sizeof file, stream), sizeof file - 1);
    fclose(stream);
    assert_memory_equal(file, golden, sizeof golden);
    assert_memory_equal(file + sizeof golden, golden_empty, sizeof golden_empty);
}

static void test_golden_read(void **state)
{
    (void)state;
    dn_tfrecord *reader;
    const uint8_t *data;
    size_t size;
    dn_feature features[] = {
        {.key = "image/format"}, {.key = "image"}, {.key = "image/class/label"}};
    write_file(golden, sizeof golden);
    assert_int_equal(dn_tfrecord_open(&reader, path), DN_OK);
    assert_int_equal(dn_tfrecord_next(reader, &data, &size), DN_OK);
    assert_int_equal(size, sizeof golden - HEAD - TAIL);
    assert_int_equal(dn_example_decode(data, size, features, 3), DN_OK);
    assert_int_equal(features[0].kind, DN_FEATURE_BYTES);
    assert_int_equal(features[0].size, 3);
    assert_memory_equal(features[0].bytes, "raw", 3);
    assert_int_equal(features[1].kind, DN_FEATURE_NONE);
    assert_int_equal(features[2].kind, DN_FEATURE_INT64);
    assert_int_equal(features[2].integer, 3);
    assert_int_equal(dn_tfrecord_next(reader, &data, &size), DN_OK);
    assert_null(data);
    dn_tfrecord_close(&reader);
}

static void test_cut_short(void **state)
{
    (void)state;
    int records;
    for (size_t size = 0; size < sizeof golden; size++) {
        write_file(golden, size);
        assert_int_equal(read_all(&records), size == 0 ? DN_OK : DN_ECORRUPT);
        assert_int_equal(records, 0);
    }
}

static void test_one_bit_changed(void **state)
{
    (void)state;
    uint8_t bytes[sizeof golden];
    int records;
    for (size_t bit = 0; bit < 8 * sizeof golden; bit++) {
        memcpy(bytes, golden, sizeof golden);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        write_file(bytes, sizeof bytes);
        assert_int_equal(read_all(&records), DN_ECORRUPT);
    }
    assert_non_null(strstr(dn_message(), path));
}

static void test_missing_file(void **state)
{
    (void)state;
    dn_tfrecord *reader;
    dn_tfrecord *writer;
    assert_int_equal(dn_tfrecord_open(&reader, "/nonexistent/a"), DN_ENOENT);
    assert_null(reader);
    assert_int_equal(dn_tfrecord_create(&writer, "/nonexistent/a"), DN_OK);
    assert_int_equal(dn_tfrecord_save(writer), DN_EIO);
    dn_tfrecord_close(&writer);
    assert_null(writer);
}

static void test_integers(void **state)
{
    (void)state;
    static const int64_t values[] = {0, 1, 127, 128, 300, INT64_MAX, -1, INT64_MIN};
    uint8_t bytes[64];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        dn_feature f = {.key = "k", .kind = DN_FEATURE_INT64, .integer = values[i]};
        const size_t size = dn_example_encode(bytes, sizeof bytes, &f, 1);
        f.integer = 42;
        assert_int_equal(dn_example_decode(bytes, size, &f, 1), DN_OK);
        assert_int_equal(f.kind, DN_FEATURE_INT64);
        assert_true(f.integer == values[i]);
    }
}

/* What other writers may do: `wire` is the Features message's content. */
static dn_feature decode_entry(const uint8_t *wire, size_t size)
{
    uint8_t bytes[128] = {0x0a, (uint8_t)size};
    dn_feature f = {.key = "k"};
    memcpy(bytes + 2, wire, size);
    assert_int_equal(dn_example_decode(bytes, size + 2, &f, 1), DN_OK);
    return f;
}

static void test_tolerance(void **state)
{
    (void)state;
    /* an unpacked integer */
    static const uint8_t unpacked[] = {0x0a, 9, 0x0a, 1, 'k', 0x12, 4, 0x1a, 2, 8, 7};
    /* value before key, packed 7 and 8: the first counts */
    static const uint8_t swapped[] = {0x0a, 11, 0x12, 6, 0x1a, 4, 0x0a, 2, 7, 8, 0x0a, 1, 'k'};
    /* the key twice: the last counts, an empty list */
    static const uint8_t twice[] = {0x0a, 9,    0x0a, 1,    'k', 0x12, 4,    0x1a, 2,    8,
                                    7,    0x0a, 7,    0x0a, 1,   'k',  0x12, 2,    0x1a, 0};
    /* unknown fields of each wire type beside the value */
    static const uint8_t unknown[] = {0x0a, 34, 0x0a, 1, 'k',  0x28, 0x80, 1,   0x31, 1, 2, 3, 4,
                                      5,    6,  7,    8, 0x3a, 2,    'x',  'y', 0x45, 1, 2, 3, 4,
                                      0x12, 4,  0x1a, 2, 8,    7,    0x50, 1,   0x50, 1};
    /* a list of floats is nothing to us */
    static const uint8_t floats[] = {0x0a, 13, 0x0a, 1, 'k', 0x12, 8, 0x12, 6, 0x0a, 4, 0, 0, 0, 0};
    dn_feature f = decode_entry(unpacked, sizeof unpacked);
    assert_true(f.kind == DN_FEATURE_INT64 && f.integer == 7);
    f = decode_entry(swapped, sizeof swapped);
    assert_true(f.kind == DN_FEATURE_INT64 && f.integer == 7);
    f = decode_entry(twice, sizeof twice);
    assert_true(f.kind == DN_FEATURE_NONE);
    f = decode_entry(unknown, sizeof unknown);
    assert_true(f.kind == DN_FEATURE_INT64 && f.integer == 7);
    f = decode_entry(floats, sizeof floats);
    assert_true(f.kind == DN_FEATURE_NONE);
}

/* No byte sequence may lead outside the record; the sanitizers watch. */
static void test_malformed(void **state)
{
    (void)state;
    const size_t size = sizeof golden - HEAD - TAIL;
    int refused = 0;
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *const copy = malloc(cut + !cut);
        dn_feature f = {.key = "image/format"};
        memcpy(copy, golden + HEAD, cut);
        refused += dn_example_decode(copy, cut, &f, 1) == DN_ECORRUPT;
        free(copy);
    }
    assert_int_equal(refused, size - 1);
    for (size_t i = 0; i < size; i++)
        for (int value = 0; value < 256; value++) {
            uint8_t *const copy = malloc(size);
            dn_feature f = {.key = "image/format"};
            memcpy(copy, golden + HEAD, size);
            copy[i] = (uint8_t)value;
            (void)dn_example_decode(copy, size, &f, 1);
            free(copy);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc_vectors),  cmocka_unit_test(test_crc_pieces),
        cmocka_unit_test(test_golden_write), cmocka_unit_test(test_golden_read),
        cmocka_unit_test(test_cut_short),    cmocka_unit_test(test_one_bit_changed),
        cmocka_unit_test(test_missing_file), cmocka_unit_test(test_integers),
        cmocka_unit_test(test_tolerance),    cmocka_unit_test(test_malformed)};
    const int file = mkstemp(path);
    if (file < 0) {
        perror(path);
        return 1;
    }
    close(file);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
