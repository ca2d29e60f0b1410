/*
 * tf.train.Example in protobuf's wire format; see example.h.
 *
 * A message is a sequence of fields: a varint (number << 3 | wire type), then by wire type a varint
 * (0), 8 bytes (1), a length and that many bytes (2) or 4 bytes (5).
 */
#include "example.h"

#include <string.h>

enum { VARINT = 0, FIXED64 = 1, DELIMITED = 2, FIXED32 = 5 };
enum { BYTES_LIST = 1, INT64_LIST = 3 }; /* fields of a Feature */

/* The encoding grows from the end of out(capacity) to the front, so that a message's length, which
 * stands before it, is known. What does not fit is counted only. */
struct tail {
    uint8_t *out;
    size_t capacity, size;
};

static void put(struct tail *t, const void *bytes, size_t size)
{
    t->size += size;
    if (t->size <= t->capacity)
        memcpy(t->out + t->capacity - t->size, bytes, size);
}

static void put_varint(struct tail *t, uint64_t value)
{
    uint8_t bytes[10];
    size_t size = 0;
    for (; value >= 128; value >>= 7)
        bytes[size++] = (uint8_t)(value | 128);
    bytes[size++] = (uint8_t)value;
    put(t, bytes, size);
}

/* Makes what was put since the size was `inner` the content of a delimited field. */
static void wrap(struct tail *t, int number, size_t inner)
{
    put_varint(t, t->size - inner);
    put_varint(t, (uint64_t)number << 3 | DELIMITED);
}

static void put_entry(struct tail *t, const dn_feature *f)
{
    const size_t start = t->size;
    if (f->kind == DN_FEATURE_BYTES)
        put(t, f->bytes, f->size);
    else
        put_varint(t, (uint64_t)f->integer);
    wrap(t, 1, start); /* an element of a BytesList, or packed integers */
    wrap(t, f->kind == DN_FEATURE_BYTES ? BYTES_LIST : INT64_LIST, start);
    wrap(t, 2, start); /* the Feature as the entry's value */
    const size_t value = t->size;
    put(t, f->key, strlen(f->key));
    wrap(t, 1, value);
    wrap(t, 1, start);
}

size_t dn_example_encode(uint8_t *out, size_t capacity, const dn_feature *features, int count)
{
    struct tail t = {.out = out, .capacity = capacity};
    for (int i = count - 1; i >= 0; i--)
        put_entry(&t, &features[i]);
    wrap(&t, 1, 0);
    if (t.size < capacity)
        memmove(out, out + capacity - t.size, t.size);
    return t.size;
}

/* A part of an encoding, consumed from the front. */
struct cursor {
    const uint8_t *p, *end;
};

/* One field. For the wire type VARINT `value` holds what it carries, for the others `content`. */
struct field {
    int number, type;
    uint64_t value;
    struct cursor content;
};

/* Returns whether a varint stands there. */
static int get_varint(struct cursor *c, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64 && c->p < c->end; shift += 7) {
        const uint8_t byte = *c->p++;
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return 1;
    }
    return 0;
}

/* Returns whether a whole field stands there. */
static int get_field(struct cursor *c, struct field *f)
{
    uint64_t tag, length = 0;
    if (!get_varint(c, &tag))
        return 0;
    *f = (struct field){.number = (int)(tag >> 3), .type = (int)(tag & 7)};
    if (f->type == VARINT)
        return get_varint(c, &f->value);
    if (f->type == FIXED64 || f->type == FIXED32)
        length = f->type == FIXED64 ? 8 : 4;
    else if (f->type != DELIMITED || !get_varint(c, &length))
        return 0;
    if (length > (uint64_t)(c->end - c->p))
        return 0;
    f->content = (struct cursor){.p = c->p, .end = c->p + length};
    c->p += length;
    return 1;
}

/* The next field: 1, or 0 after the last one, or 0 and *bad = where the encoding is malformed. */
static int next(struct cursor *c, struct field *f, const uint8_t **bad)
{
    if (*bad || c->p == c->end)
        return 0;
    if (!get_field(c, f))
        *bad = c->p;
    return !*bad;
}

/* The first element of a BytesList or an Int64List, whose integers may be packed. */
static void decode_list(struct cursor c, dn_feature_kind kind, dn_feature *found,
                        const uint8_t **bad)
{
    for (struct field f; found->kind == DN_FEATURE_NONE && next(&c, &f, bad);) {
        if (f.number != 1)
            continue;
        if (kind == DN_FEATURE_BYTES && f.type == DELIMITED) {
            found->bytes = f.content.p;
            found->size = (size_t)(f.content.end - f.content.p);
            found->kind = kind;
        } else if (kind == DN_FEATURE_INT64 &&
                   (f.type == VARINT || (f.type == DELIMITED && f.content.p < f.content.end))) {
            if (f.type == DELIMITED && !get_varint(&f.content, &f.value))
                *bad = f.content.p;
            found->integer = (int64_t)f.value;
            found->kind = kind;
        }
    }
}

static void decode_feature(struct cursor c, dn_feature *found, const uint8_t **bad)
{
    for (struct field f; next(&c, &f, bad);) {
        if (f.type != DELIMITED || f.number < BYTES_LIST || f.number > INT64_LIST)
            continue;
        found->kind = DN_FEATURE_NONE; /* one of: the last list counts */
        if (f.number == BYTES_LIST)
            decode_list(f.content, DN_FEATURE_BYTES, found, bad);
        else if (f.number == INT64_LIST)
            decode_list(f.content, DN_FEATURE_INT64, found, bad);
    }
}

static void decode_entry(struct cursor c, dn_feature *features, int count, const uint8_t **bad)
{
    struct cursor part[3] = {{0}}; /* key 1 and value 2 */
    for (struct field f; next(&c, &f, bad);)
        if (f.type == DELIMITED && (f.number == 1 || f.number == 2))
            part[f.number] = f.content;
    const size_t length = (size_t)(part[1].end - part[1].p);
    for (int i = 0; i < count; i++) {
        if (strlen(features[i].key) != length || memcmp(features[i].key, part[1].p, length) != 0)
            continue;
        features[i].kind = DN_FEATURE_NONE;
        decode_feature(part[2], &features[i], bad);
    }
}

dn_status dn_example_decode(const uint8_t *data, size_t size, dn_feature *features, int count)
{
    struct cursor example = {.p = data, .end = data + size};
    const uint8_t *bad = NULL;
    for (int i = 0; i < count; i++)
        features[i].kind = DN_FEATURE_NONE;
    for (struct field f; next(&example, &f, &bad);)
        for (struct field entry;
             f.type == DELIMITED && f.number == 1 && next(&f.content, &entry, &bad);)
            if (entry.type == DELIMITED && entry.number == 1)
                decode_entry(entry.content, features, count, &bad);
    DN_CHECK(!bad, DN_ECORRUPT, "not a tf.train.Example: malformed at byte %td", bad - data);
    return DN_OK;
}
