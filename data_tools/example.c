/*
 * tf.train.Example in protobuf's wire format; see example.h.
 *
 * A message is a sequence of fields: a varint (number << 3 | wire type), then by wire type a varint
 * (0), 8 bytes (1), a length and that many bytes (2) or 4 bytes (5). The encoder runs twice over
 * the same code: sizes first, since a message's length stands before it.
 */
#include "example.h"

#include <string.h>

enum { VARINT = 0, FIXED64 = 1, DELIMITED = 2, FIXED32 = 5 };

static size_t varint_size(uint64_t value)
{
    size_t size = 1;
    for (; value >= 128; value >>= 7)
        size++;
    return size;
}

/* Of a delimited field with a one-byte tag. */
static size_t field_size(size_t content)
{
    return 1 + varint_size(content) + content;
}

static uint8_t *put_varint(uint8_t *out, uint64_t value)
{
    for (; value >= 128; value >>= 7)
        *out++ = (uint8_t)(value | 128);
    *out++ = (uint8_t)value;
    return out;
}

static uint8_t *put_header(uint8_t *out, int number, size_t content)
{
    *out++ = (uint8_t)(number << 3 | DELIMITED);
    return put_varint(out, content);
}

static uint8_t *put_bytes(uint8_t *out, int number, const void *bytes, size_t size)
{
    out = put_header(out, number, size);
    memcpy(out, bytes, size);
    return out + size;
}

/* Sizes of the nested messages of one map entry, from the inside. */
struct entry_sizes {
    size_t value, list, feature, entry;
};

static struct entry_sizes measure(const dn_feature *f)
{
    struct entry_sizes s;
    s.value = f->kind == DN_FEATURE_BYTES ? f->size : varint_size((uint64_t)f->integer);
    s.list = field_size(s.value); /* packed integers are a delimited field too */
    s.feature = field_size(s.list);
    s.entry = field_size(strlen(f->key)) + field_size(s.feature);
    return s;
}

static uint8_t *put_entry(uint8_t *out, const dn_feature *f)
{
    const struct entry_sizes s = measure(f);
    out = put_header(out, 1, s.entry);
    out = put_bytes(out, 1, f->key, strlen(f->key));
    out = put_header(out, 2, s.feature);
    out = put_header(out, f->kind == DN_FEATURE_BYTES ? 1 : 3, s.list);
    if (f->kind == DN_FEATURE_BYTES)
        return put_bytes(out, 1, f->bytes, f->size);
    out = put_header(out, 1, s.value);
    return put_varint(out, (uint64_t)f->integer);
}

size_t dn_example_encode(uint8_t *out, size_t capacity, const dn_feature *features, int count)
{
    size_t content = 0;
    for (int i = 0; i < count; i++)
        content += field_size(measure(&features[i]).entry);
    const size_t size = field_size(content);
    if (size > capacity)
        return size;
    out = put_header(out, 1, content);
    for (int i = 0; i < count; i++)
        out = put_entry(out, &features[i]);
    return size;
}

/* A part of the encoding, consumed from the front. */
struct cursor {
    const uint8_t *start, *p, *end; /* start: of the whole Example, for messages */
};

/* One field. For the wire types that are not DELIMITED `value` holds what they carry. */
struct field {
    int number, type;
    uint64_t value;
    struct cursor content;
};

static dn_status malformed(const struct cursor *c)
{
    return dn_fail(DN_ECORRUPT, "not a tf.train.Example: malformed at byte %td", c->p - c->start);
}

static dn_status get_varint(struct cursor *c, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (c->p == c->end)
            return malformed(c);
        const uint8_t byte = *c->p++;
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return DN_OK;
    }
    return malformed(c);
}

static dn_status get_field(struct cursor *c, struct field *field)
{
    uint64_t tag;
    DN_TRY(get_varint(c, &tag));
    *field = (struct field){.number = (int)(tag >> 3), .type = (int)(tag & 7)};
    if (field->type == VARINT)
        return get_varint(c, &field->value);
    uint64_t length = field->type == FIXED64 ? 8 : 4;
    if (field->type == DELIMITED)
        DN_TRY(get_varint(c, &length));
    else if (field->type != FIXED64 && field->type != FIXED32)
        return malformed(c);
    if (length > (uint64_t)(c->end - c->p))
        return malformed(c);
    field->content = (struct cursor){.start = c->start, .p = c->p, .end = c->p + length};
    c->p += length;
    return DN_OK;
}

/* The first element of a BytesList (kind bytes) or Int64List. */
static dn_status decode_list(struct cursor c, dn_feature_kind kind, dn_feature *found)
{
    while (c.p < c.end && found->kind == DN_FEATURE_NONE) {
        struct field field;
        DN_TRY(get_field(&c, &field));
        if (field.number != 1)
            continue;
        if (kind == DN_FEATURE_BYTES && field.type == DELIMITED) {
            found->bytes = field.content.p;
            found->size = (size_t)(field.content.end - field.content.p);
            found->kind = kind;
        } else if (kind == DN_FEATURE_INT64 && field.type != FIXED64 && field.type != FIXED32) {
            if (field.type == DELIMITED && field.content.p == field.content.end)
                continue;
            if (field.type == DELIMITED)
                DN_TRY(get_varint(&field.content, &field.value));
            found->integer = (int64_t)field.value;
            found->kind = kind;
        }
    }
    return DN_OK;
}

static dn_status decode_feature(struct cursor c, dn_feature *found)
{
    while (c.p < c.end) {
        struct field field;
        DN_TRY(get_field(&c, &field));
        if (field.type != DELIMITED || field.number < 1 || field.number > 3)
            continue;
        found->kind = DN_FEATURE_NONE; /* one of: the last list counts */
        if (field.number != 2)
            DN_TRY(decode_list(field.content,
                               field.number == 1 ? DN_FEATURE_BYTES : DN_FEATURE_INT64, found));
    }
    return DN_OK;
}

static dn_status decode_entry(struct cursor c, dn_feature *features, int count)
{
    struct cursor key = {0}, value = {0};
    while (c.p < c.end) {
        struct field field;
        DN_TRY(get_field(&c, &field));
        if (field.type == DELIMITED && field.number == 1)
            key = field.content;
        else if (field.type == DELIMITED && field.number == 2)
            value = field.content;
    }
    const size_t length = (size_t)(key.end - key.p);
    for (int i = 0; i < count; i++) {
        if (strlen(features[i].key) != length || memcmp(features[i].key, key.p, length) != 0)
            continue;
        features[i].kind = DN_FEATURE_NONE;
        DN_TRY(decode_feature(value, &features[i]));
    }
    return DN_OK;
}

dn_status dn_example_decode(const uint8_t *data, size_t size, dn_feature *features, int count)
{
    struct cursor example = {.start = data, .p = data, .end = data + size};
    for (int i = 0; i < count; i++)
        features[i].kind = DN_FEATURE_NONE;
    while (example.p < example.end) {
        struct field field, entry;
        DN_TRY(get_field(&example, &field));
        if (field.type != DELIMITED || field.number != 1)
            continue;
        while (field.content.p < field.content.end) {
            DN_TRY(get_field(&field.content, &entry));
            if (entry.type == DELIMITED && entry.number == 1)
                DN_TRY(decode_entry(entry.content, features, count));
        }
    }
    return DN_OK;
}
