/*
 * TFRecord framing, CRC32C and tf.train.Example against published vectors and protoc's bytes, and
 * against files that were cut short or changed in any one bit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "example.pb-c.h"
#include "sets/records.h"
#include "tfrecord/tfrecord.h"
#include "unit.h"

/* {"image/class/label": 3, "image/format": "raw"} as one record; protoc 3.21 decodes it so. */
static const uint8_t golden[71] = {
    0x37, 0,    0,    0,    0,    0,    0,    0,    0xe7, 0xe8, 0xca, 0x59, 0x0a, 0x35, 0x0a,
    0x1a, 0x0a, 0x11, 0x69, 0x6d, 0x61, 0x67, 0x65, 0x2f, 0x63, 0x6c, 0x61, 0x73, 0x73, 0x2f,
    0x6c, 0x61, 0x62, 0x65, 0x6c, 0x12, 0x05, 0x1a, 0x03, 0x0a, 0x01, 0x03, 0x0a, 0x17, 0x0a,
    0x0c, 0x69, 0x6d, 0x61, 0x67, 0x65, 0x2f, 0x66, 0x6f, 0x72, 0x6d, 0x61, 0x74, 0x12, 0x07,
    0x0a, 0x05, 0x0a, 0x03, 0x72, 0x61, 0x77, 0x7a, 0x13, 0xf7, 0x9b};
enum { HEAD = DN_TFRECORD_HEAD, TAIL = DN_TFRECORD_TAIL };

static const uint8_t golden_empty[16] = {0,    0, 0,    0, 0,    0,    0,    0,
                                         0x29, 3, 0x98, 7, 0xd8, 0xea, 0x82, 0xa2};

/* A file of bytes(size), of which the records begin at `base`. */
static dn_tfrecord open_file(const uint8_t *bytes, size_t size, size_t base)
{
    const dn_tfrecord file = {.path = "a file",
                              .file = memfd_create("records", 0),
                              .base = (int64_t)base,
                              .size = (int64_t)(size - base)};
    assert_int_equal(write(file.file, bytes, size), size);
    return file;
}

static void close_file(dn_tfrecord *file)
{
    close(file->file);
    dn_buffer_free(&file->buffer);
}

/* Reads all of bytes(size); *records = those before the end or the failure. */
static dn_status read_all(const uint8_t *bytes, size_t size, int *records)
{
    dn_tfrecord file = open_file(bytes, size, 0);
    const uint8_t *data;
    size_t length;
    dn_status status;
    *records = 0;
    while ((status = dn_tfrecord_next(&file, &data, &length)) == DN_OK && data)
        ++*records;
    close_file(&file);
    return status;
}

static void test_crc_vectors(void **state)
{
    uint8_t bytes[32] = {0};
    assert_int_equal(dn_crc32c("", 0), 0);
    assert_int_equal(dn_crc32c("123456789", 9), 0xE3069283);
    /* RFC 3720, appendix B.4 */
    assert_int_equal(dn_crc32c(bytes, 32), 0x8A9136AA);
    memset(bytes, 0xff, 32);
    assert_int_equal(dn_crc32c(bytes, 32), 0x62A8AB43);
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(dn_crc32c(bytes, 32), 0x46DD794E);
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(31 - i);
    assert_int_equal(dn_crc32c(bytes, 32), 0x113FDB5C);
}

static uint32_t crc_by_bits(const uint8_t *bytes, size_t size)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < 8 * size; i++)
        crc = crc >> 1 ^ (0x82f63b78 & -((crc ^ bytes[i / 8] >> i % 8) & 1));
    return ~crc;
}

/* Whole words, and what is before and after them. */
static void test_crc_of_any_size(void **state)
{
    for (size_t begin = 0; begin < 9; begin++)
        for (size_t size = 0; size < 40; size++)
            assert_int_equal(dn_crc32c(golden + begin, size), crc_by_bits(golden + begin, size));
}

