/*
 * A picture on which images and words are drawn, and its PNG file.
 */
#ifndef DN_SHEET_H
#define DN_SHEET_H

#include "dn/image.h"

enum { DN_GLYPH_WIDTH = 6, DN_GLYPH_HEIGHT = 10 }; /* pixels of a character, with its space */

/* White, of that size; the caller frees sheet->rgb. DN_EINVAL where it is too large, DN_ENOMEM. */
dn_status dn_sheet_create(dn_pixels *sheet, int width, int height);

/* Draws the image with its corner there; it lies within the sheet. */
void dn_sheet_draw(dn_pixels *sheet, const dn_pixels *image, int left, int top);

/* Writes UTF-8 text in black, `scale` times the size of a character, with at most `most` of them;
 * it lies within the sheet. Those that are not ASCII become '?'. */
void dn_sheet_write(dn_pixels *sheet, const char *text, int most, int scale, int left, int top);

/* Makes the PNG file `path` of it. DN_EINVAL where another kind of file stands there; DN_ENOMEM,
 * DN_EIO. */
dn_status dn_sheet_save(const dn_pixels *sheet, const char *path);

#endif
