/*
 * A contact sheet: a picture with images and text, and its PNG file.
 */
#ifndef DN_SHEET_H
#define DN_SHEET_H

#include "dn/image.h"

enum { DN_GLYPH_WIDTH = 6, DN_GLYPH_HEIGHT = 10 }; /* pixels of a character, with spacing */

/* Makes a white sheet of that size; the caller frees sheet->rgb. DN_EINVAL if it is too large,
 * DN_ENOMEM. */
dn_status dn_sheet_create(dn_pixels *sheet, int width, int height);

/* Draws the image with its upper left corner at (left, top); it must fit into the sheet. */
void dn_sheet_draw(dn_pixels *sheet, const dn_pixels *image, int left, int top);

/* Writes the first `most` characters of UTF-8 text in black, magnified `scale` times; they must fit
 * into the sheet. Non-ASCII characters become '?'. */
void dn_sheet_write(dn_pixels *sheet, const char *text, int most, int scale, int left, int top);

/* Writes the sheet to the PNG file `path`. DN_EINVAL if a file of another kind exists there;
 * DN_ENOMEM, DN_EIO. */
dn_status dn_sheet_save(const dn_pixels *sheet, const char *path);

#endif
