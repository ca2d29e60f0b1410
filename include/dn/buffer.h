/* A byte buffer that grows on demand and is reused. Not collective. */
#ifndef DN_BUFFER_H
#define DN_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "dn/status.h"

/* A zeroed buffer is empty. */
typedef struct dn_buffer {
    uint8_t *bytes;
    size_t size;
} dn_buffer;

/* Grows the buffer to at least `size` bytes; its content is undefined afterwards. Errors:
 * DN_ENOMEM; the buffer is then empty. */
dn_status dn_buffer_grow(dn_buffer *buffer, size_t size);

/* Frees the bytes; the buffer is empty afterwards. */
void dn_buffer_free(dn_buffer *buffer);

#endif
