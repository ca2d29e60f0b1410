/* Memory that grows with what is put into it, and is kept for the next. */
#ifndef DN_BUFFER_H
#define DN_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "dn/status.h"

/* Zeroed: empty. */
typedef struct dn_buffer {
    uint8_t *bytes;
    size_t size;
} dn_buffer;

/* Has at least so many bytes afterwards, which may be others than before. DN_ENOMEM: it is empty.
 */
dn_status dn_buffer_grow(dn_buffer *buffer, size_t size);

/* Empties it. */
void dn_buffer_free(dn_buffer *buffer);

#endif
