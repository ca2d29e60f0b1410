/* Reads and checks Matlab files; see mat_file.h. */
#include "sets/mat_file.h"

#include <endian.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "dn/file.h"

enum {
    HEADER = 128, /* bytes of the file's header, */
    MARK = 124,   /* where the version and the byte order are */
    TAG = 8,      /* bytes of an element's kind and size */
    PACKED = 15,  /* the kind of a zlib stream */
    BLOCK = 1 << 16
};

/* The file to check. */
struct mat {
    int file;
    const char *path;
    int64_t bytes;
    int is_big; /* the byte order */
};

static dn_status check_header(struct mat *m)
{
    static const char little[4] = {0, 1, 'I', 'M'}, big[4] = {1, 0, 'M', 'I'};
    char header[HEADER] = {0};
    DN_TRY(dn_file_read(m->file, m->path, header, m->bytes < HEADER ? 0 : HEADER, 0));
    m->is_big = memcmp(header + MARK, big, sizeof big) == 0;
    DN_CHECK(m->is_big || memcmp(header + MARK, little, sizeof little) == 0, DN_ECORRUPT,
             "%s: found no Matlab file of version 5, expected one", m->path);
    return DN_OK;
}

/* Checks that the zlib stream in bytes [at, end) is complete and has its checksum. */
static dn_status check_stream(const struct mat *m, z_stream *z, uint8_t *block, int64_t at,
                              int64_t end)
{
    int code = Z_OK;
    while (code == Z_OK && at < end) {
        const size_t size = (size_t)(end - at < BLOCK ? end - at : BLOCK);
        DN_TRY(dn_file_read(m->file, m->path, block, size, at));
        z->next_in = block;
        z->avail_in = (unsigned)size;
        at += (int64_t)size;
        while (code == Z_OK && z->avail_in > 0) {
            z->next_out = block + BLOCK;
            z->avail_out = BLOCK;
            code = inflate(z, Z_NO_FLUSH);
        }
    }
    DN_CHECK(code == Z_STREAM_END && at == end && z->avail_in == 0, DN_ECORRUPT,
             "%s: the packed element that ends at byte %" PRId64 " is damaged", m->path, end);
    return DN_OK;
}

static dn_status check_packed(const struct mat *m, int64_t at, int64_t end)
{
    uint8_t *const block = malloc(2 * BLOCK);
    z_stream z = {0};
    dn_status status = block && inflateInit(&z) == Z_OK
                           ? check_stream(m, &z, block, at, end)
                           : dn_fail(DN_ENOMEM, "%s: out of memory", m->path);
    inflateEnd(&z);
    free(block);
    return status;
}

static dn_status check_elements(struct mat *m)
{
    DN_TRY(check_header(m));
    for (int64_t at = HEADER, end; at < m->bytes; at = end) {
        uint32_t tag[2] = {0};
        DN_TRY(dn_file_read(m->file, m->path, tag, m->bytes - at < TAG ? 0 : TAG, at));
        const uint32_t kind = m->is_big ? be32toh(tag[0]) : le32toh(tag[0]);
        const uint32_t size = m->is_big ? be32toh(tag[1]) : le32toh(tag[1]);
        end = at + TAG + size;
        DN_CHECK(end <= m->bytes && size > 0, DN_ECORRUPT,
                 "%s: the element at byte %" PRId64 " is cut off", m->path, at);
        if (kind == PACKED)
            DN_TRY(check_packed(m, at + TAG, end));
    }
    return DN_OK;
}

static dn_status check_file(const char *path, dn_status (*check)(struct mat *m))
{
    struct mat m = {.path = path};
    DN_TRY(dn_file_open(path, &m.file, &m.bytes));
    const dn_status status = check(&m);
    close(m.file);
    return status;
}

dn_status dn_mat_check(const char *path)
{
    return check_file(path, check_elements);
}

dn_status dn_mat_open(mat_t **mat, const char *path)
{
    *mat = NULL;
    DN_TRY(check_file(path, check_header));
    *mat = Mat_Open(path, MAT_ACC_RDONLY);
    DN_CHECK(*mat, DN_ECORRUPT, "%s: matio cannot open it", path);
    return DN_OK;
}

int dn_mat_number(const matvar_t *array, size_t index, double *value)
{
    if (!array || !array->data || array->isComplex || array->data_size <= 0 ||
        index >= array->nbytes / (size_t)array->data_size)
        return 0;
    switch (array->class_type) {
#define CASE(class, type)                                                                          \
    case class:                                                                                    \
        *value = (double)((const type *)array->data)[index];                                       \
        return array->data_size == sizeof(type)
        CASE(MAT_C_DOUBLE, double);
        CASE(MAT_C_SINGLE, float);
        CASE(MAT_C_INT8, int8_t);
        CASE(MAT_C_UINT8, uint8_t);
        CASE(MAT_C_INT16, int16_t);
        CASE(MAT_C_UINT16, uint16_t);
        CASE(MAT_C_INT32, int32_t);
        CASE(MAT_C_UINT32, uint32_t);
        CASE(MAT_C_INT64, int64_t);
        CASE(MAT_C_UINT64, uint64_t);
#undef CASE
    default:
        return 0;
    }
}