/* The messages of example.proto, by protobuf-c, are TensorFlow's on the wire. */
static void test_golden_example(void **state)
{
    const size_t size = sizeof golden - HEAD - TAIL;
    uint8_t packed[sizeof golden];
    Tensorflow__Example *const e = tensorflow__example__unpack(NULL, size, golden + HEAD);
    assert_non_null(e);
    assert_int_equal(e->features->n_feature, 2);
    const Tensorflow__Features__FeatureEntry *const class = e->features->feature[0];
    const Tensorflow__Features__FeatureEntry *const format = e->features->feature[1];
    assert_string_equal(class->key, "image/class/label");
    assert_int_equal(class->value->kind_case, TENSORFLOW__FEATURE__KIND_INT64_LIST);
    assert_int_equal(class->value->int64_list->value[0], 3);
    assert_string_equal(format->key, "image/format");
    assert_int_equal(format->value->kind_case, TENSORFLOW__FEATURE__KIND_BYTES_LIST);
    assert_memory_equal(format->value->bytes_list->value[0].data, "raw", 3);
    assert_int_equal(tensorflow__example__get_packed_size(e), size);
    tensorflow__example__pack(e, packed);
    assert_memory_equal(packed, golden + HEAD, size);
    tensorflow__example__free_unpacked(e, NULL);
}

static void test_golden_write(void **state)
{
    char *bytes;
    size_t size;
    FILE *const stream = open_memstream(&bytes, &size);
    assert_int_equal(dn_tfrecord_append(stream, golden + HEAD, sizeof golden - HEAD - TAIL), DN_OK);
    assert_int_equal(dn_tfrecord_append(stream, "", 0), DN_OK);
    fclose(stream);
    assert_int_equal(size, sizeof golden + sizeof golden_empty);
    assert_memory_equal(bytes, golden, sizeof golden);
    assert_memory_equal(bytes + sizeof golden, golden_empty, sizeof golden_empty);
    free(bytes);
}

/* From a place in the middle of a file, too. */
static void test_golden_read(void **state)
{
    for (size_t base = 0; base <= sizeof golden; base += sizeof golden) {
        uint8_t twice[2 * sizeof golden];
        memcpy(twice, golden, sizeof golden);
        memcpy(twice + sizeof golden, golden, sizeof golden);
        dn_tfrecord file = open_file(twice, base + sizeof golden, base);
        const uint8_t *data;
        size_t size;
        int64_t length;
        assert_int_equal(dn_tfrecord_peek(&file, &length), DN_OK);
        assert_int_equal(length, sizeof golden - HEAD - TAIL);
        assert_int_equal(dn_tfrecord_next(&file, &data, &size), DN_OK);
        assert_int_equal(size, sizeof golden - HEAD - TAIL);
        assert_memory_equal(data, golden + HEAD, size);
        assert_int_equal(dn_tfrecord_peek(&file, &length), DN_OK);
        assert_int_equal(length, -1);
        assert_false(dn_tfrecord_is_none(&file));
        assert_int_equal(dn_tfrecord_next(&file, &data, &size), DN_OK);
        assert_null(data);
        close_file(&file);
    }
}

static void test_cut_short(void **state)
{
    int records;
    for (size_t size = 0; size < sizeof golden; size++) {
        uint8_t *const copy = malloc(size + !size);
        memcpy(copy, golden, size);
        assert_int_equal(read_all(copy, size, &records), size == 0 ? DN_OK : DN_ECORRUPT);
        assert_int_equal(records, 0);
        free(copy);
    }
}

static void test_one_bit_changed(void **state)
{
    uint8_t bytes[sizeof golden];
    int records;
    for (size_t bit = 0; bit < 8 * sizeof golden; bit++) {
        memcpy(bytes, golden, sizeof golden);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(read_all(bytes, sizeof bytes, &records), DN_ECORRUPT);
        dn_tfrecord file = open_file(bytes, sizeof bytes, 0);
        assert_int_equal(dn_tfrecord_is_none(&file), bit < 8 * HEAD);
        close_file(&file);
    }
    assert_non_null(strstr(dn_message(), "a file"));
}

