/* See include/dn/buffer.h. */
#include "dn/buffer.h"

#include <stdlib.h>

dn_status dn_buffer_grow(dn_buffer *buffer, size_t size)
{
    if (size <= buffer->size)
        return DN_OK;
    free(buffer->bytes);
    buffer->bytes = malloc(size);
    buffer->size = buffer->bytes ? size : 0;
    DN_CHECK(buffer->bytes, DN_ENOMEM, "out of memory for %zu bytes", size);
    return DN_OK;
}

void dn_buffer_free(dn_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (dn_buffer){0};
}
