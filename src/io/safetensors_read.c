/*
 * Reads safetensors; see include/dn/weights.h, and weights_file.h for the format.
 *
 * Input files are not trusted: no number is used before it has been checked against the file's
 * size. jansson, which is safe for any bytes, parses the header.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dn/bf16.h"
#include "dn/file.h"
#include "dn/words.h"
#include "weights_file.h"

enum {
    MOST_HEADER = 16 << 20, /* a DenseNet's takes less than a MiB */
    MOST_TENSORS = 1 << 16,
    MOST_DIMS = 64
};

/* ---- dtypes ---- */

static float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float from_f32(const uint8_t *bytes)
{
    float x;
    memcpy(&x, bytes, sizeof x);
    return x;
}

static float from_bf16(const uint8_t *bytes)
{
    return dn_bf16_to_float((uint16_t)(bytes[1] << 8 | bytes[0]));
}

static float from_f16(const uint8_t *bytes)
{
    const uint32_t bits = (uint32_t)bytes[1] << 8 | bytes[0];
    const uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float size = exponent == 31  ? float_of_bits(0x7f800000 | fraction << 13)
                       : exponent == 0 ? ldexpf((float)fraction, -24)
                                       : ldexpf((float)(fraction | 1024), (int)exponent - 25);
    return bits >> 15 ? -size : size;
}

static const struct dtype {
    const char *name;
    int bytes;
    float (*value)(const uint8_t *bytes); /* NULL: not a type of weights */
} dtypes[] = {{"F32", 4, from_f32}, {"F16", 2, from_f16}, {"BF16", 2, from_bf16}, {"F64", 8, NULL},
              {"I64", 8, NULL},     {"U64", 8, NULL},     {"I32", 4, NULL},       {"U32", 4, NULL},
              {"I16", 2, NULL},     {"U16", 2, NULL},     {"I8", 1, NULL},        {"U8", 1, NULL},
              {"BOOL", 1, NULL}};

enum { DTYPES = sizeof dtypes / sizeof *dtypes };

/* ---- the header ---- */

/* An entry of the header. */
typedef struct entry {
    const char *name; /* the header's */
    const struct dtype *dtype;
    int dims;
    int64_t shape[4]; /* (dims) if dims <= 4 */
    int64_t begin, end, count;
} entry;

/* A nonnegative integer of the header. */
static int get_size(const json_t *value, int64_t *size)
{
    *size = json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
    return *size >= 0;
}

/* Sets shape and count; no product exceeds `most`, the bytes of all tensors. */
static dn_status parse_shape(entry *e, const json_t *shape, int64_t most)
{
    const size_t dims = json_array_size(shape);
    int is_empty = 0;
    DN_CHECK(json_is_array(shape) && dims <= MOST_DIMS, DN_ECORRUPT,
             "%s: found no shape, expected a list of at most %d numbers", e->name, MOST_DIMS);
    e->dims = (int)dims;
    e->count = 1;
    for (size_t i = 0; i < dims; i++) {
        int64_t side;
        DN_CHECK(get_size(json_array_get(shape, i), &side), DN_ECORRUPT,
                 "%s: shape: expected whole numbers of 0 or more", e->name);
        is_empty |= side == 0;
        DN_CHECK(is_empty || side <= most / e->count, DN_ECORRUPT,
                 "%s: found a shape of more than the file's %" PRId64 " bytes", e->name, most);
        e->count *= is_empty ? 1 : side;
        if (i < 4)
            e->shape[i] = side;
    }
    e->count = is_empty ? 0 : e->count;
    return DN_OK;
}

