/* Labels of fewer, greater classes beside a set's own, as CIFAR-100 has them: for who writes shards
 * of pixels. */
#ifndef DN_COARSE_LABELS_H
#define DN_COARSE_LABELS_H

#include "dn/manifest.h"

/* Zeroed: the set has none. Nothing is owned. */
typedef struct dn_coarse_labels {
    const char *const *names; /* (classes) */
    int classes;
    const uint16_t *labels[DN_SPLITS]; /* of all images of the split */
} dn_coarse_labels;

/* Those of a shard; NULL: none. */
static inline const uint16_t *dn_coarse_of(const dn_coarse_labels *coarse,
                                           const dn_manifest_shard *shard)
{
    return coarse->classes > 0 ? coarse->labels[shard->split] + shard->first : NULL;
}

#endif
