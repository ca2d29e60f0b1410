/*
 * What becomes of an image on its way into a shard: its bytes as they came, or where it is to be
 * turned or made smaller, a baseline JPEG.
 *
 * Every image is decoded on the way, which proves it sound. The same bytes on every machine, of the
 * same version of libjpeg.
 */
#ifndef DN_CONVERSION_H
#define DN_CONVERSION_H

#include "dn/image.h"
#include "making/making.h"

/* What one thread works with; zeroed at first. */
typedef struct dn_converter {
    dn_pixels pixels; /* of the image that was converted last, as it is stored */
    dn_pixels turned;
    dn_buffer planes, work;
} dn_converter;

void dn_converter_free(dn_converter *c);

/* text = what the options make of images, for dataset.json; "" where all stay as they came. */
void dn_conversion_describe(const dn_records_options *options, char *text, size_t size);

/* *image = the file as it is to be stored; *is_turned where EXIF says that it is to be seen turned.
 * The file's bytes are those in image->bytes. DN_EINVAL and DN_ECORRUPT as dn_image_decode;
 * DN_ENOMEM. */
dn_status dn_convert(dn_converter *c, const dn_records_options *options, const dn_encoded *file,
                     dn_stored_image *image, int *is_turned);

#endif
