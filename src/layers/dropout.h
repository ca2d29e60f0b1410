/* Dropout (Srivastava et al. 2014) of a layer's outputs, by value or by channel of an image. */
#ifndef DN_DROPOUT_H
#define DN_DROPOUT_H

#include "layers/layer.h"

/* 1 if the layer drops outputs. */
static inline int dn_drops(const dn_layer *l)
{
    return l->dropout > 0 || l->channel_dropout > 0;
}

/* Multiplies one channel of the piece by 0 or 1 / (1 - p), in the layout `padded` whose source
 * begins `source` pixels from the piece's first. Whole channels are dropped per image. */
void dn_dropout(const dn_visit *v, const dn_pass *pass, const dn_padded *padded,
                const dn_piece *piece, ptrdiff_t source, int channel, float *row);

/* The factor of an image's channel, if whole channels are dropped. */
float dn_dropout_channel(const dn_visit *v, const dn_pass *pass, int64_t image, int channel);

#endif
