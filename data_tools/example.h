/*
 * tf.train.Example: the part of its protobuf encoding that labelled images need.
 *
 *     Example    { Features features = 1; }
 *     Features   { map<string, Feature> feature = 1; }, whose entries are messages of their own:
 *     entry      { string key = 1; Feature value = 2; }
 *     Feature    { one of BytesList 1, FloatList 2, Int64List 3 }
 *     a list     { repeated value = 1; }
 */
#ifndef DN_EXAMPLE_H
#define DN_EXAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "dn/status.h"

typedef enum dn_feature_kind {
    DN_FEATURE_NONE,
    DN_FEATURE_BYTES,
    DN_FEATURE_INT64
} dn_feature_kind;

/* A named value: a list with exactly one element. */
typedef struct dn_feature {
    const char *key;
    dn_feature_kind kind;
    const uint8_t *bytes; /* DN_FEATURE_BYTES */
    size_t size;
    int64_t integer; /* DN_FEATURE_INT64 */
} dn_feature;

/* Encodes the features in the order given (sort them by key, so that files are reproducible) into
 * out(capacity) and returns the encoding's size; out is of no use where that is larger than the
 * capacity, and may be NULL where that is 0. */
size_t dn_example_encode(uint8_t *out, size_t capacity, const dn_feature *features, int count);

/* Looks up the features' keys in an encoded Example and fills kind and value with the first
 * element of each list, pointing into `data`; DN_FEATURE_NONE where the key is absent, its list
 * empty or of floats. As protobuf asks, takes entries and fields in any order, unknown fields,
 * packed and unpacked integers, and the last of duplicate keys. DN_ECORRUPT says at which byte. */
dn_status dn_example_decode(const uint8_t *data, size_t size, dn_feature *features, int count);

#endif
