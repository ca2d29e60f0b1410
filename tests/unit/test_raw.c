/* Files of raw data sets: their names, and bytes that are not what their authors published. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <zlib.h>

#include "dn/file.h"
#include "sets/sets.h"
#include "trial_files.h"

enum { COUNT = 50, SIDE = 4, BODY = COUNT * SIDE * SIDE, WORDS = 4, HEAD = WORDS * 4 };

static const uint32_t header[WORDS] = {0x803, COUNT, SIDE, SIDE};

/* file(HEAD + BODY): an IDX file. */
static void make_idx(uint8_t *file)
{
    for (int i = 0; i < WORDS; i++)
        memcpy(file + 4 * i, &(uint32_t){htonl(header[i])}, 4);
    for (int i = 0; i < BODY; i++)
        file[HEAD + i] = (uint8_t)((uint32_t)i * 2654435761u >> 29);
}

/* file(returned) = the bytes, gzipped. */
static size_t pack(const void *bytes, size_t size, uint8_t *file, size_t room)
{
    z_stream z = {.next_in = (uint8_t *)bytes,
                  .avail_in = (unsigned)size,
                  .next_out = file,
                  .avail_out = (unsigned)room};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

static const char *write_bytes(const void *bytes, size_t size)
{
    const char *const path = "file";
    FILE *const file = fopen(path, "wb");
    assert_true(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
    return path;
}

/* What reading a file of these bytes gives; a failure has one line with the file's name. */
static dn_status read_bytes(const void *bytes, size_t size, uint8_t body[BODY])
{
    const char *const path = write_bytes(bytes, size);
    const dn_status status = dn_raw_file_read(path, header, WORDS, body, BODY);
    if (status != DN_OK &&
        (status != DN_ECORRUPT || !strstr(dn_message(), path) || strchr(dn_message(), '\n')))
        fail_msg("found status %d, \"%s\"", status, dn_message());
    return status;
}

/* Cut short or longer by any number of bytes, plain and gzipped. */
static void test_size(void **state)
{
    uint8_t file[HEAD + BODY + 1] = {0}, packed[2 * sizeof file], body[BODY];
    make_idx(file);
    for (size_t size = 0; size <= sizeof file; size++) {
        const dn_status expected = size == HEAD + BODY ? DN_OK : DN_ECORRUPT;
        assert_int_equal(read_bytes(file, size, body), expected);
        const size_t bytes = pack(file, size, packed, sizeof packed);
        assert_int_equal(read_bytes(packed, bytes, body), expected);
    }
    assert_int_equal(read_bytes(file, 7, body), DN_ECORRUPT);
    assert_non_null(strstr(dn_message(), "found 7 bytes, expected 816"));
    const size_t bytes = pack(file, HEAD + BODY, packed, sizeof packed);
    for (size_t size = 0; size < bytes; size++)
        assert_int_equal(read_bytes(packed, size, body), DN_ECORRUPT);
}

/* Behind a gzipped file another may stand, or zeros up to the end, as gzip itself has it, and
 * nothing else. */
static void test_behind(void **state)
{
    enum { TAPE = 100000 }; /* more than is read at once */
    static uint8_t packed[TAPE];
    uint8_t file[HEAD + BODY], body[BODY];
    make_idx(file);
    size_t bytes = pack(file, 100, packed, sizeof packed);
    bytes += pack(file + 100, sizeof file - 100, packed + bytes, sizeof packed - bytes);
    assert_int_equal(read_bytes(packed, bytes, body), DN_OK);
    assert_memory_equal(body, file + HEAD, BODY);
    for (size_t more = 1; more < 40; more++)
        assert_int_equal(read_bytes(packed, bytes + more, body), DN_OK);
    assert_int_equal(read_bytes(packed, TAPE, body), DN_OK);
    pack(file, 100, packed + TAPE - 4096, 4096);
    assert_int_equal(read_bytes(packed, TAPE, body), DN_ECORRUPT);
    assert_string_equal(dn_message(), "file: found other bytes than zeros behind what gzip packed");
    strcpy((char *)packed + bytes, "garbage");
    assert_int_equal(read_bytes(packed, bytes + 7, body), DN_ECORRUPT);
    assert_string_equal(dn_message(),
                        "file: incorrect header check: bytes behind what gzip packed");
}

/* The CRC at the end of a gzipped file counts, also where zlib unpacks to the caller's memory. */
static void test_end(void **state)
{
    enum { LARGE = 100000 };
    uint8_t *const bytes = calloc(3, LARGE), *const packed = bytes + 2 * LARGE;
    assert_non_null(bytes);
    for (int i = 0; i < LARGE; i++)
        bytes[i] = (uint8_t)((uint32_t)i * 2654435761u >> 29);
    const size_t whole = pack(bytes, LARGE, packed, LARGE);
    for (size_t cut = 0; cut < 100; cut++)
        assert_int_equal(
            dn_raw_file_read(write_bytes(packed, whole - cut), NULL, 0, bytes + LARGE, LARGE),
            cut == 0 ? DN_OK : DN_ECORRUPT);
    free(bytes);
}

/* A changed bit of a gzipped file is found, or changed nothing that is read. */
static void test_flipped_bit(void **state)
{
    uint8_t file[HEAD + BODY], packed[2 * sizeof file], body[BODY];
    make_idx(file);
    const size_t bytes = pack(file, sizeof file, packed, sizeof packed);
    int unseen = 0;
    for (size_t bit = 0; bit < 8 * bytes; bit++) {
        packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (read_bytes(packed, bytes, body) == DN_OK) {
            assert_memory_equal(body, file + HEAD, BODY);
            unseen++;
        }
        packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(unseen <= 8 * 10); /* of gzip's header */
    for (size_t bit = 0; bit < 8 * HEAD; bit++) {
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(read_bytes(file, sizeof file, body), DN_ECORRUPT);
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

/* No more than what is expected, and a byte, is unpacked. */
static void test_bomb(void **state)
{
    enum { ZEROS = 64 << 20 };
    uint8_t *const zeros = calloc(1, ZEROS), *const packed = malloc(1 << 20), body[BODY];
    assert_true(zeros && packed);
    make_idx(zeros);
    assert_int_equal(read_bytes(packed, pack(zeros, ZEROS, packed, 1 << 20), body), DN_ECORRUPT);
    assert_non_null(strstr(dn_message(), "found 817 or more bytes, expected 816"));
    free(zeros);
    free(packed);
}

static void test_names(void **state)
{
    static const char *const names[] = {"./t-idx3-ubyte.gz", "./t-idx3-ubyte", "./t.idx3-ubyte.gz",
                                        "./t.idx3-ubyte"};
    char path[PATH_MAX];
    assert_int_equal(mkdir("t-idx3-ubyte", 0777), 0); /* as some archives unpack */
    assert_int_equal(dn_raw_file_find(path, ".", "t-idx3-ubyte"), DN_ENOENT);
    for (int i = 3; i >= 0; i--) {
        rmdir(names[i]);
        fclose(fopen(names[i], "w"));
        assert_int_equal(dn_raw_file_find(path, ".", "t-idx3-ubyte"), DN_OK);
        assert_string_equal(path, names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size), cmocka_unit_test(test_behind),
        cmocka_unit_test(test_end),  cmocka_unit_test(test_flipped_bit),
        cmocka_unit_test(test_bomb), cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, trial_folder_make, trial_folder_remove);
}