static dn_status parse_entry(entry *e, const json_t *value, int64_t most)
{
    const json_t *const offsets = json_object_get(value, "data_offsets");
    const char *const dtype = json_string_value(json_object_get(value, "dtype"));
    DN_CHECK(dtype && json_object_size(value) == 3, DN_ECORRUPT,
             "%s: expected dtype, shape and data_offsets", e->name);
    for (int i = 0; i < DTYPES; i++)
        if (strcmp(dtypes[i].name, dtype) == 0)
            e->dtype = &dtypes[i];
    DN_CHECK(e->dtype, DN_ECORRUPT, "%s: found dtype %s, expected F32, F16 or BF16", e->name,
             dtype);
    DN_TRY(parse_shape(e, json_object_get(value, "shape"), most));
    DN_CHECK(json_array_size(offsets) == 2 && get_size(json_array_get(offsets, 0), &e->begin) &&
                 get_size(json_array_get(offsets, 1), &e->end) && e->begin <= e->end &&
                 e->end <= most,
             DN_ECORRUPT,
             "%s: expected data_offsets in order, within the %" PRId64 " bytes after the header",
             e->name, most);
    DN_CHECK((e->end - e->begin) / e->dtype->bytes == e->count &&
                 (e->end - e->begin) % e->dtype->bytes == 0,
             DN_ECORRUPT, "%s: found %" PRId64 " bytes, expected those of %" PRId64 " x %s",
             e->name, e->end - e->begin, e->count, dtype);
    return DN_OK;
}

static int compare_places(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    return x->begin != y->begin ? (x->begin > y->begin) - (x->begin < y->begin)
                                : (x->end > y->end) - (x->end < y->end);
}

/* Checks that the tensors' bytes are contiguous from the header's end to the file's. */
static dn_status check_places(entry *list, int count, int64_t bytes)
{
    int64_t end = 0;
    qsort(list, (size_t)count, sizeof *list, compare_places);
    for (int i = 0; i < count; i++) {
        DN_CHECK(list[i].begin == end, DN_ECORRUPT,
                 "%s: found its bytes from %" PRId64 " on, expected %" PRId64
                 ", where the tensor before ends",
                 list[i].name, list[i].begin, end);
        end = list[i].end;
    }
    DN_CHECK(end == bytes, DN_ECORRUPT,
             "found %" PRId64 " bytes after the header, expected the tensors' %" PRId64, bytes,
             end);
    return DN_OK;
}

static dn_status check_metadata(const json_t *metadata)
{
    const char *key;
    json_t *value;
    DN_CHECK(json_is_object(metadata), DN_ECORRUPT, "__metadata__: expected texts");
    json_object_foreach((json_t *)metadata, key, value)
        DN_CHECK(json_is_string(value), DN_ECORRUPT, "__metadata__: %s: expected a text", key);
    return DN_OK;
}

/* list(json_object_size(header)) = the header's tensors; `bytes` follow the header. */
static dn_status parse_entries(entry *list, int *count, json_t *header, int64_t bytes)
{
    const char *key;
    json_t *value;
    *count = 0;
    json_object_foreach(header, key, value)
    {
        if (strcmp(key, "__metadata__") == 0) {
            DN_TRY(check_metadata(value));
            continue;
        }
        list[*count] = (entry){.name = key};
        DN_TRY(parse_entry(&list[(*count)++], value, bytes));
    }
    return check_places(list, *count, bytes);
}

/* ---- the tensors ---- */

/* *t = the tensor, its values as floats(e->count); `data` follows the header. */
static dn_status take_entry(dn_named_tensor *t, const char *path, const entry *e,
                            const uint8_t *data, float *values)
{
    DN_CHECK(e->dtype->value, DN_ESHAPE, "%s: %s: found dtype %s, expected F32, F16 or BF16", path,
             e->name, e->dtype->name);
    DN_CHECK(e->dims <= 4 && strlen(e->name) < sizeof t->name, DN_ESHAPE,
             "%s: %s: found %d dimensions and a name of %zu bytes, expected at most 4 and %zu",
             path, e->name, e->dims, strlen(e->name), sizeof t->name - 1);
    strcpy(t->name, e->name);
    t->dims = e->dims;
    memcpy(t->shape, e->shape, sizeof t->shape);
    t->values = values;
    for (int64_t n = 0; n < e->count; n++)
        values[n] = e->dtype->value(data + e->begin + n * e->dtype->bytes);
    return DN_OK;
}

