/* Draws contact sheets; see sheet.h. */
#include "inspect/sheet.h"

#include <stdlib.h>
#include <string.h>

#include "dn/file.h"

enum { MOST_PIXELS = 1 << 27 };

/* ASCII from space to '~': five columns a character from the left, of two hexadecimal digits each,
 * whose bit 0 is the top pixel. */
static const uint64_t glyphs[] = {
    // clang-format off
    0x0000000000, 0x00005F0000, 0x0007000700, 0x147F147F14, 0x242A7F2A12,
    0x2313086462, 0x3649552250, 0x0005030000, 0x001C224100, 0x0041221C00,
    0x082A1C2A08, 0x08083E0808, 0x0050300000, 0x0808080808, 0x0060600000,
    0x2010080402, 0x3E5149453E, 0x00427F4000, 0x4261514946, 0x2141454B31,
    0x1814127F10, 0x2745454539, 0x3C4A494930, 0x0171090503, 0x3649494936,
    0x064949291E, 0x0036360000, 0x0056360000, 0x0814224100, 0x1414141414,
    0x0041221408, 0x0201510906, 0x324979413E, 0x7E1111117E, 0x7F49494936,
    0x3E41414122, 0x7F4141221C, 0x7F49494941, 0x7F09090901, 0x3E4149497A,
    0x7F0808087F, 0x00417F4100, 0x2040413F01, 0x7F08142241, 0x7F40404040,
    0x7F020C027F, 0x7F0408107F, 0x3E4141413E, 0x7F09090906, 0x3E4151215E,
    0x7F09192946, 0x4649494931, 0x01017F0101, 0x3F4040403F, 0x1F2040201F,
    0x3F4038403F, 0x6314081463, 0x0708700807, 0x6151494543, 0x007F414100,
    0x0204081020, 0x0041417F00, 0x0402010204, 0x4040404040, 0x0001020400,
    0x2054545478, 0x7F48444438, 0x3844444420, 0x384444487F, 0x3854545418,
    0x087E090102, 0x18A4A4A47C, 0x7F08040478, 0x00447D4000, 0x4080847D00,
    0x7F10284400, 0x00417F4000, 0x7C04180478, 0x7C08040478, 0x3844444438,
    0xFC24242418, 0x18242418FC, 0x7C08040408, 0x4854545420, 0x043F444020,
    0x3C4040207C, 0x1C2040201C, 0x3C4030403C, 0x4428102844, 0x1CA0A0A07C,
    0x4464544C44, 0x0008364100, 0x00007F0000, 0x0041360800, 0x0804081008,
    // clang-format on
};

enum { GLYPHS = sizeof glyphs / sizeof *glyphs, GLYPH_BITS = 8 };

dn_status dn_sheet_create(dn_pixels *sheet, int width, int height)
{
    *sheet = (dn_pixels){.width = width, .height = height};
    DN_CHECK((int64_t)width * height <= MOST_PIXELS, DN_EINVAL,
             "found %dx%d pixels in all, expected a picture of at most %d; smaller or fewer images",
             width, height, MOST_PIXELS);
    DN_TRY(dn_buffer_grow(&sheet->rgb, (size_t)width * (size_t)height * 3));
    memset(sheet->rgb.bytes, 0xFF, (size_t)width * (size_t)height * 3);
    return DN_OK;
}

static uint8_t *pixel_at(const dn_pixels *sheet, int left, int top)
{
    return sheet->rgb.bytes + ((size_t)top * (size_t)sheet->width + (size_t)left) * 3;
}

void dn_sheet_draw(dn_pixels *sheet, const dn_pixels *image, int left, int top)
{
    for (int y = 0; y < image->height; y++)
        memcpy(pixel_at(sheet, left, top + y), pixel_at(image, 0, y), (size_t)image->width * 3);
}

static void draw_glyph(dn_pixels *sheet, uint64_t columns, int scale, int left, int top)
{
    for (int x = 0; x < (DN_GLYPH_WIDTH - 1) * scale; x++)
        for (int y = 0; y < GLYPH_BITS * scale; y++)
            if (columns >> (8 * (4 - x / scale) + y / scale) & 1)
                memset(pixel_at(sheet, left + x, top + y), 0, 3);
}

void dn_sheet_write(dn_pixels *sheet, const char *text, int most, int scale, int left, int top)
{
    for (; *text && most > 0; text++) {
        const int glyph = *text - ' ';
        if ((*text & 0xC0) == 0x80) /* a continuation byte */
            continue;
        draw_glyph(sheet, glyphs[glyph >= 0 && glyph < GLYPHS ? glyph : '?' - ' '], scale, left,
                   top);
        left += DN_GLYPH_WIDTH * scale;
        most--;
    }
}

dn_status dn_sheet_save(const dn_pixels *sheet, const char *path)
{
    uint8_t *png;
    size_t size;
    DN_TRY(dn_file_check_kind(path, "PNG", 0, "\x89PNG\r\n\x1a\n"));
    dn_status status = dn_png_encode(sheet->rgb.bytes, sheet->height, sheet->width, 3, &png, &size);
    if (status == DN_OK)
        status = dn_file_write(path, png, size);
    free(png);
    return status;
}
