/* Matlab files; see mat_file.h. */
#include "mat_file.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "dn/file.h"

dn_status dn_mat_open(mat_t **mat, const char *path)
{
    enum { HEADER = 128, MARK = 124 }; /* where the version stands, and the order of bytes */
    static const char little[4] = {0, 1, 'I', 'M'}, big[4] = {1, 0, 'M', 'I'};
    char header[HEADER];
    int file;
    int64_t bytes;
    *mat = NULL;
    dn_status status = dn_file_open(path, &file, &bytes);
    if (status == DN_OK)
        status = dn_file_read(file, path, header, sizeof header, 0);
    if (file >= 0)
        close(file);
    DN_TRY(status);
    DN_CHECK(memcmp(header + MARK, little, 4) == 0 || memcmp(header + MARK, big, 4) == 0,
             DN_ECORRUPT, "%s: found no Matlab file of version 5, expected one", path);
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
