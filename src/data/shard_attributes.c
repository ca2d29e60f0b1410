/* The attributes of a shard that its writer sets and its reader checks; see include/dn/shard.h. */
#include <string.h>

#include "dn/shard.h"

int dn_shard_attributes(const dn_manifest *manifest, const dn_manifest_shard *shard,
                        dn_shard_attribute list[DN_SHARD_ATTRIBUTES])
{
    const dn_shard_attribute attributes[DN_SHARD_ATTRIBUTES] = {
        {.name = "format",
         .text = dn_is_encoded(&manifest->info) ? "dn_dist encoded image shard"
                                                : "dn_dist image shard"},
        {.name = "format_version",
         .integer = DN_SHARD_FORMAT_VERSION + dn_manifest_has_unknown(manifest)},
        {.name = "dataset", .text = manifest->info.dataset},
        {.name = "split", .text = dn_split_name(shard->split)},
        {.name = "shard_index", .integer = shard->index},
        {.name = "shard_count", .integer = manifest->split[shard->split].shards},
        {.name = "count", .integer = shard->count},
        {.name = "mean", .channels = manifest->info.mean},
        {.name = "std", .channels = manifest->info.std}};
    memcpy(list, attributes, sizeof attributes);
    return DN_SHARD_ATTRIBUTES - (dn_is_encoded(&manifest->info) ? 2 : 0);
}