/* Copies all parameters and statistics into the net. */
static dn_status take_entries(dn_net *net, const char *path, const entry *list, int count,
                              const uint8_t *data, int *classes)
{
    size_t floats = 0, at = 0;
    int taken = 0;
    for (int i = 0; i < count; i++)
        floats += list[i].dtype->value ? (size_t)list[i].count : 0;
    dn_named_tensor *const tensors = calloc((size_t)count + 1, sizeof *tensors);
    float *const values = malloc((floats + 1) * sizeof *values);
    dn_status status =
        tensors && values ? DN_OK : dn_fail(DN_ENOMEM, "out of memory for %zu floats", floats);
    for (int i = 0; i < count && status == DN_OK; i++)
        if (!dn_ends_in(list[i].name, DN_BATCHES_TRACKED)) {
            status = take_entry(&tensors[taken++], path, &list[i], data, values + at);
            at += (size_t)list[i].count;
        }
    if (status == DN_OK)
        status = dn_weights_take(net, path, tensors, taken, classes);
    free(values);
    free(tensors);
    return status;
}

/* The header's length, checked to be within the file. */
static dn_status header_length(const uint8_t *bytes, size_t size, size_t *length)
{
    uint64_t found = 0;
    DN_CHECK(size < 2 || memcmp(bytes, "PK", 2) != 0, DN_ECORRUPT,
             "found a zip file, as PyTorch's .pth are, expected a checkpoint or safetensors; "
             "scripts/pth_to_safetensors.py makes one of it");
    for (int i = 0; i < DN_SAFETENSORS_LENGTH && size >= DN_SAFETENSORS_LENGTH; i++)
        found |= (uint64_t)bytes[i] << (8 * i);
    DN_CHECK(size > DN_SAFETENSORS_LENGTH && found > 0 && found <= MOST_HEADER &&
                 found <= size - DN_SAFETENSORS_LENGTH && bytes[DN_SAFETENSORS_LENGTH] == '{',
             DN_ECORRUPT,
             "found neither a checkpoint nor safetensors, whose header has at most %d bytes (cut "
             "short?)",
             MOST_HEADER);
    *length = (size_t)found;
    return DN_OK;
}

/* Copies the tensors that the header lists into the net. */
static dn_status take_header(dn_net *net, const char *path, json_t *header, const uint8_t *data,
                             int64_t bytes, int *classes)
{
    const size_t most = json_object_size(header);
    int count;
    DN_CHECK(most <= MOST_TENSORS, DN_ECORRUPT, "%s: found %zu tensors, expected at most %d", path,
             most, MOST_TENSORS);
    entry *const list = calloc(most + 1, sizeof *list);
    DN_CHECK(list, DN_ENOMEM, "%s: out of memory for %zu tensors", path, most);
    dn_status status = parse_entries(list, &count, header, bytes);
    if (status != DN_OK)
        status = dn_fail(status, "%s: %s", path, dn_message());
    else
        status = take_entries(net, path, list, count, data, classes);
    free(list);
    return status;
}

dn_status dn_safetensors_open(const char *path, uint8_t **bytes, size_t *size, json_t **header)
{
    size_t length = 0;
    json_error_t error = {.text = ""};
    *header = NULL;
    DN_TRY(dn_file_load(path, bytes, size));
    dn_status status = header_length(*bytes, *size, &length);
    if (status == DN_OK && !(*header = json_loadb((char *)*bytes + DN_SAFETENSORS_LENGTH, length,
                                                  JSON_REJECT_DUPLICATES, &error)))
        status = dn_fail(DN_ECORRUPT, "the header is not valid JSON: %s", error.text);
    if (status == DN_OK) {
        *size -= DN_SAFETENSORS_LENGTH + length;
        memmove(*bytes, *bytes + DN_SAFETENSORS_LENGTH + length, *size);
        return DN_OK;
    }
    free(*bytes);
    *bytes = NULL;
    return dn_fail(status, "%s: %s", path, dn_message());
}

dn_status dn_safetensors_load(dn_net *net, const char *path, int *classes)
{
    uint8_t *bytes;
    size_t size;
    json_t *header;
    *classes = 0;
    DN_TRY(dn_safetensors_open(path, &bytes, &size, &header));
    const dn_status status = take_header(net, path, header, bytes, (int64_t)size, classes);
    json_decref(header);
    free(bytes);
    return status;
}
