/*
 * One labelled image as a tf.train.Example with the conventional keys: image/class/label,
 * image/class/text, image/encoded (PNG), image/format ("png"), image/height, image/width.
 *
 * Images are (channels, height, width) bytes, 1 channel (gray) or 3 (RGB). A codec is an object of
 * one thread: it owns the buffers.
 */
#ifndef DN_SAMPLE_H
#define DN_SAMPLE_H

#include <stddef.h>

#include "dn/manifest.h"

typedef struct dn_sample_codec dn_sample_codec;

/* A codec for images of the manifest's shape and its classes; it keeps a pointer to the manifest.
 * The caller owns it. */
dn_status dn_sample_codec_create(dn_sample_codec **codec, const dn_manifest *manifest);
void dn_sample_codec_destroy(dn_sample_codec **codec);

/* *record(size) = the encoded Example; the codec's, valid until its next call. */
dn_status dn_sample_encode(dn_sample_codec *codec, const uint8_t *image, int label,
                           const uint8_t **record, size_t *size);

/* *image and *label from an Example; *image is the codec's, valid until its next call.
 * DN_ECORRUPT says what was found and expected; the caller adds the file's name. */
dn_status dn_sample_decode(dn_sample_codec *codec, const uint8_t *record, size_t size,
                           const uint8_t **image, int *label);

#endif
