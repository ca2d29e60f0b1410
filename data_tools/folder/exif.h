/* Which way up a picture is, as its camera noted it. */
#ifndef DN_EXIF_H
#define DN_EXIF_H

#include "dn/image.h"

/* EXIF's orientation of a JPEG or PNG, 1 to 8, as in the TIFF 6.0 specification; 1, upright, also
 * where it has none that can be read. */
int dn_exif_orientation(const dn_encoded *file);

/* *turned = the pixels as `orientation` says that they are to be seen. DN_ENOMEM. */
dn_status dn_exif_turn(const dn_pixels *pixels, int orientation, dn_pixels *turned);

#endif
