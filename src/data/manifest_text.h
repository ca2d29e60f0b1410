/* What the text of dataset.json is made of, by whom it is written and by whom it is parsed. */
#ifndef DN_DATA_MANIFEST_TEXT_H
#define DN_DATA_MANIFEST_TEXT_H

#include <inttypes.h>

#include "dn/manifest.h"

#define DN_MANIFEST_FORMAT "dn_dist data set"

/* The file's last line but the brace, and that: after it nothing, before it what it vouches for. */
#define DN_MANIFEST_SEAL "  \"xxh3\": \"%016" PRIx64 "\"\n}\n"

enum { DN_MANIFEST_VERSION = 4, DN_MANIFEST_SEAL_BYTES = 31 };

/* A manifest with room for the shards of each split and, behind them, `more` bytes. The caller
 * frees it. DN_ENOMEM. */
dn_status dn_manifest_allocate(dn_manifest **manifest, const dn_data_info *info,
                               const int shards[DN_SPLITS], size_t more);

#endif