/* A full disk, once what stdio holds back is written. */
static void test_refused_write(void **state)
{
    FILE *const stream = fopen("/dev/full", "w");
    assert_non_null(stream);
    setvbuf(stream, NULL, _IONBF, 0);
    assert_int_equal(dn_tfrecord_append(stream, "data", 4), DN_EIO);
    fclose(stream);
}

enum { CLASSES = 300, CHANNELS = 3, IMAGE = CHANNELS * 2 * 4 };
static const char *names[CLASSES];
static const dn_manifest manifest = {
    .info = {.channels = CHANNELS, .height = 2, .width = 4, .classes = CLASSES},
    .class_names = names};
static const uint8_t image[IMAGE] = {1, 2, 3, 4, 5, 6, 7, 8, 255, 0, 255};

/* *record(size) = the image with this label, then the message `wire`, which protobuf merges with
 * what stands before it. The caller frees it. */
static void encode_with(int label, const uint8_t *wire, size_t wire_size, uint8_t **record,
                        size_t *size)
{
    assert_int_equal(dn_example_encode(&manifest, image, label, record, size), DN_OK);
    *record = realloc(*record, *size + wire_size);
    memcpy(*record + *size, wire, wire_size);
    *size += wire_size;
}

/* The label that is read; the image is `image` whatever stands beside it. */
static int decode_with(int label, const uint8_t *wire, size_t wire_size)
{
    uint8_t *record, found[IMAGE];
    size_t size;
    uint16_t found_label;
    encode_with(label, wire, wire_size, &record, &size);
    assert_int_equal(dn_example_decode(&manifest.info, record, size, found, &found_label), DN_OK);
    assert_memory_equal(found, image, IMAGE);
    free(record);
    return found_label;
}

static void test_labels(void **state)
{
    static const int labels[] = {0, 1, 127, 128, 299};
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
        assert_int_equal(decode_with(labels[i], image, 0), labels[i]);
}

/* The heads of an Example and of its one entry, for an Example of `size` bytes more; a key. */
#define ENTRY(size) 0x0a, size, 0x0a, size - 2
#define LABEL                                                                                      \
    0x0a, 17, 'i', 'm', 'a', 'g', 'e', '/', 'c', 'l', 'a', 's', 's', '/', 'l', 'a', 'b', 'e', 'l'

/* What other writers may do; the last entry of a key counts. */
static void test_tolerance(void **state)
{
    static const uint8_t unpacked[] = {ENTRY(27), LABEL, 0x12, 4, 0x1a, 2, 8, 7};
    /* value before key, packed */
    static const uint8_t swapped[] = {ENTRY(28), 0x12, 5, 0x1a, 3, 0x0a, 1, 7, LABEL};
    /* unknown fields of each wire type beside the value */
    static const uint8_t unknown[] = {ENTRY(52), LABEL, 0x28, 0x80, 1, 0x31, 1,   2,    3, 4,    5,
                                      6,         7,     8,    0x3a, 2, 'x',  'y', 0x45, 1, 2,    3,
                                      4,         0x12,  4,    0x1a, 2, 8,    7,   0x50, 1, 0x50, 1};
    assert_int_equal(decode_with(3, unpacked, sizeof unpacked), 7);
    assert_int_equal(decode_with(3, swapped, sizeof swapped), 7);
    assert_int_equal(decode_with(3, unknown, sizeof unknown), 7);
}

