/*
 * One labelled image as a tf.train.Example with the conventional keys: image/class/label,
 * image/class/text, image/encoded (PNG), image/format ("png"), image/height, image/width.
 *
 * Images are (channels, height, width) bytes; shape and classes are the manifest's. Thread-safe.
 */
#ifndef DN_SAMPLE_H
#define DN_SAMPLE_H

#include "dn/manifest.h"

/* *record(size) = the encoded Example, to be freed by the caller; NULL after a failure. */
dn_status dn_sample_encode(const dn_manifest *manifest, const uint8_t *image, int label,
                           uint8_t **record, size_t *size);

/* image and *label from an Example. DN_ECORRUPT says what was found and expected; the caller adds
 * the file's name. */
dn_status dn_sample_decode(const dn_manifest *manifest, const uint8_t *record, size_t size,
                           uint8_t *image, int *label);

#endif
