/* Elements of the text of dataset.json, shared by its writer and its parser. */
#ifndef DN_DATA_MANIFEST_TEXT_H
#define DN_DATA_MANIFEST_TEXT_H

#include <inttypes.h>

#include "dn/manifest.h"

#define DN_MANIFEST_FORMAT "dn_dist data set"

/* The end of the file: the checksum of everything before it, and the closing brace. */
#define DN_MANIFEST_SEAL "  \"xxh3\": \"%016" PRIx64 "\"\n}\n"

enum {
    DN_MANIFEST_VERSION = 4, /* 1 more with label sets, 2 more if classes in them are unknown */
    DN_MANIFEST_SEAL_BYTES = 31
};

#endif