/* The entry that counts has no label of ours. */
static void test_no_label(void **state)
{
    static const uint8_t empty[] = {ENTRY(25), LABEL, 0x12, 2, 0x1a, 0};
    static const uint8_t several[] = {ENTRY(29), LABEL, 0x12, 6, 0x1a, 4, 0x0a, 2, 7, 8};
    static const uint8_t valueless[] = {ENTRY(21), LABEL};
    static const uint8_t floats[] = {ENTRY(31), LABEL, 0x12, 8, 0x12, 6, 0x0a, 4, 0, 0, 0, 0};
    static const uint8_t bytes[] = {ENTRY(28), LABEL, 0x12, 5, 0x0a, 3, 0x0a, 1, 7};
    static const uint8_t negative[] = {ENTRY(36), LABEL, 0x12, 13,   0x1a, 11,   8,    0xff, 0xff,
                                       0xff,      0xff,  0xff, 0xff, 0xff, 0xff, 0xff, 1};
    static const uint8_t above[] = {ENTRY(28), LABEL, 0x12, 5, 0x1a, 3, 8, 0xac, 2};
    const struct {
        const uint8_t *wire;
        size_t size;
        const char *message;
    } cases[] = {
        {empty, sizeof empty, "image/class/label: found 0 values, expected one of int64"},
        {several, sizeof several, "image/class/label: found 2 values, expected one of int64"},
        {valueless, sizeof valueless,
         "found neither image/class/label nor label, expected one of the two"},
        {floats, sizeof floats, "image/class/label: found float, expected one value of int64"},
        {bytes, sizeof bytes, "image/class/label: found bytes, expected one value of int64"},
        {negative, sizeof negative, "found label -1, expected 0 to 65535"},
        {above, sizeof above, "found label 300, expected 0 to 299"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *record, found[IMAGE];
        size_t size;
        uint16_t label;
        encode_with(3, cases[i].wire, cases[i].size, &record, &size);
        assert_int_equal(dn_example_decode(&manifest.info, record, size, found, &label),
                         DN_ECORRUPT);
        assert_string_equal(dn_message(), cases[i].message);
        free(record);
    }
    uint8_t found[IMAGE];
    uint16_t label;
    assert_int_equal(dn_example_decode(&manifest.info, NULL, 0, found, &label), DN_ECORRUPT);
}

/* Appends an Example of one feature, of less than 100 bytes: bytes(size), or *bytes as an integer
 * where the size is 0. */
static size_t put(uint8_t *wire, size_t at, const char *key, const void *bytes, size_t size)
{
    const size_t key_size = strlen(key), list = 2 + size, value = 2 + list;
    const uint8_t head[] = {0x0a, (uint8_t)(6 + key_size + value),
                            0x0a, (uint8_t)(4 + key_size + value),
                            0x0a, (uint8_t)key_size};
    const uint8_t tail[] = {
        0x12,          (uint8_t)value,         size > 0 ? 0x0a : 0x1a,
        (uint8_t)list, size > 0 ? 0x0a : 0x08, size > 0 ? (uint8_t)size : *(const uint8_t *)bytes};
    memcpy(wire + at, head, sizeof head);
    memcpy(wire + at + sizeof head, key, key_size);
    memcpy(wire + at + sizeof head + key_size, tail, sizeof tail);
    memcpy(wire + at + sizeof head + key_size + sizeof tail, bytes, size);
    return at + sizeof head + key_size + sizeof tail + size;
}

/* What says that an image is pixels, and how they lie. */
static void test_raw(void **state)
{
    static const uint8_t pixels[12] = {0xff, 0xd8, 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9}; /* as a JPEG */
    static const uint8_t one[] = {1}, two[] = {2}, three[] = {3};
    static const struct {
        const char *image, *format;
        const uint8_t *height, *width, *depth;
        dn_status status;
        int is_raw;
    } cases[] = {{"image_raw", NULL, two, two, three, DN_OK, 1},
                 {"image_raw", NULL, two, two, NULL, DN_OK, 1},
                 {"image", "RAW", two, two, three, DN_OK, 1},
                 {"image/encoded", "jpeg", two, two, three, DN_OK, 0},
                 {"image_raw", NULL, NULL, NULL, NULL, DN_OK, 0},
                 {"image_raw", NULL, two, three, two, DN_OK, 0},
                 {"image/encoded", "raw", two, two, one, DN_ECORRUPT, 1},
                 {"image/encoded", "raw", two, three, NULL, DN_ECORRUPT, 1},
                 {"image/encoded", "raw", NULL, two, NULL, DN_ECORRUPT, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t wire[512];
        dn_example e;
        size_t size = put(wire, 0, "label", two, 0);
        size = put(wire, size, cases[i].image, pixels, sizeof pixels);
        if (cases[i].format)
            size = put(wire, size, "image/format", cases[i].format, strlen(cases[i].format));
        if (cases[i].height)
            size = put(wire, size, "height", cases[i].height, 0);
        if (cases[i].width)
            size = put(wire, size, "width", cases[i].width, 0);
        if (cases[i].depth)
            size = put(wire, size, "depth", cases[i].depth, 0);
        assert_int_equal(dn_example_unpack(&e, wire, size), cases[i].status);
        assert_int_equal(e.is_raw, cases[i].is_raw);
        assert_int_equal(e.label, 2);
        assert_int_equal(e.size, sizeof pixels);
        assert_memory_equal(e.image, pixels, sizeof pixels);
        if (e.is_raw && cases[i].status == DN_OK)
            assert_int_equal(e.channels, 3);
        dn_example_free(&e);
    }
}

/* Two bytes of an empty entry take a message's memory: no more than a few times the record's. */
static void test_amplified(void **state)
{
    enum { ENTRIES = 1 << 20 };
    uint8_t *const wire = malloc(2 * ENTRIES + 5), *next = wire + 5;
    dn_example e;
    memcpy(wire, "\x0a\x80\x80\x80\x01", 5);
    for (int i = 0; i < ENTRIES; i++, next += 2)
        memcpy(next, "\x0a\x00", 2);
    assert_int_equal(dn_example_unpack(&e, wire, 2 * ENTRIES + 5), DN_ECORRUPT);
    assert_non_null(strstr(dn_message(), "no tf.train.Example"));
    dn_example_free(&e);
    free(wire);
}

/* No byte sequence may lead outside the record; the sanitizers watch. */
static void test_malformed(void **state)
{
    uint8_t *record, found[IMAGE];
    size_t size;
    uint16_t label;
    encode_with(3, image, 0, &record, &size);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *const copy = malloc(cut + !cut);
        memcpy(copy, record, cut);
        assert_int_equal(dn_example_decode(&manifest.info, copy, cut, found, &label), DN_ECORRUPT);
        free(copy);
    }
    for (size_t i = 0; i < size; i++)
        for (int value = 0; value < 256; value++) {
            uint8_t *const copy = malloc(size);
            memcpy(copy, record, size);
            copy[i] = (uint8_t)value;
            (void)dn_example_decode(&manifest.info, copy, size, found, &label);
            free(copy);
        }
    free(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_crc_vectors),
                                       cmocka_unit_test(test_crc_of_any_size),
                                       cmocka_unit_test(test_golden_example),
                                       cmocka_unit_test(test_golden_write),
                                       cmocka_unit_test(test_golden_read),
                                       cmocka_unit_test(test_cut_short),
                                       cmocka_unit_test(test_one_bit_changed),
                                       cmocka_unit_test(test_refused_write),
                                       cmocka_unit_test(test_labels),
                                       cmocka_unit_test(test_tolerance),
                                       cmocka_unit_test(test_no_label),
                                       cmocka_unit_test(test_malformed),
                                       cmocka_unit_test(test_raw),
                                       cmocka_unit_test(test_amplified)};
    for (int i = 0; i < CLASSES; i++)
        names[i] = "a class";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
