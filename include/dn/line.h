/* Cache lines: data that threads share, or that vectors read, is aligned to them. Pages: what MPI
 * may register with a network adapter fills whole ones, as a forked child may lack them. */
#ifndef DN_LINE_H
#define DN_LINE_H

#include <stddef.h>

enum { DN_LINE_BYTES = 64, DN_PAGE_BYTES = 4096 };

/* `bytes` or `floats` rounded up to whole cache lines, or pages. */
static inline size_t dn_whole_lines(size_t bytes)
{
    return (bytes + DN_LINE_BYTES - 1) / DN_LINE_BYTES * DN_LINE_BYTES;
}

static inline size_t dn_whole_pages(size_t bytes)
{
    return (bytes + DN_PAGE_BYTES - 1) / DN_PAGE_BYTES * DN_PAGE_BYTES;
}

static inline size_t dn_whole_line_floats(size_t floats)
{
    return dn_whole_lines(floats * sizeof(float)) / sizeof(float);
}

#endif
