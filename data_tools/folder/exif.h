/* The orientation of a picture, as recorded by its camera. */
#ifndef DN_EXIF_H
#define DN_EXIF_H

#include "dn/image.h"

/* The EXIF orientation of a JPEG or PNG, 1 to 8 as in the TIFF 6.0 specification; 1 (upright) if it
 * has none that can be read. */
int dn_exif_orientation(const dn_encoded *file);

/* *turned = the pixels rotated or mirrored for display by `orientation`. DN_ENOMEM. */
dn_status dn_exif_turn(const dn_pixels *pixels, int orientation, dn_pixels *turned);

#endif
