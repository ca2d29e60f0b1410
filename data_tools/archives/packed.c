/* Reads files that are gzipped or not; see packed.h. zlib's gzread is not used, as it ignores
 * anything after the last member. */
#include "archives/packed.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "dn/file.h"

enum { BLOCK = 1 << 16, GZIP = 15 + 16 }; /* windowBits: the largest window, with gzip's header */

struct dn_packed {
    const char *path;
    int file;
    int64_t size, at;         /* of the file; bytes read so far */
    int is_packed, is_inside; /* a member */
    int is_behind;            /* a zero was read after the last member */
    z_stream z;
    uint8_t block[BLOCK];
};

dn_status dn_packed_open(dn_packed **packed, const char *path)
{
    dn_packed *const p = *packed = calloc(1, sizeof *p);
    uint8_t head[2] = {0};
    DN_CHECK(p, DN_ENOMEM, "%s: out of memory", path);
    p->path = path;
    DN_TRY(dn_file_open(path, &p->file, &p->size));
    if (p->size >= (int64_t)sizeof head)
        DN_TRY(dn_file_read(p->file, path, head, sizeof head, 0));
    if (head[0] != 0x1f || head[1] != 0x8b)
        return DN_OK;
    DN_CHECK(inflateInit2(&p->z, GZIP) == Z_OK, DN_ENOMEM, "%s: out of memory", path);
    p->is_packed = 1;
    return DN_OK;
}

static dn_status fill_block(dn_packed *p, void *bytes, size_t size, size_t *found)
{
    const int64_t left = p->size - p->at;
    *found = left < (int64_t)size ? (size_t)left : size;
    DN_TRY(dn_file_read(p->file, p->path, bytes, *found, p->at));
    p->at += (int64_t)*found;
    return DN_OK;
}

/* Skips zeros after the last member. */
static dn_status pass_zeros(dn_packed *p)
{
    p->is_behind = 1;
    for (; p->z.avail_in > 0; p->z.next_in++, p->z.avail_in--)
        DN_CHECK(*p->z.next_in == 0, DN_ECORRUPT,
                 "%s: found other bytes than zeros behind what gzip packed", p->path);
    return DN_OK;
}

/* Unpacks as much as there is room for; *ends = 1 after the last member. */
static dn_status unpack_some(dn_packed *p, int *ends)
{
    size_t more;
    if (p->z.avail_in == 0) {
        DN_TRY(fill_block(p, p->block, sizeof p->block, &more));
        p->z.next_in = p->block;
        p->z.avail_in = (unsigned)more;
        *ends = more == 0 && !p->is_inside;
        DN_CHECK(more > 0 || *ends, DN_ECORRUPT, "%s: unexpected end of file", p->path);
        if (*ends)
            return DN_OK;
    }
    if (p->is_behind || (!p->is_inside && *p->z.next_in == 0))
        return pass_zeros(p);
    const int is_first = p->at - p->z.avail_in == 0;
    const int code = inflate(&p->z, Z_NO_FLUSH);
    DN_CHECK(code != Z_MEM_ERROR, DN_ENOMEM, "%s: out of memory", p->path);
    DN_CHECK(code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR, DN_ECORRUPT, "%s: %s%s",
             p->path, p->z.msg ? p->z.msg : "damaged",
             p->is_inside || is_first ? "" : ": bytes behind what gzip packed");
    p->is_inside = code != Z_STREAM_END;
    if (code == Z_STREAM_END)
        inflateReset(&p->z);
    return DN_OK;
}

dn_status dn_packed_read(dn_packed *p, void *bytes, size_t size, size_t *found)
{
    int ends = 0;
    if (!p->is_packed)
        return fill_block(p, bytes, size, found);
    p->z.next_out = bytes;
    p->z.avail_out = (unsigned)size;
    while (p->z.avail_out > 0 && !ends)
        DN_TRY(unpack_some(p, &ends));
    *found = size - p->z.avail_out;
    return DN_OK;
}

void dn_packed_close(dn_packed **packed)
{
    dn_packed *const p = *packed;
    if (p && p->is_packed)
        inflateEnd(&p->z);
    if (p && p->file >= 0)
        close(p->file);
    free(p);
    *packed = NULL;
}
