/*
 * Converts an image for a shard: its bytes are kept, or if it is to be rotated or made smaller it
 * becomes a baseline JPEG.
 *
 * Every image is decoded, which proves that it is valid. The result has the same bytes on every
 * machine with the same version of libjpeg.
 */
#ifndef DN_CONVERSION_H
#define DN_CONVERSION_H

#include "dn/image.h"
#include "writer/writer.h"

/* The working memory of one thread; zeroed at first. */
typedef struct dn_converter {
    dn_pixels pixels; /* of the last image, as it is stored */
    dn_pixels turned;
    dn_buffer planes, work;
} dn_converter;

void dn_converter_free(dn_converter *c);

/* text(size) = a description of the conversion for dataset.json; "" if images are kept as they are.
 */
void dn_conversion_describe(const dn_records_options *options, char *text, size_t size);

/* Converts the file, whose bytes are in image->bytes, into *image; *has_orientation = 1 if EXIF
 * says that it is displayed rotated or mirrored. DN_EINVAL and DN_ECORRUPT as of dn_image_decode;
 * DN_ENOMEM. */
dn_status dn_convert(dn_converter *c, const dn_records_options *options, const dn_encoded *file,
                     dn_stored_image *image, int *has_orientation);

#endif
